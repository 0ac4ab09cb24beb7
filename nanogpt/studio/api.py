"""The interface of `nanogpt serve` beside the page: `/v1` answers for the newest run of the shelf, once it is asked."""

import asyncio
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from nanogpt.errors import UserError
from nanogpt.runs.run import load
from nanogpt.serving.errors import ApiError
from nanogpt.serving.guard import TokenGuard, refuse
from nanogpt.serving.responses import JsonResponse
from nanogpt.serving.settings import Access
from nanogpt.studio.shelf import Shelf

if TYPE_CHECKING:
    from nanogpt.serving.engine import Engine

HEALTH = "/healthz"
PATHS = ("/v1", HEALTH, "/metrics")
GRACE_SECONDS = 1.0


class Beside:
    """Passes what is asked of the interface to it, and all else to the page. The model is opened when it is needed."""

    def __init__(self, page: ASGIApp, shelf: Shelf, access: Access) -> None:
        self._page, self._shelf, self._access = page, shelf, access
        # Asked before a model is opened, which takes memory and time.
        self._guarded = TokenGuard(self._answer, access)
        self._api: ASGIApp | None = None
        self._engine: Engine | None = None
        self._opening = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_api(scope["path"]):
            await self._page(scope, receive, send)
            return
        await self._guarded(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What who may ask is answered. Whether the studio lives is told to anyone, and no model is opened for it."""
        if self._api is None and scope["path"] == HEALTH:
            await JsonResponse({"status": "ok"})(scope, receive, send)
            return
        try:
            async with self._opening:
                if self._api is None:
                    self._api = await asyncio.to_thread(self._open)
        except UserError as error:
            await refuse(ApiError(404, str(error)), scope, receive, send)
            return
        await self._api(scope, receive, send)

    def close(self) -> None:
        """End what generates, if anything does."""
        if self._engine is not None:
            self._engine.close(GRACE_SECONDS)

    def _open(self) -> ASGIApp:
        from nanogpt.serving.app import make_app
        from nanogpt.serving.engine import Engine

        name = self._shelf.models()[-1]
        # A model of its own, not the shelf's: there a head may be switched off while this one generates.
        run = load(self._shelf.path_of(name))
        self._engine = Engine(run.model, run.tokenizer, about=f"{name}-step-{run.step}-float32")
        return make_app({name: self._engine}, self._access)


def _is_api(path: str) -> bool:
    return any(path == one or path.startswith(f"{one}/") for one in PATHS)
