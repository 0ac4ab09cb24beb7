"""A `.npy` file of token ids that is written in parts, and stands in its place only when it is whole."""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

LEFT_SECONDS = 24 * 3600.0
"""What was not written to for so long is nobody's any more."""


class TokenFile:
    """Written under a name of this process, flushed to disk, and renamed into its place at the end of a `with`.

    An error, also Ctrl-C, removes it. Half-written files lie in `beside`, where `clear_leftovers` finds those of
    processes that were killed. Raises OSError, naming the file, where the disk is full.
    """

    def __init__(self, path: Path, kind: type[np.unsignedinteger], beside: Path) -> None:
        self._path, self._kind = path, np.dtype(kind)
        self._beside = beside / f".{path.parent.name}-{path.name}.{_host()}-{os.getpid()}"
        self._count = 0

    def __enter__(self) -> "TokenFile":
        self._beside.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._beside.open("wb")
        self._write_header()
        self._begin = self._file.tell()
        return self

    def write(self, ids: NDArray[np.unsignedinteger]) -> None:
        """Append ids (T,)."""
        with self._named():
            self._file.write(ids.astype(self._kind, copy=False).data)
        self._count += len(ids)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with self._named():
                    self._finish()
        finally:
            with suppress(OSError):  # a full disk is told already
                self._file.close()
            self._beside.unlink(missing_ok=True)

    def _finish(self) -> None:
        self._file.seek(0)
        self._write_header()  # now with the length; numpy leaves room for it
        assert self._file.tell() == self._begin
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._beside.replace(self._path)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from None

    def _write_header(self) -> None:
        about = {"descr": np.lib.format.dtype_to_descr(self._kind), "fortran_order": False, "shape": (self._count,)}
        np.lib.format.write_array_header_1_0(self._file, about)


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder: those of this machine, and any a day old."""
    for path in folder.glob(".*.npy.*"):
        with suppress(OSError):  # another process was quicker, or it is still open (Windows)
            if not _is_written(path):
                path.unlink()


def _is_written(path: Path) -> bool:
    """Whether a live process may still be writing to the file."""
    if time.time() - path.stat().st_mtime > LEFT_SECONDS:
        return False
    host, _, process = path.name.partition(".npy.")[2].rpartition("-")
    if host != _host() or os.name != "posix":  # elsewhere a process cannot be asked without harm
        return True
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return True


def _host() -> str:
    return re.sub(r"[^\w-]", "_", socket.gethostname())
