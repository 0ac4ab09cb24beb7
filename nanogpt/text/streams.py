"""Byte streams that few texts need: `.zst` files, and input that can be read only once."""

import io
import tempfile
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, BinaryIO

from nanogpt.errors import UserError
from nanogpt.files import cache_folder
from nanogpt.text.chunks import READ_BYTES


class ZstandardReader(io.RawIOBase):
    """Decompresses a `.zst` file as it is read, frame by frame.

    The library's own stream reader accepts a file that ends in the middle of a frame, and its decompression objects
    return all that their input holds at once. So they get little of it: a kilobyte decompresses to at most 32 MB,
    128 KiB for each block of four bytes.
    """

    INPUT_BYTES = 1024

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._library = file, import_optional("zstandard", f"{name} is a .zst file")
        self._frame: Any = None
        self._compressed = b""
        self._data = memoryview(b"")

    def readable(self) -> bool:
        """Return True, as `io.BufferedReader` asks."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as data is available; return the number of bytes, 0 at the end."""
        while not self._data:
            self._compressed = self._compressed or self._file.read(self.INPUT_BYTES)
            if not self._compressed:
                if self._frame is not None:
                    raise EOFError("it ends in the middle")
                return 0
            self._decompress()
        some = self._data[: len(buffer)]
        buffer[: len(some)] = some
        self._data = self._data[len(some) :]
        return len(some)

    def _decompress(self) -> None:
        if self._frame is None:
            self._frame = self._library.ZstdDecompressor().decompressobj()
        try:
            self._data = memoryview(self._frame.decompress(self._compressed))
        except self._library.ZstdError as error:
            raise EOFError(str(error)) from None
        self._compressed = self._frame.unused_data
        if self._frame.eof:
            self._frame = None


class Spool:
    """A copy of a stream that can be read only once, in a file without a name, so that it can be read again.

    The file is in the cache folder, because the system's folder for temporary files may be in memory. The system
    removes it together with this object or the process, even if that is killed.
    """

    def __init__(self, blocks: Callable[[], Iterable[bytes]]) -> None:
        self._blocks = blocks
        self._file: Any = None

    def open(self) -> BinaryIO:
        """Return a reader from the beginning, copying the stream the first time.

        Several readers at a time don't disturb each other.
        """
        if self._file is None:
            folder = cache_folder()
            folder.mkdir(parents=True, exist_ok=True)
            try:
                file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (as long as this object)
                for block in self._blocks():
                    file.write(block)
                file.flush()
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(folder)) from None
            self._file = file
        return io.BufferedReader(_SpoolReader(self._file), READ_BYTES)


class _SpoolReader(io.RawIOBase):
    def __init__(self, file: Any) -> None:
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._at)
        count: int = self._file.readinto(buffer)
        self._at += count
        return count


def import_optional(module: str, why: str, extra: str = "data") -> Any:
    """Import a library that an extra installs; raise UserError with the command if it is missing."""
    try:
        return import_module(module)
    except ImportError:
        name = module.partition(".")[0]
        raise UserError(f"{why}, but {name} is not installed: pip install 'nanogpt[{extra}]'") from None
