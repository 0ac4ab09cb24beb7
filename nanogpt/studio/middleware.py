"""ASGI middleware around the page: access by token, security headers, and the API of `nanogpt serve` next to it.

A browser cannot send a header when it opens a page: the token comes once in the address, and then in a cookie.
"""

import asyncio
import hashlib
import hmac
import secrets
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nanogpt.errors import UserError
from nanogpt.runs.run import load
from nanogpt.serving.api import ApiError, JsonResponse
from nanogpt.serving.middleware import POLICY_VIOLATION, TokenMiddleware, header_values, refuse
from nanogpt.serving.settings import Access
from nanogpt.studio.registry import RunRegistry

if TYPE_CHECKING:
    from nanogpt.serving.engine import Engine

HEADERS = {
    # NiceGUI needs inline scripts. Nothing may be loaded from, or sent to, another server.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
NO_TOKEN = "this studio needs a token: open the address that it printed, which ends with ?token=…\n"
HEALTH = "/healthz"
API_PATHS = ("/v1", HEALTH, "/metrics")
GRACE_SECONDS = 1.0


class CookieMiddleware:
    """Requires the token, if there is one, and adds `HEADERS` to each response."""

    def __init__(self, app: ASGIApp, token: str | None = None) -> None:
        self._app, self._token = app, None if token is None else token.encode()
        # New at each start. Cookies are shared by all ports of a host, so the name has to differ.
        self._secret = secrets.token_urlsafe(32)
        self._cookie = f"nanogpt-{hashlib.sha256(self._secret.encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif self._token is None or self._has_cookie(scope):
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            await self._check_address(scope, self._token)(scope, receive, _with_headers(send))

    def _has_cookie(self, scope: Scope) -> bool:
        for header in header_values(scope, b"cookie"):
            try:
                found = SimpleCookie(header).get(self._cookie)
            except CookieError:
                continue
            if found is not None and hmac.compare_digest(found.value.encode(), self._secret.encode()):
                return True
        return False

    def _check_address(self, scope: Scope, token: bytes) -> ASGIApp:
        """Set the cookie and redirect to the address without the token, if the token is right; else answer 401."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        found = dict(query).get("token", "").encode("utf-8", "surrogatepass")
        if scope["method"] != "GET" or not hmac.compare_digest(found, token):
            return PlainTextResponse(NO_TOKEN, 401)
        rest = urlencode([one for one in query if one[0] != "token"])
        response = RedirectResponse(f"{scope['path']}{'?' + rest if rest else ''}", 303)
        response.set_cookie(self._cookie, self._secret, httponly=True, samesite="strict")
        return response


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


class ApiRouter:
    """Routes `API_PATHS` to the API of `nanogpt serve`, with the newest run, and all else to the page."""

    def __init__(self, page: ASGIApp, registry: RunRegistry, access: Access) -> None:
        self._page, self._registry, self._access = page, registry, access
        # Checked before a model is loaded, which takes memory and time.
        self._guarded = TokenMiddleware(self._answer, access)
        self._api: ASGIApp | None = None
        self._engine: Engine | None = None
        self._loading = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        is_api = scope["type"] == "http" and f"{scope['path']}/".startswith(tuple(f"{one}/" for one in API_PATHS))
        await (self._guarded if is_api else self._page)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that passed the token check. The health check needs no model."""
        if self._api is None and scope["path"] == HEALTH:
            await JsonResponse({"status": "ok"})(scope, receive, send)
            return
        try:
            async with self._loading:
                if self._api is None:
                    self._api = await asyncio.to_thread(self._load)
        except UserError:  # its message speaks to the person at this machine
            message = "the newest run cannot be opened: choose it on the studio's page, which says why"
            await refuse(ApiError(404, message), scope, receive, send)
            return
        await self._api(scope, receive, send)

    def close(self) -> None:
        """Stop the engine, if there is one."""
        if self._engine is not None:
            self._engine.close(GRACE_SECONDS)

    def _load(self) -> ASGIApp:
        from nanogpt.serving.app import make_app
        from nanogpt.serving.engine import Engine

        name = self._registry.models()[-1]
        # Not the registry's model, in which the page may switch off a head while this one generates.
        run = load(self._registry.folder_of(name).path)
        self._engine = Engine(run.model, run.tokenizer, about=f"{name}-step-{run.step}-float32")
        return make_app({name: self._engine}, self._access)
