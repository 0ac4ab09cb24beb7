import asyncio
import hmac

import httpx
import pytest
from tiny import refuses

from nanogpt.serving.middleware import ProtectionMiddleware
from nanogpt.serving.settings import Access, Limits


async def hello(scope, receive, send):
    """Answer every request."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def ask(access, method="GET", path="/", **headers):
    """Return the response of `hello` behind the middleware."""

    async def send():
        transport = httpx.ASGITransport(ProtectionMiddleware(hello, access, Limits()))
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return await client.request(method, path, headers=names)

    return asyncio.run(send())


OWN_HOSTS = ("127.0.0.1:8000", "localhost", "localhost.:1", "[::1]:8000", "proxy.example")
OTHER_HOSTS = ("evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "192.168.1.7", "0.0.0.0", "")


@pytest.mark.parametrize(
    ("host", "status"), [*((one, 200) for one in OWN_HOSTS), *((one, 421) for one in (*OTHER_HOSTS, "localhost:port"))]
)
def test_host_names(host, status):
    found = ask(Access(hosts=("proxy.example",)), Host=host)
    assert found.status_code == status
    if status == 421:
        assert found.json()["error"]["type"] == "invalid_request_error"


def test_host_names_of_a_server_in_a_network():
    access = Access(host="0.0.0.0", token="t")
    shown = {"Authorization": "Bearer t"}
    assert ask(access, Host="192.168.1.7:8000", **shown).status_code == 200
    assert ask(access, Host="evil.example", **shown).status_code == 421


OTHER_ORIGINS = ("http://127.0.0.1:9000", "http://evil.example", "null", "https://friend.example")


@pytest.mark.parametrize(("origin", "status"), [("http://127.0.0.1:8000", 200), *((one, 403) for one in OTHER_ORIGINS)])
def test_websites(origin, status):
    found = ask(Access(), "POST", Origin=origin)
    assert found.status_code == status
    assert not [name for name in found.headers if name.startswith("access-control")]
    assert ask(Access(), "OPTIONS", Origin=origin, Access_Control_Request_Method="POST").status_code == status


def test_an_allowed_website():
    access = Access(token="t", origins=("https://friend.example",))
    preflight = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "Authorization"}
    found = ask(access, "OPTIONS", Origin="https://friend.example", **preflight)
    assert (found.status_code, found.headers["access-control-allow-origin"]) == (200, "https://friend.example")
    found = ask(access, "POST", Origin="https://friend.example", Authorization="Bearer t")
    assert (found.status_code, found.headers["access-control-allow-origin"]) == (200, "https://friend.example")
    assert ask(access, "POST", Origin="https://friend.example").status_code == 401
    assert ask(access, "POST", Origin="https://foe.example", Authorization="Bearer t").status_code == 403


WRONG_TOKENS = ("Bearer secre", "Bearer secret2", "Basic secret", "secret", "Bearer ", None)


@pytest.mark.parametrize(
    ("shown", "status"), [("Bearer secret", 200), ("bearer secret", 200), *((one, 401) for one in WRONG_TOKENS)]
)
def test_the_token(shown, status):
    headers = {} if shown is None else {"Authorization": shown}
    found = ask(Access(token="secret"), **headers)
    assert found.status_code == status
    if status == 401:
        assert found.headers["www-authenticate"] == "Bearer"
        assert found.json()["error"]["code"] == "invalid_api_key"
    assert ask(Access(token="secret"), path="/healthz").status_code == 200


def test_the_token_is_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *pair: compared.append(pair))
    assert ask(Access(token="secret"), Authorization="Bearer secret").status_code == 401
    assert compared == [(b"secret", b"secret")]


def test_a_refused_websocket_is_closed():
    def messages(access, headers):
        sent = []

        async def send(message):
            sent.append(message["type"])

        scope = {"type": "websocket", "path": "/", "headers": headers}
        asyncio.run(ProtectionMiddleware(hello, access, Limits())(scope, None, send))
        return sent

    assert messages(Access(), [(b"host", b"localhost")]) == ["websocket.accept"]
    assert messages(Access(), [(b"host", b"evil.example")]) == ["websocket.close"]
    assert messages(Access(), [(b"host", b"localhost"), (b"origin", b"http://evil.example")]) == ["websocket.close"]
    assert messages(Access(token="t"), [(b"host", b"localhost")]) == ["websocket.close"]


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0"}, {"host": "::"}, {"host": "example.org"}, {"host": ""}])
def test_a_public_address_needs_a_token(settings):
    refuses(lambda: Access(**settings), "--token")
    Access(**settings, token="t")


@pytest.mark.parametrize("settings", [{"token": ""}, {"token": "tökén"}, {"origins": ("*",)}, {"origins": ("a.b",)}])
def test_bad_settings(settings):
    refuses(lambda: Access(**settings))


def test_a_live_server(live):
    server = live(access=Access(token="secret"))
    shown = {"Authorization": "Bearer secret"}
    for path in ("/v1/models", "/metrics", "/openapi.json", "/nowhere"):
        assert httpx.get(server.url + path).status_code == 401
    assert httpx.get(f"{server.url}/healthz").json() == {"status": "ok"}
    assert httpx.head(f"{server.url}/healthz").status_code == 200
    assert httpx.get(f"{server.url}/v1/models", headers=shown).status_code == 200
    assert httpx.get(f"{server.url}/v1/models", headers=shown | {"Host": "evil.example"}).status_code == 421
    assert httpx.get(f"{server.url}/v1/models", headers=shown | {"Origin": "http://evil.example"}).status_code == 403
