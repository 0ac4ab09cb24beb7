"""The field for a text to train on, and the address that takes it."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fastapi import Request
from fastapi.responses import JSONResponse
from nicegui import app
from nicegui.element import Element

from nanogpt.errors import UserError
from nanogpt.studio.learn.texts import KINDS, LARGEST_BYTES, kind_of, save_text, too_large

SEND_SECONDS = 120
CALL = "X-File-Name"


class Drop(Element, component="drop.js"):
    """A text is typed, pasted or dropped, and kept below a folder once `send` is called."""

    def __init__(self, shelf: Path) -> None:
        super().__init__()
        # The client's id is a secret between this page and us: another site's page cannot guess the address.
        self._address = f"/_nicegui/client/{self.client.id}/text/{self.id}"
        self.props.update({"url": self._address, "kinds": ", ".join(KINDS), "limit": LARGEST_BYTES})

        @app.post(self._address, include_in_schema=False)
        async def take(request: Request) -> JSONResponse:
            return await take_text(request, shelf)

    async def send(self) -> str:
        """Keep what is there, and return the name of its file. Raises UserError for what is no text to train on."""
        found: dict[str, Any] = await self.run_method("send", timeout=SEND_SECONDS)
        if "name" not in found:
            raise UserError(str(found.get("problem", "the text did not arrive: try again"))[:1000])
        return str(found["name"])

    def _handle_delete(self) -> None:
        app.remove_route(self._address)
        super()._handle_delete()


async def take_text(request: Request, shelf: Path) -> JSONResponse:
    """Keep a request's body as a text. It is read no further than a text may be long, whatever the browser said."""
    file_name = unquote(request.headers.get(CALL, ""))[:300]
    data = bytearray()
    try:
        kind_of(file_name)  # raises, before all is read
        async for piece in request.stream():
            data += piece
            if len(data) > LARGEST_BYTES:
                raise too_large()
        kept = await asyncio.to_thread(save_text, shelf, bytes(data), file_name)
    except UserError as error:
        return JSONResponse({"problem": str(error)}, status_code=413 if len(data) > LARGEST_BYTES else 400)
    except OSError as error:
        return JSONResponse({"problem": f"the text cannot be kept: {error.strerror}"}, status_code=507)
    return JSONResponse({"name": kept.name})
