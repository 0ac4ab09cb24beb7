"""Who may ask, and how much they may send: layers around any ASGI application, each usable alone.

`HostGuard` answers to this server's own names only, and to no other server's pages. `TokenGuard` asks for the token.
`BodyGuard` takes a body in whole, up to a size and within a time, before anything else sees it. A request that is
refused has its answer in OpenAI's form; a WebSocket is closed before it opens.
"""

import asyncio
import hmac
from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nanogpt.serving.errors import ApiError
from nanogpt.serving.responses import JsonResponse
from nanogpt.serving.settings import Access, Limits

OPEN_PATHS = frozenset({"/healthz"})
"""Asked by machines that know no token, and telling nothing."""
POLICY_VIOLATION = 1008
"""The code of RFC 6455 that a refused WebSocket is closed with."""
DISCARD_BYTES = 16 << 20
"""Of a body that is too large: read on so far, so that the client comes to read why. Beyond it is cut off."""


def guard(app: ASGIApp, access: Access, limits: Limits, open_paths: Collection[str] = OPEN_PATHS) -> ASGIApp:
    """An application behind all of them. Preflights of pages that are allowed are answered, without a token."""
    app = TokenGuard(BodyGuard(app, limits), access, open_paths)
    if access.origins:
        app = CORSMiddleware(
            app, allow_origins=access.origins, allow_methods=("GET", "POST"),
            allow_headers=("Authorization", "Content-Type"),
        )  # fmt: skip
    return HostGuard(app, access)


class HostGuard:
    """Answers where Host names this server, and Origin is this server or one that is allowed."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            refused = self._check(scope)
            if refused is not None:
                await refuse(refused, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> ApiError | None:
        hosts, origins = values_of(scope, b"host"), values_of(scope, b"origin")
        if len(hosts) != 1 or len(origins) > 1:
            return ApiError(400, "a request must have one header Host, and at most one Origin")
        name = host_name(hosts[0])
        if name is None or not self._access.answers_to(name):
            return ApiError(421, f"this server is not called {hosts[0][:100]!r}: ask for the address that it told")
        if origins and origins[0] not in self._access.origins and not is_same_origin(origins[0], hosts[0]):
            return ApiError(403, f"a page of {origins[0][:100]!r} must not call this server")
        return None


class TokenGuard:
    """Answers to whoever shows the token, where there is one; on `open_paths` to anyone."""

    def __init__(self, app: ASGIApp, access: Access, open_paths: Collection[str] = OPEN_PATHS) -> None:
        self._app, self._open = app, frozenset(open_paths)
        self._token = None if access.token is None else access.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = scope["type"] in ("http", "websocket") and scope["path"] not in self._open
        if asked and self._token is not None and not self._is_shown(scope, self._token):
            error = ApiError(
                401, "the token is missing or wrong: send Authorization: Bearer TOKEN", code="invalid_api_key"
            )
            error.headers["www-authenticate"] = "Bearer"
            await refuse(error, scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_shown(self, scope: Scope, token: bytes) -> bool:
        shown = values_of(scope, b"authorization")
        kind, _, value = shown[0].partition(" ") if len(shown) == 1 else ("", "", "")
        # In a time that does not depend on how much of it is right.
        return hmac.compare_digest(value.strip().encode("latin-1"), token) and kind.lower() == "bearer"


class BodyGuard:
    """Passes a request on when its body is there: up to `body_bytes`, within `body_seconds`."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                body = await self._read(scope, receive)
        except ApiError as error:
            await refuse(error, scope, receive, send)
            return
        except TimeoutError:
            slow = _and_close(ApiError(408, f"the body did not come within {self._limits.body_seconds:g} seconds"))
            await refuse(slow, scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None where the client goes away before its end. Raises ApiError 413."""
        most = self._limits.body_bytes
        told = values_of(scope, b"content-length")
        if told and told[0].isdecimal() and int(told[0][:20]) > most and values_of(scope, b"expect"):
            raise self._too_large()  # the client waits for our word before it sends anything
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            size += len(message.get("body", b""))
            if size <= most:
                parts.append(message.get("body", b""))
            elif size > most + DISCARD_BYTES:
                raise self._too_large()
            if not message.get("more_body", False):
                break
        if size > most:
            raise self._too_large()
        return b"".join(parts)

    def _too_large(self) -> ApiError:
        return _and_close(ApiError(413, f"the body is larger than {self._limits.body_bytes} bytes: send less"))


def _and_close(error: ApiError) -> ApiError:
    """With the end of the connection: what is still to come of the body is not read."""
    error.headers["connection"] = "close"
    return error


async def refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with an error; a WebSocket is closed before it opens."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return
    await JsonResponse(error.body(), error.status, error.headers)(scope, receive, send)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body at once, then what comes after it."""
    unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return unread.pop() if unread else await receive()

    return replayed


def values_of(scope: Scope, name: bytes) -> list[str]:
    """The values of a header, in the order in which they came."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def host_name(host: str) -> str | None:
    """The name or address in a Host header, without its port; None where it has another form.

    >>> host_name("localhost:8000"), host_name("[::1]:8000"), host_name("LOCALHOST."), host_name("a@b"), host_name("")
    ('localhost', '::1', 'localhost', None, None)
    """
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if not name or parts.username is not None or parts.path or parts.query or parts.fragment:
        return None
    return name.removesuffix(".")


def is_same_origin(origin: str, host: str) -> bool:
    """Whether a page of this origin came from the server that it calls.

    >>> [is_same_origin(origin, "localhost:8000") for origin in ("http://localhost:8000", "http://localhost:9", "null")]
    [True, False, False]
    """
    return origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())
