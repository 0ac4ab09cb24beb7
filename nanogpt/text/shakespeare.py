"""Tiny Shakespeare: from a data folder, else the cache, else downloaded once; its hash is checked every time."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from nanogpt.errors import UserError
from nanogpt.files import cache_folder, write_atomically
from nanogpt.text.readers import read_bytes

SHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
SHAKESPEARE_BYTES = 1_115_394
DOWNLOAD_TIMEOUT_SECONDS = 10.0


class CorpusUnavailable(UserError):
    """A named corpus that cannot be had right now, for want of a network."""


def read_shakespeare() -> bytes:
    """Tiny Shakespeare (karpathy/char-rnn): from `NANOGPT_DATA`, else the cache, else downloaded once."""
    for folder in _data_folders():
        path = folder / "shakespeare.txt"
        if path.is_file():
            data = read_bytes(path)
            _check_shakespeare(data, str(path))
            return data
    data = _download(SHAKESPEARE_URL, SHAKESPEARE_BYTES)
    write_atomically(cache_folder() / "shakespeare.txt", data)
    return data


def _data_folders() -> Iterator[Path]:
    if given := os.environ.get("NANOGPT_DATA"):
        if not Path(given).is_dir():
            raise UserError(f"NANOGPT_DATA is {given!r}, which is not a folder; correct it or unset it")
        yield Path(given)
    yield cache_folder()


def _check_shakespeare(data: bytes, where: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != SHAKESPEARE_SHA256:
        raise UserError(
            f"{where} is not Tiny Shakespeare: its SHA-256 is {found[:16]}…, not {SHAKESPEARE_SHA256[:16]}…; "
            f"delete or rename the file, or train on it by its path"
        )


def _download(url: str, limit_bytes: int) -> bytes:
    """Fetch at most `limit_bytes`; raises CorpusUnavailable where the network or the server does not answer."""
    import http.client
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_SECONDS) as answer:
            data = answer.read(limit_bytes + 1)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CorpusUnavailable(
            f"'shakespeare' is not on this machine and could not be downloaded ({reason}); connect to the network "
            f"once, set NANOGPT_DATA to a folder that holds shakespeare.txt, or use 'python' or a file of your own"
        ) from None
    if len(data) > limit_bytes or hashlib.sha256(data).hexdigest() != SHAKESPEARE_SHA256:
        raise CorpusUnavailable(
            f"{url} answered with something that is not Tiny Shakespeare (a sign-in page of the network?); nothing was "
            f"kept. Try again later, or set NANOGPT_DATA to a folder that holds shakespeare.txt"
        )
    return data
