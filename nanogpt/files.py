"""Files that are written whole or not at all, read with clear errors, and marked with a format version."""

import contextlib
import os
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError

FORMAT = 1
"""Version of the files of a run folder but config.toml, which has the run's own. A higher one is refused."""
TEXT_LIMIT = 16_000_000
"""Bytes of the largest settings file that is read."""


def cache_folder() -> Path:
    """Return the folder for files that can be made again: `NANOGPT_CACHE`, else the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("NANOGPT_CACHE") or platformdirs.user_cache_dir("nanogpt"))


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or a folder; at the end it is flushed to disk and renamed to `path`.

    On an error what was written is deleted, and `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    delete(temporary)  # what a killed process of the same number left
    temporary.touch()
    mode = temporary.stat().st_mode  # of any new file: some libraries write files that only their owner can read
    temporary.unlink()
    try:
        yield temporary
        for written in (*temporary.glob("*"), temporary):
            if written.is_file():
                written.chmod(mode)
            flush(written)
        if temporary.is_dir():  # a rename replaces a file, but no folder with files in it
            delete(path)
        temporary.replace(path)
    except BaseException:
        delete(temporary)
        raise
    flush(path.parent)


def delete(*paths: Path) -> None:
    """Delete files, links and whole folders."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def flush(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on disk."""
    if os.name == "posix" or path.is_file():  # elsewhere a folder cannot be opened
        opened = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)  # Windows flushes only for a writer
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def check_plain(path: Path, within: Path | None = None) -> None:
    """Raise UserError unless a path is a plain file: reading a pipe or a device might never end.

    With `within` it must lie in that folder: a run from elsewhere could hold a link to any file here.
    """
    if within is not None and not path.resolve().is_relative_to(within.resolve()):
        raise UserError(f"{path} is a link out of {within}, which is not followed: put a copy of the file there")
    if not path.is_file():
        problem = "it is not a plain file" if path.exists() else "there is no such file"
        raise UserError(f"cannot read {str(path)!r}: {problem}; restore it from a copy")


def read_text(path: Path, limit: int = TEXT_LIMIT, within: Path | None = None) -> str:
    """Read a plain file of at most `limit` bytes as text; raise UserError, naming it, for anything else."""
    check_plain(path, within)
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise UserError(f"{path} is larger than {limit:,} bytes: restore it from a copy")
        return data.decode()
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is damaged, it is not UTF-8: restore it from a copy") from None


def read_toml(path: Path, within: Path | None = None) -> dict[str, Any]:
    """Read a TOML file as tables; raise UserError where it is missing or not TOML."""
    try:
        return tomllib.loads(read_text(path, within=within))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {error}; correct or restore it") from None


def check_format(tables: Mapping[str, Any], where: str, newest: int = FORMAT) -> None:
    """Raise UserError for a file that a newer version of this package wrote."""
    found = tables.get("format", 1)
    if not isinstance(found, int) or found > newest:
        raise UserError(f"{where} is from a newer nanogpt (format {found}; this one reads {newest}): upgrade nanogpt")
