"""Texts from the web: fetched once, if the user agrees, and kept in the cache."""

import hashlib
import http.client
import mimetypes
import re
import string
import sys
import urllib.error
import urllib.request as web
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from nanogpt.errors import UserError
from nanogpt.files import atomic_path, cache_folder
from nanogpt.text.chunks import READ_BYTES

MOST_BYTES = 1_000_000_000
TIMEOUT_SECONDS = 10.0
FAILURES = (urllib.error.URLError, http.client.HTTPException, OSError, ValueError)
HANDLERS = ("Proxy", "Unknown", "HTTP", "HTTPS", "HTTPDefaultError", "HTTPRedirect")
"""What opens an address; without those for files and ftp, a server cannot redirect to these."""


class DownloadFailed(Exception):
    """A download that gave no or only a part of the file; the message is the reason."""


def download(url: str, most_bytes: int) -> tuple[str, Iterator[bytes]]:
    """Return the media type and the bytes at an http(s) address, in blocks; both can raise DownloadFailed."""
    opener = web.OpenerDirector()
    for handler in (*(getattr(web, f"{name}Handler") for name in HANDLERS), web.HTTPErrorProcessor):
        opener.add_handler(handler())
    try:
        request = web.Request(quote(url, safe=string.punctuation), headers={"User-Agent": "nanogpt"})
        answer = opener.open(request, timeout=TIMEOUT_SECONDS)
    except FAILURES as error:
        raise DownloadFailed(_reason(error)) from None

    def blocks() -> Iterator[bytes]:
        size = 0
        try:
            with answer:
                while block := answer.read(READ_BYTES):
                    size += len(block)
                    if size > most_bytes:
                        raise DownloadFailed(f"it has more than {most_bytes:,} bytes")
                    yield block
        except FAILURES as error:
            raise DownloadFailed(_reason(error)) from None
        if answer.length:  # of the bytes that the server announced
            raise DownloadFailed(f"the connection ended {answer.length:,} bytes too early")

    return answer.headers.get_content_type(), blocks()


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    reason = getattr(error, "reason", None) or error
    return f"no connection: {getattr(reason, 'strerror', None) or reason}"


def local_copy(url: str, agreed: bool = False) -> tuple[Path, str]:
    """Return the file of an address in the cache, and a note; fetch it if the user agrees. Raises UserError."""
    folder = cache_folder() / "fetched" / hashlib.sha256(url.encode()).hexdigest()[:16]
    path = next(folder.glob("[!.]*"), None)
    if path is None:
        limit = f"at most {MOST_BYTES / 1e9:g} GB"
        if not agreed and sys.stdin.isatty() and sys.stderr.isatty():
            print(f"fetch {url!r} once ({limit})? [y/N] ", end="", file=sys.stderr, flush=True)
            agreed = sys.stdin.readline().strip().lower() in ("y", "yes")
        if not agreed:
            raise UserError(
                f"{url} is not on this machine: add --yes to fetch it once, {limit} (yes=True from Python), or save "
                f"the file and give its path"
            )
        try:
            kind, blocks = download(url, MOST_BYTES)
            path = folder / _file_name(url, kind)
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                file.writelines(blocks)
        except DownloadFailed as error:
            raise UserError(f"cannot fetch {url}: {error}; save the file and give its path") from None
        except OSError as error:
            raise UserError(f"cannot keep {url} in {str(folder)!r}: {error.strerror}") from None
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return path, f"{url}: {path.stat().st_size:,} bytes, SHA-256 {digest}, kept in {path}"


def _file_name(url: str, kind: str) -> str:
    """Return a name for the file of an address; its ending, or that of its media type, says how to read it."""
    parts = urlsplit(url)
    name = re.sub(r"[^\w.-]+", "-", PurePosixPath(unquote(parts.path)).name)[-100:].strip("-.")
    name = name or parts.hostname or "text"
    ending, wanted = PurePosixPath(name).suffix.lower(), mimetypes.guess_extension(kind) or ""
    is_right = ending in (".html", ".htm") if wanted == ".html" else re.fullmatch(r"\.[a-z]\w{0,9}", ending)
    return name if is_right else name + wanted
