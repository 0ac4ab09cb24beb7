"""Files that are written whole or not at all, are read with clear errors, and say of which format they are."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError

FORMAT = 1
"""Version of the run folder. A folder with a higher one is refused, not guessed at."""


def cache_folder() -> Path:
    """The folder for what can be made again: `NANOGPT_CACHE`, else this system's cache folder for the user."""
    import platformdirs

    return Path(os.environ.get("NANOGPT_CACHE") or platformdirs.user_cache_dir("nanogpt"))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: beside its place, flushed to disk, then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as tables; UserError where it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}; correct or restore it") from None


def check_format(tables: Mapping[str, Any], where: str) -> None:
    """Refuse a file written by a newer version of this package."""
    found = tables.get("format", FORMAT)
    if not isinstance(found, int) or found > FORMAT:
        raise UserError(f"{where} is from a newer nanogpt (format {found}; this one reads {FORMAT}): upgrade nanogpt")
