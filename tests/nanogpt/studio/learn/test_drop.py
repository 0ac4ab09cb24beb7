"""What the page sends: read no further than a text may be long."""

import asyncio
import json

import pytest

pytest.importorskip("nicegui")

from starlette.requests import Request

from nanogpt.studio.learn import drop, texts
from nanogpt.studio.learn.drop import take_text

TALE = b"the cat sat on the mat. " * 20


def send(shelf, pieces, name=""):
    """The answer to a request, and how many of its pieces were read."""
    read = 0

    async def receive():
        nonlocal read
        read += 1
        return {"type": "http.request", "body": pieces[read - 1], "more_body": read < len(pieces)}

    scope = {"type": "http", "method": "POST", "headers": [(b"x-file-name", name.encode())]}
    answer = asyncio.run(take_text(Request(scope, receive), shelf))
    return answer.status_code, json.loads(answer.body), read


def test_a_text_in_pieces(tmp_path):
    status, said, _ = send(tmp_path, [TALE, TALE], "My%20Tale.txt")
    assert status == 200
    assert (tmp_path / "texts" / said["name"]).read_bytes() == TALE * 2
    assert said["name"].startswith("my-tale-")


def test_a_text_beyond_the_limit_is_not_read_to_its_end(tmp_path, monkeypatch):
    for module in (drop, texts):
        monkeypatch.setattr(module, "LARGEST_BYTES", 1000)
    status, said, read = send(tmp_path, [TALE] * 50)
    assert (status, read) == (413, 3)
    assert "larger" in said["problem"]
    assert not list(tmp_path.iterdir())


def test_another_kind_is_not_read_at_all(tmp_path):
    status, said, read = send(tmp_path, [TALE], "..%2F..%2Fetc%2Fpasswd")
    assert (status, read) == (400, 0)
    assert ".txt" in said["problem"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "texts").write_text("a file where the folder should be")
    status, said, _ = send(tmp_path, [TALE])
    assert status == 507
    assert "cannot be kept" in said["problem"]
