import asyncio

import pytest
from tiny import make_run

pytest.importorskip("fastapi", reason="the studio needs FastAPI: pip install 'nanogpt[studio]'")

from nanogpt.serving.settings import Access
from nanogpt.studio.middleware import HEADERS, ApiRouter, CookieMiddleware
from nanogpt.studio.registry import RunRegistry

TOKEN = "open sesame"


async def page(scope, receive, send):
    """The application inside the middleware."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"the page"})


def ask(app, query="", *headers, path="/", method="GET", kind="http"):
    scope = {
        **{"type": kind, "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode()},
        **{"scheme": "http", "server": ("127.0.0.1", 1), "root_path": ""},
        "headers": [(b"host", b"127.0.0.1"), *headers],
    }
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(app(scope, receive, send))
    return sent


def headers_of(sent):
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def cookie_of(guard):
    """The cookie of a browser that has the token, as a request header."""
    return b"cookie", headers_of(ask(guard, "token=open+sesame"))["set-cookie"].partition(";")[0].encode()


class TestCookieMiddleware:
    def test_without_a_token_everyone_is_let_in(self):
        assert ask(CookieMiddleware(page))[0]["status"] == 299

    @pytest.mark.parametrize(
        "query", ["", "token=", "token=open", "token=open+sesame+", "Token=open+sesame", "token=%ff"]
    )
    def test_a_wrong_token_is_refused(self, query):
        sent = ask(CookieMiddleware(page, TOKEN), query)
        assert sent[0]["status"] == 401
        assert b"the page" not in sent[1]["body"]
        assert "set-cookie" not in headers_of(sent)

    def test_the_token_becomes_a_cookie_and_leaves_the_address(self):
        guard = CookieMiddleware(page, TOKEN)
        sent = ask(guard, "a=1&token=open+sesame")
        headers = headers_of(sent)
        assert (sent[0]["status"], headers["location"]) == (303, "/?a=1")
        assert "httponly" in headers["set-cookie"].lower()
        assert "samesite=strict" in headers["set-cookie"].lower()
        assert TOKEN not in headers["set-cookie"]
        assert ask(guard, "", cookie_of(guard))[0]["status"] == 299

    def test_a_wrong_cookie_is_refused(self):
        guard = CookieMiddleware(page, TOKEN)
        own, other = cookie_of(guard)[1], cookie_of(CookieMiddleware(page, TOKEN))[1]  # other: of an earlier start
        for cookie in (other, own[:-1], own.partition(b"=")[0] + b"=" + TOKEN.encode(), b";;;="):
            assert ask(guard, "", (b"cookie", cookie))[0]["status"] == 401

    def test_a_websocket_needs_the_cookie_too(self):
        """Else any page could talk to the studio without the token."""
        guard = CookieMiddleware(page, TOKEN)
        assert ask(guard, "token=open+sesame", kind="websocket")[0]["type"] == "websocket.close"
        assert ask(guard, "", cookie_of(guard), kind="websocket")[0]["type"] == "websocket.accept"

    def test_the_token_in_the_address_allows_no_post(self):
        assert ask(CookieMiddleware(page, TOKEN), "token=open+sesame", method="POST")[0]["status"] == 401

    def test_every_response_has_the_headers(self):
        for token, query in ((None, ""), (TOKEN, ""), (TOKEN, "token=open+sesame")):
            assert headers_of(ask(CookieMiddleware(page, token), query)).items() >= HEADERS.items()

    def test_nothing_may_come_from_another_server(self):
        policy = dict(part.split(maxsplit=1) for part in HEADERS["content-security-policy"].split("; "))
        assert policy["default-src"] == "'self'"
        assert not any("//" in source or "*" in source for source in policy.values())


class TestApiRouter:
    @pytest.fixture
    def route(self, tmp_path):
        made = []

        def make(**access):
            made.append(ApiRouter(page, RunRegistry(tmp_path), Access(**access)))
            return made[-1]

        yield make
        for one in made:
            one.close()

    @staticmethod
    def get(router, path, *headers):
        sent = ask(router, "", *headers, path=path)
        return sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:])

    @pytest.mark.parametrize("path", ["/", "/v1x", "/metricsx", "/v", "/_nicegui/v1"])
    def test_other_paths_are_the_page(self, route, path):
        assert self.get(route(), path) == (299, b"the page")

    def test_its_model_is_not_the_pages(self, route, tmp_path):
        """Else a head that is switched off on the page would be off in the API."""
        make_run(tmp_path / "modern")
        router = route()
        assert self.get(router, "/v1/models")[0] == 200
        assert router._engine.model is not router._registry.open("modern").model

    def test_a_run_that_cannot_be_opened(self, route, tmp_path):
        make_run(tmp_path / "modern")
        (tmp_path / "modern/config.toml").write_text("[model]\nn_embd = 7\n")
        status, body = self.get(route(), "/v1/models")
        assert status == 404
        assert b"cannot be opened" in body
        assert b"--" not in body

    def test_without_the_token_no_model_is_loaded(self, route, tmp_path):
        make_run(tmp_path / "modern")
        router, healthy = route(token="secret"), (200, b'{"status":"ok"}')
        assert self.get(router, "/v1/models")[0] == 401
        assert self.get(router, "/healthz") == healthy
        assert router._engine is None
        assert self.get(router, "/v1/models", (b"authorization", b"Bearer secret"))[0] == 200
        assert self.get(router, "/healthz") == healthy
