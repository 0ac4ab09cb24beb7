"""Files that are written whole or not at all, are read with clear errors, and say of which format they are."""

import contextlib
import os
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from nanogpt.errors import UserError

FORMAT = 1
"""Version of the run folder. A folder with a higher one is refused, not guessed at."""

TEXT_LIMIT = 16_000_000
"""Bytes of the largest settings file that is read."""


def cache_folder() -> Path:
    """The folder for what can be made again: `NANOGPT_CACHE`, else this system's cache folder for the user."""
    import platformdirs

    return Path(os.environ.get("NANOGPT_CACHE") or platformdirs.user_cache_dir("nanogpt"))


def typed(path: str | os.PathLike[str], windows: bool = os.name == "nt") -> str:
    """A path as it is typed into a shell of this system, or of Windows.

    >>> typed("runs/my book", windows=False), typed("runs/my book", windows=True)
    ("'runs/my book'", '"runs/my book"')
    """
    plain = PurePath(path).as_posix()  # Windows takes / too, and no shell reads more into it
    quoted = shlex.quote(plain)
    # Of all quotes cmd.exe knows the double ones alone, and a name on Windows has none in it.
    return f'"{plain}"' if windows and quoted != plain else quoted


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; what is there at the end is flushed to disk, then renamed over `path`.

    On an error the name beside is removed, and `path` is as it was.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        flush(beside)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        beside.write_bytes(data)


def flush(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    with path.open("rb+") as file:  # Windows flushes only what is open for writing
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Wait until the names in a folder, as they were given by renames, are on the disk."""
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_plain(path: Path, within: Path | None = None) -> None:
    """Raise UserError for what is no plain file: a pipe or a device would never come to an end.

    With `within` it has to lie in that folder: a run from elsewhere could hold a link to any file here.
    """
    if within is not None and not path.resolve().is_relative_to(within.resolve()):
        raise UserError(f"{path} is a link out of {within}, which is not followed: put a copy of the file there")
    if not path.is_file():
        problem = "it is no plain file" if path.exists() else "there is no such file"
        raise UserError(f"cannot read {str(path)!r}: {problem}; restore it from a copy")


def read_text(path: Path, limit: int = TEXT_LIMIT, within: Path | None = None) -> str:
    """A plain file of at most `limit` bytes as text. Raises UserError, naming it, for anything else."""
    check_plain(path, within)
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise UserError(f"{path} is larger than {limit:,} bytes, which no such file is: restore it from a copy")
        return data.decode()
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is damaged, it is not UTF-8: restore it from a copy") from None


def read_toml(path: Path, within: Path | None = None) -> dict[str, Any]:
    """A TOML file as tables; UserError where it is missing or not TOML."""
    text = read_text(path, within=within)
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {error}; correct or restore it") from None


def check_format(tables: Mapping[str, Any], where: str) -> None:
    """Refuse a file written by a newer version of this package."""
    found = tables.get("format", FORMAT)
    if not isinstance(found, int) or found > FORMAT:
        raise UserError(f"{where} is from a newer nanogpt (format {found}; this one reads {FORMAT}): upgrade nanogpt")
