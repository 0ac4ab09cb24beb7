"""Texts that are pasted or uploaded: a field on the page, and files in `texts/` under names that the studio chooses.

A name has letters and digits of the browser's file name, which is never used as a path, and a hash of the content.
"""

import asyncio
import hashlib
import re
import unicodedata
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

from fastapi import Request
from fastapi.responses import JSONResponse
from nicegui import app
from nicegui.element import Element

from nanogpt.errors import UserError, counted
from nanogpt.files import write_atomically
from nanogpt.text.corpus import load_corpus
from nanogpt.text.readers import DECODED, READERS

FOLDER = "texts"
KINDS = (".txt", ".md", *(kind for kind in READERS if kind != ".parquet"))
"""Accepted endings. No compressed files and no archives: their size is unknown before they are unpacked."""
IN_UTF_8 = (".txt", ".md", ".jsonl", ".ndjson", ".json", *DECODED)
MAX_BYTES = 50_000_000
MIN_CHARACTERS = 200
MAX_TITLE = 40
SEND_SECONDS = 120
NAME_HEADER = "X-File-Name"


class TextUpload(Element, component="assets/upload.js"):
    """A field for typing, pasting or dropping a text, which is stored in a folder when `send` is called."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        # The client's id is a secret between this page and the server: another site's page cannot guess the address.
        self._address = f"/_nicegui/client/{self.client.id}/text/{self.id}"
        self.props.update({"url": self._address, "kinds": ", ".join(KINDS), "limit": MAX_BYTES})

        @app.post(self._address, include_in_schema=False)
        async def receive(request: Request) -> JSONResponse:
            return await receive_text(request, folder)

    async def send(self) -> str:
        """Store the text, and return the name of its file. Raises UserError for an unsuitable text."""
        found: dict[str, Any] = await self.run_method("send", timeout=SEND_SECONDS)
        if "name" not in found:
            raise UserError(str(found.get("problem", "the text did not arrive: try again"))[:1000])
        return str(found["name"])

    def _handle_delete(self) -> None:
        app.remove_route(self._address)
        super()._handle_delete()


async def receive_text(request: Request, folder: Path) -> JSONResponse:
    """Store the body of a request as a text; stop reading at the size limit, whatever the browser announced."""
    file_name = unquote(request.headers.get(NAME_HEADER, ""))[:300]
    data = bytearray()
    try:
        ending_of(file_name)  # raises before anything is read
        async for part in request.stream():
            data += part
            if len(data) > MAX_BYTES:
                break
        stored = await asyncio.to_thread(save_text, folder, bytes(data), file_name)
    except UserError as error:
        return JSONResponse({"problem": str(error)}, status_code=413 if len(data) > MAX_BYTES else 400)
    except OSError as error:
        return JSONResponse({"problem": f"the text cannot be stored: {error.strerror}"}, status_code=507)
    return JSONResponse({"name": stored.name})


def save_text(folder: Path, data: bytes, file_name: str = "") -> Path:
    """Store a text, under the browser's `file_name` or as pasted; return its file. Raises UserError if unsuitable."""
    if len(data) > MAX_BYTES:
        raise UserError(
            f"this text is larger than {MAX_BYTES / 1e6:.0f} MB: train on it with `nanogpt train FILE`, "
            "which has no limit, and watch it here"
        )
    ending = ending_of(file_name)
    if ending in IN_UTF_8:
        data = decode_utf_8(data).encode()
    if (folder / FOLDER).is_symlink():
        raise UserError(f"{folder / FOLDER} is a link, which is not followed: put a folder there")
    file = folder / FOLDER / f"{title(file_name)}-{hashlib.sha256(data).hexdigest()[:8]}{ending}"
    if not file.is_file():
        write_atomically(file, data)
        try:
            characters = sum(len(chunk.text.strip()) for chunk in replace(load_corpus(file), empty=None).chunks())
            if characters < MIN_CHARACTERS:
                found = counted(characters, "character")
                raise UserError(f"this text has {found}: give at least {MIN_CHARACTERS:,}, better 100,000")
        except UserError:
            file.unlink()
            raise
    return file


def decode_utf_8(data: bytes) -> str:
    """Return a text that is in UTF-8; raise UserError if it is not."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"this text is not UTF-8 (byte {error.start:,} is {data[error.start]:#04x}): save it as UTF-8 and try again"
        ) from None
    if "\0" in text:
        raise UserError("this file contains zero bytes, so it is not a text: choose a plain text")
    return text


def ending_of(file_name: str) -> str:
    """Return the ending of a file; raise UserError if it is not one of `KINDS`."""
    found = PurePosixPath(file_name).suffix.lower() if file_name else ".txt"
    if found not in KINDS:
        raise UserError(f"files that end in {found[:20] or 'nothing'!r} are not accepted: choose {', '.join(KINDS)}")
    return found


def title(file_name: str) -> str:
    r"""Return the letters, digits and hyphens of a file's name, without its ending.

    >>> title("C:\\Books\\Moby Dick (1851).txt"), title("../../é t é.md"), title("漢字.txt")
    ('moby-dick-1851', 'e-t-e', 'text')
    """
    if not file_name:
        return "pasted"
    last = PurePosixPath(file_name.replace("\\", "/")).stem
    plain = unicodedata.normalize("NFKD", last).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:MAX_TITLE].strip("-") or "text"


def stored_texts(folder: Path) -> list[Path]:
    """Return the stored texts, the newest first; links are not followed."""
    texts = folder / FOLDER
    if texts.is_symlink():
        return []
    found = [one for one in texts.glob("*") if one.suffix in KINDS and one.is_file() and not one.is_symlink()]
    return sorted(found, key=lambda one: one.stat().st_mtime, reverse=True)


def find_text(folder: Path, name: str) -> Path:
    """Return the stored text of a name; raise UserError for any other name, whatever file has that path."""
    found = next((one for one in stored_texts(folder) if one.name == name), None)
    if found is None:
        raise UserError(f"no text {name!r} is stored here: paste it again")
    return found
