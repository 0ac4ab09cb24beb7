"""Pasted and uploaded texts: stored under names that the studio chooses, and read no further than the limit."""

import asyncio
import json

import pytest
from tiny import refuses

pytest.importorskip("nicegui")

from starlette.requests import Request

from nanogpt.studio import uploads
from nanogpt.studio.uploads import find_text, receive_text, save_text, stored_texts

TALE = b"the cat sat on the mat. " * 20


def test_a_text_is_stored_as_it_is(tmp_path):
    file = save_text(tmp_path, "Ein schöner Tag.\n".encode() * 20, "Tag.txt")
    assert file.parent == tmp_path / "texts"
    assert file.read_text(encoding="utf-8") == "Ein schöner Tag.\n" * 20
    assert file.name.startswith("tag-")
    assert find_text(tmp_path, file.name) == file


def test_a_page_in_another_encoding_is_stored_as_it_is(tmp_path):
    page = "<p>Größe".encode("cp1252") + TALE
    assert save_text(tmp_path, b'<meta charset="cp1252">' + page, "a.html").read_bytes().endswith(page)


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd.txt", "/etc/cron.d/x.txt", "..\\..\\x.md", "C:\\windows\\x.txt", "a\0b.txt", ".txt", "…/🦊.txt"],
)
def test_a_name_is_never_a_path(tmp_path, name):
    folder = tmp_path / "runs"
    try:
        file = save_text(folder, TALE, name)
    except ValueError:
        return  # refused is as good
    assert file.parent == folder / "texts"
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [file]
    assert file.name.isascii()


def test_the_same_content_is_stored_once(tmp_path):
    assert save_text(tmp_path, TALE) == save_text(tmp_path, TALE)
    assert save_text(tmp_path, TALE) != save_text(tmp_path, TALE + b"!")
    assert len(stored_texts(tmp_path)) == 2


@pytest.mark.parametrize(
    ("data", "name", "words"),
    [
        *((TALE, name, [".txt, .md, .jsonl"]) for name in ("x.py", "x.txt.gz", "x.zip", "x.parquet", "x")),
        (TALE + b"\xe9t\xe9", "", ["UTF-8", "480", "0xe9"]),
        (TALE + b"\0", "", ["zero bytes"]),
        (b"too short", "", ["9 characters"]),
        (TALE * 3, "", ["nanogpt train"]),
        (TALE, "x.jsonl", ["x-", ".jsonl, line 1 is not JSON"]),
        (b"id,body\n1," + TALE, "x.csv", ["has no column 'text'", "'id', 'body'"]),
        (b"text\n" + b'""\n' * 70 + b"a\n", "x.csv", ["1 character:"]),
        (TALE, "x.docx", ["cannot read", "as a .docx file"]),
        (b"<script>" + TALE + b"</script><p>a", "x.html", ["1 character:"]),
    ],
)
def test_unsuitable_texts_are_refused(tmp_path, monkeypatch, data, name, words):
    monkeypatch.setattr(uploads, "MAX_BYTES", 1000)
    refuses(lambda: save_text(tmp_path, data, name), *words)
    assert not [one for one in tmp_path.rglob("*") if one.is_file()]


def test_only_stored_texts_are_found(tmp_path):
    save_text(tmp_path, TALE)
    (tmp_path / "secret.txt").write_text("x")
    (tmp_path / "texts" / "link.txt").symlink_to(tmp_path / "secret.txt")
    for name in ("../secret.txt", "link.txt", "secret.txt", str(tmp_path / "secret.txt"), "", "http://127.0.0.1/a"):
        refuses(lambda name=name: find_text(tmp_path, name), "no text")


def test_a_folder_of_texts_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "diary.txt").write_bytes(TALE)
    (tmp_path / "texts").symlink_to(tmp_path / "home")
    assert not stored_texts(tmp_path)
    refuses(lambda: save_text(tmp_path, TALE), "texts is a link")


def send(folder, parts, name=""):
    """The response to a request, and how many of its parts were read."""
    read = 0

    async def receive():
        nonlocal read
        read += 1
        return {"type": "http.request", "body": parts[read - 1], "more_body": read < len(parts)}

    scope = {"type": "http", "method": "POST", "headers": [(b"x-file-name", name.encode())]}
    response = asyncio.run(receive_text(Request(scope, receive), folder))
    return response.status_code, json.loads(response.body), read


def test_a_request_beyond_the_limit_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(uploads, "MAX_BYTES", 1000)
    status, answer, read = send(tmp_path, [TALE] * 50)
    assert (status, read) == (413, 3)
    assert "larger" in answer["problem"]
    status, answer, read = send(tmp_path, [TALE], "..%2F..%2Fetc%2Fpasswd")
    assert (status, read) == (400, 0)
    assert ".txt" in answer["problem"]
    assert not list(tmp_path.iterdir())
