"""Who may see the studio, and what a browser lets its page do.

Around it stands `nanogpt.serving.guard.HostGuard`, which answers to this server's own names only. A browser sends no
header of its own choice when it opens a page: the token comes once in the address, from then on a cookie stands for it.
"""

import hashlib
import hmac
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nanogpt.serving.guard import POLICY_VIOLATION, values_of

HEADERS = {
    # NiceGUI draws its page by scripts in the page itself. Nothing may be loaded from, or sent to, anywhere else.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
NO_TOKEN = "This studio asks for a token: open it with ?token=… at the end of the address, as it was printed.\n"


class Door:
    """Lets in whoever shows the token, where there is one, and adds `HEADERS` to each answer."""

    def __init__(self, app: ASGIApp, token: str | None = None) -> None:
        self._app, self._token = app, None if token is None else token.encode()
        # Another one each time the studio starts. Cookies do not tell ports apart: the name does.
        self._secret = secrets.token_urlsafe(32)
        self._cookie = f"nanogpt-{hashlib.sha256(self._secret.encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif self._token is None or self._is_known(scope):
            await self._app(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            await self._answer(scope, self._token)(scope, receive, _with_headers(send))

    def _is_known(self, scope: Scope) -> bool:
        for header in values_of(scope, b"cookie"):
            try:
                shown = SimpleCookie(header).get(self._cookie)
            except CookieError:
                continue
            if shown is not None and hmac.compare_digest(shown.value.encode(), self._secret.encode()):
                return True
        return False

    def _answer(self, scope: Scope, token: bytes) -> ASGIApp:
        """To a browser that has no cookie: one, where its address has the token, and the address without it."""
        asked = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        shown = dict(asked).get("token", "").encode("utf-8", "surrogatepass")
        if scope["method"] != "GET" or not hmac.compare_digest(shown, token):
            return PlainTextResponse(NO_TOKEN, 401)
        rest = urlencode([one for one in asked if one[0] != "token"])
        answer = RedirectResponse(f"{scope['path']}{'?' + rest if rest else ''}", 303)
        answer.set_cookie(self._cookie, self._secret, httponly=True, samesite="strict")
        return answer


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
