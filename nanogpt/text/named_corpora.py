"""The named corpora: Tiny Shakespeare (karpathy/char-rnn), and the standard library of this Python."""

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from nanogpt.errors import UserError
from nanogpt.files import cache_folder, write_atomically
from nanogpt.text.chunks import Chunk, Notes, chunks_of, decode_text

SHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
SHAKESPEARE_BYTES = 1_115_394
NOT_PYTHON = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}
"""Folders left out of the corpus `python`."""


class CorpusUnavailable(UserError):
    """A named corpus is neither on this machine nor can be downloaded right now."""


def read_shakespeare() -> str:
    """Return Tiny Shakespeare: from `NANOGPT_DATA`, else the cache, else downloaded once; check its hash every time."""
    given = os.environ.get("NANOGPT_DATA")
    if given and not Path(given).is_dir():
        raise UserError(f"NANOGPT_DATA is {given!r}, which is not a folder; correct it or unset it")
    for folder in (*([Path(given)] if given else []), cache_folder()):
        path = folder / "shakespeare.txt"
        if path.is_file():
            try:
                data = path.read_bytes()
            except OSError as error:
                raise UserError(f"cannot read {str(path)!r}: {error.strerror}; check its permissions") from None
            found = hashlib.sha256(data).hexdigest()
            if found != SHAKESPEARE_SHA256:
                raise UserError(
                    f"{path} is not Tiny Shakespeare: its SHA-256 is {found[:16]}…, not {SHAKESPEARE_SHA256[:16]}…; "
                    f"delete or rename the file, or train on it by its path"
                )
            return decode_text(data, "shakespeare")
    from nanogpt.text.downloads import DownloadFailed, download

    try:
        data = b"".join(download(SHAKESPEARE_URL, 2 * SHAKESPEARE_BYTES)[1])
    except DownloadFailed as error:
        raise CorpusUnavailable(
            f"'shakespeare' is not on this machine and could not be downloaded ({error}); connect to the network "
            f"once, set NANOGPT_DATA to a folder that holds shakespeare.txt, or use 'python' or a file of your own"
        ) from None
    if hashlib.sha256(data).hexdigest() != SHAKESPEARE_SHA256:
        raise CorpusUnavailable(
            f"{SHAKESPEARE_URL} answered with something other than Tiny Shakespeare (a sign-in page of the network?); "
            f"nothing was kept. Try again later, or set NANOGPT_DATA to a folder that holds shakespeare.txt"
        )
    write_atomically(cache_folder() / "shakespeare.txt", data)
    return decode_text(data, "shakespeare")


def read_python(notes: Notes) -> Iterator[Chunk]:
    """Yield the standard library of this interpreter without its tests, one document per file."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        if NOT_PYTHON.isdisjoint(path.relative_to(root).parts):
            try:
                text = decode_text(path.read_bytes(), str(path))
            except (UserError, OSError):
                continue  # a file in another encoding must not make this corpus unavailable
            yield from chunks_of([text])
