"""Middleware that checks access and limits: ASGI layers, usable alone or all together.

A refused request gets an error in OpenAI's form; a refused WebSocket is closed before it opens.
"""

import asyncio
import hmac
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nanogpt.serving.api import ApiError, JsonResponse
from nanogpt.serving.settings import Access, Limits

OPEN_PATHS = frozenset({"/healthz"})
"""For health checks, which have no token; it reveals nothing."""
POLICY_VIOLATION = 1008
"""The code of RFC 6455 for closing a refused WebSocket."""
DISCARD_BYTES = 16 << 20
"""How far a body that is too large is read, so that the client gets to read why; then the connection is closed."""


class ProtectionMiddleware:
    """All checks around an application. Preflight requests of allowed websites are answered without a token."""

    def __init__(self, app: ASGIApp, access: Access, limits: Limits) -> None:
        app = TokenMiddleware(BodyMiddleware(app, limits), access)
        if access.origins:
            app = CORSMiddleware(
                app, allow_origins=access.origins, allow_methods=("GET", "POST"),
                allow_headers=("Authorization", "Content-Type"),
            )  # fmt: skip
        self._app = HostMiddleware(app, access)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on."""
        await self._app(scope, receive, send)


class HostMiddleware:
    """Refuses requests whose Host is not this server, or whose Origin is neither this server nor allowed."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on."""
        if scope["type"] in ("http", "websocket"):
            refused = self._check(scope)
            if refused is not None:
                await refuse(refused, scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> ApiError | None:
        hosts, origins = header_values(scope, b"host"), header_values(scope, b"origin")
        if len(hosts) != 1 or len(origins) > 1:
            return ApiError(400, "send exactly one Host header, and at most one Origin")
        name = host_name(hosts[0])
        if name is None or not self._access.answers_to(name):
            return ApiError(421, f"this server is not {hosts[0][:100]!r}: use the address that it printed")
        if origins and origins[0] not in self._access.origins and not is_same_origin(origins[0], hosts[0]):
            return ApiError(403, f"pages of {origins[0][:100]!r} may not call this server")
        return None


class TokenMiddleware:
    """Refuses requests without the token, where there is one, except on `OPEN_PATHS`."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._token = app, None if access.token is None else access.token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on."""
        checked = scope["type"] in ("http", "websocket") and scope["path"] not in OPEN_PATHS
        if checked and self._token is not None and not self._has_token(scope, self._token):
            message = "the token is missing or wrong: send Authorization: Bearer TOKEN"
            error = ApiError(401, message, code="invalid_api_key")
            error.headers["www-authenticate"] = "Bearer"
            await refuse(error, scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _has_token(self, scope: Scope, token: bytes) -> bool:
        sent = header_values(scope, b"authorization")
        kind, _, value = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
        # In constant time: it must not depend on how much of the token is right.
        return hmac.compare_digest(value.strip().encode("latin-1"), token) and kind.lower() == "bearer"


class BodyMiddleware:
    """Reads the body first, up to `body_bytes` and within `body_seconds`."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an allowed request on."""
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
            slow = _and_close(ApiError(408, f"the body did not arrive within {self._limits.body_seconds:g} seconds"))
            await refuse(slow, scope, receive, send)
            return
        if body is None:  # the client disconnected
            return
        unread: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replayed() -> Message:
            return unread.pop() if unread else await receive()

        await self._app(scope, replayed, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """Return the body; None where the client disconnects before its end. Raises ApiError 413."""
        most = self._limits.body_bytes
        length = header_values(scope, b"content-length")
        if length and length[0].isdecimal() and int(length[0][:20]) > most and header_values(scope, b"expect"):
            raise self._too_large()  # the client waits for an answer before it sends anything
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
    """Close the connection after the response: the rest of the body is not read."""
    error.headers["connection"] = "close"
    return error


async def refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Respond with an error; close a WebSocket before it opens."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return
    await JsonResponse(error.body(), error.status, error.headers)(scope, receive, send)


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Return the values of a header, in the order in which they came."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def host_name(host: str) -> str | None:
    """Return the name or address in a Host header, without its port; None where it is malformed.

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
    """Return whether a page of this origin came from the server that it calls.

    >>> [is_same_origin(origin, "localhost:8000") for origin in ("http://localhost:8000", "http://localhost:9", "null")]
    [True, False, False]
    """
    return origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower())
