"""What is pasted or dropped becomes a file under a name of ours."""

import pytest
from tiny import refuses

from nanogpt.studio.learn import texts
from nanogpt.studio.learn.texts import find_text, kept_texts, save_text

TALE = ("the cat sat on the mat. " * 20).encode()


def test_a_text_is_kept_as_it_is(tmp_path):
    place = save_text(tmp_path, "Ein schöner Tag.\n".encode() * 20, "Tag.txt")
    assert place.parent == tmp_path / "texts"
    assert place.read_text(encoding="utf-8") == "Ein schöner Tag.\n" * 20
    assert place.name.startswith("tag-")
    assert find_text(tmp_path, place.name) == place


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd.txt", "/etc/cron.d/x.txt", "..\\..\\x.md", "C:\\windows\\x.txt", "a\0b.txt", ".txt", "…/🦊.txt"],
)
def test_a_name_is_never_a_path(tmp_path, name):
    shelf = tmp_path / "shelf"
    try:
        place = save_text(shelf, TALE, name)
    except ValueError:
        return  # refused is as good
    assert place.parent == shelf / "texts"
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == [place]
    assert place.name.isascii()


def test_one_content_is_one_file_and_another_another(tmp_path):
    assert save_text(tmp_path, TALE) == save_text(tmp_path, TALE)
    assert save_text(tmp_path, TALE) != save_text(tmp_path, TALE + b"!")
    assert len(kept_texts(tmp_path)) == 2


@pytest.mark.parametrize("name", ["x.py", "x.txt.gz", "x.zip", "x.parquet", "x"])
def test_other_kinds_are_refused(tmp_path, name):
    refuses(lambda: save_text(tmp_path, TALE, name), ".txt, .md, .jsonl")
    assert not list(tmp_path.iterdir())


def test_what_is_no_text_is_refused(tmp_path, monkeypatch):
    refuses(lambda: save_text(tmp_path, TALE + b"\xe9t\xe9"), "UTF-8", "480", "0xe9")
    refuses(lambda: save_text(tmp_path, TALE + b"\0"), "zero bytes")
    refuses(lambda: save_text(tmp_path, b"too short"), "9 characters")
    monkeypatch.setattr(texts, "LARGEST_BYTES", 300)
    refuses(lambda: save_text(tmp_path, TALE), "nanogpt train")
    assert not list(tmp_path.iterdir())


def test_only_kept_texts_are_found(tmp_path):
    save_text(tmp_path, TALE)
    (tmp_path / "secret.txt").write_text("x")
    (tmp_path / "texts" / "link.txt").symlink_to(tmp_path / "secret.txt")
    for name in ("../secret.txt", "link.txt", "secret.txt", str(tmp_path / "secret.txt"), ""):
        refuses(lambda name=name: find_text(tmp_path, name), "kept here")


def test_texts_are_not_put_where_a_link_leads(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "texts").symlink_to(tmp_path / "elsewhere")
    refuses(lambda: save_text(shelf, TALE), "link")
    assert not list((tmp_path / "elsewhere").iterdir())
