"""Files that are written whole or not at all, and the folder for what can be made again."""

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
    """The folder for what can be made again: `NANOGPT_CACHE`, else this system's cache folder for the user."""
    import platformdirs

    return Path(os.environ.get("NANOGPT_CACHE") or platformdirs.user_cache_dir("nanogpt"))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: beside its place, flushed to disk, then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
