"""Who gets in, and what a browser may do with what it gets."""

import asyncio

import pytest

pytest.importorskip("starlette", reason="the studio needs starlette: pip install 'nanogpt[studio]'")

from nanogpt.studio.door import HEADERS, Door

WORD = "open sesame"


async def page(scope, receive, send):
    """What stands behind the door."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


def ask(door, query="", cookie=None, method="GET", kind="http"):
    """The messages of an answer."""
    headers = [] if cookie is None else [(b"cookie", cookie.encode())]
    scope = {
        **{"type": kind, "method": method, "path": "/", "query_string": query.encode(), "headers": headers},
        **{"scheme": "http", "server": ("127.0.0.1", 1), "root_path": ""},
    }
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    asyncio.run(door(scope, receive, send))
    return sent


def headers_of(sent):
    return {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def enter(door):
    """The cookie of who shows the token."""
    return headers_of(ask(door, "token=open+sesame"))["set-cookie"].partition(";")[0]


def test_without_a_token_everyone_is_in():
    assert ask(Door(page))[0]["status"] == 200


@pytest.mark.parametrize("query", ["", "token=", "token=open", "token=open+sesame+", "Token=open+sesame", "token=%ff"])
def test_without_the_word_nobody_is_in(query):
    sent = ask(Door(page, WORD), query)
    assert sent[0]["status"] == 401
    assert b"inside" not in sent[1]["body"]
    assert "set-cookie" not in headers_of(sent)


def test_the_word_leads_in_and_out_of_the_address():
    door = Door(page, WORD)
    sent = ask(door, "a=1&token=open+sesame")
    headers = headers_of(sent)
    assert sent[0]["status"] == 303
    assert headers["location"] == "/?a=1"
    assert "httponly" in headers["set-cookie"].lower()
    assert "samesite=strict" in headers["set-cookie"].lower()
    assert WORD not in headers["set-cookie"]
    assert ask(door, cookie=enter(door))[0]["status"] == 200


def test_a_cookie_of_another_time_is_worth_nothing():
    assert ask(Door(page, WORD), cookie=enter(Door(page, WORD)))[0]["status"] == 401
    door = Door(page, WORD)
    assert ask(door, cookie=enter(door)[:-1])[0]["status"] == 401
    assert ask(door, cookie=f"{enter(door).partition('=')[0]}={WORD}")[0]["status"] == 401
    assert ask(door, cookie=";;;=")[0]["status"] == 401


def test_a_websocket_needs_the_cookie_too():
    """Else any page could talk to the studio without ever having seen it."""
    door = Door(page, WORD)
    assert ask(door, "token=open+sesame", kind="websocket")[0]["type"] == "websocket.close"
    assert ask(door, kind="websocket", cookie=enter(door))[0]["type"] == "websocket.accept"


def test_nothing_is_posted_with_the_word_in_the_address():
    assert ask(Door(page, WORD), "token=open+sesame", method="POST")[0]["status"] == 401


def test_every_answer_tells_the_browser_what_it_may_do():
    for sent in (ask(Door(page)), ask(Door(page, WORD)), ask(Door(page, WORD), "token=open+sesame")):
        assert headers_of(sent).items() >= HEADERS.items()


def test_nothing_may_come_from_elsewhere():
    policy = dict(part.split(maxsplit=1) for part in HEADERS["content-security-policy"].split("; "))
    assert policy["default-src"] == "'self'"
    assert not any("//" in source or "*" in source for source in policy.values())
