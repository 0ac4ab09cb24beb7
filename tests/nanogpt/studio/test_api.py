"""The interface beside the page: opened when it is asked, and with a model that nobody looks into."""

import asyncio

import pytest
from tiny import make_run

pytest.importorskip("fastapi", reason="the studio needs FastAPI: pip install 'nanogpt[studio]'")

from nanogpt.serving.settings import Access
from nanogpt.studio.api import Beside
from nanogpt.studio.shelf import Shelf


async def page(scope, receive, send):
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"the page"})


def ask(app, path, *headers):
    """Status and body of an answer."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        **{"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b""},
        **{
            "headers": [(b"host", b"127.0.0.1"), *headers],
            "scheme": "http",
            "server": ("127.0.0.1", 1),
            "root_path": "",
        },
    }
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:])


def test_only_its_own_paths_are_the_interfaces(tmp_path):
    beside = Beside(page, Shelf(tmp_path), Access())
    for path in ("/", "/v1x", "/metricsx", "/v", "/_nicegui/v1"):
        assert ask(beside, path) == (299, b"the page")


def test_the_starter_answers_where_there_is_no_run(tmp_path):
    beside = Beside(page, Shelf(tmp_path), Access())
    try:
        status, body = ask(beside, "/v1/models")
        assert status == 200
        assert b'"starter"' in body
    finally:
        beside.close()


def test_a_model_that_cannot_be_opened_is_told(tmp_path):
    make_run(tmp_path / "modern")
    (tmp_path / "modern" / "config.toml").write_text("[[[")
    status, body = ask(Beside(page, Shelf(tmp_path), Access()), "/v1/models")
    assert status == 404
    assert b"not valid TOML" in body


def test_it_has_a_model_of_its_own(tmp_path):
    """Else a head that somebody switches off on the page would be off in what the interface writes."""
    make_run(tmp_path / "modern")
    shelf = Shelf(tmp_path)
    beside = Beside(page, shelf, Access())
    try:
        assert ask(beside, "/v1/models")[0] == 200
        assert beside._engine.model is not shelf.open("modern").model
    finally:
        beside.close()


def test_nothing_is_opened_for_who_does_not_know_the_token(tmp_path):
    """A model takes memory and seconds."""
    make_run(tmp_path / "modern")
    beside = Beside(page, Shelf(tmp_path), Access(token="secret"))
    try:
        assert ask(beside, "/v1/models")[0] == 401
        assert ask(beside, "/healthz") == (200, b'{"status":"ok"}')
        assert beside._engine is None
        assert ask(beside, "/v1/models", (b"authorization", b"Bearer secret"))[0] == 200
        assert ask(beside, "/healthz") == (200, b'{"status":"ok"}')
    finally:
        beside.close()
