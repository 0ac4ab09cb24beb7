import gzip
import io
import os
import sys
from pathlib import Path

import pytest
import zstandard
from tiny import raising, refuses

from nanogpt.text.corpus import Corpus, load_corpus

PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def write(files, folder="."):
    for name, data in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())


def absolute(path):
    return str(Path(path).absolute())


@pytest.mark.parametrize("ending", PACK)
def test_a_file(ending):
    name = f"My.book.txt{ending}"
    write({name: PACK[ending]("Größe\r\nund\rSüße\n".encode())})
    found = load_corpus(name)
    assert found.notes == ()  # it was not read yet
    assert found.documents == ("Größe\nund\nSüße\n",)
    assert (found.name, found.source) == ("My.book", absolute(name))
    assert found.notes == ("line ends \\r\\n are read as \\n",)
    assert load_corpus(Path(name), encoding="latin-1").text == "GrÃ¶Ã\x9fe\nund\nSÃ¼Ã\x9fe\n"
    write({name: PACK[ending](b"one\n")})
    plain = load_corpus(name)
    assert (plain.text, plain.notes) == ("one\n", ())


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8", "UTF_8"])
def test_encodings(encoding):
    write({"book.txt": "café ole".encode(encoding)})
    assert load_corpus("book.txt", encoding=encoding).text == "café ole"


NIGHT = "It was a dark and stormy night.\n"


@pytest.mark.parametrize(
    "name",
    [NIGHT * 999, NIGHT, NIGHT[:-1] * 9, "~nobody-here/book.txt", "zero\0byte", "folder/" * 20 + "bok.txt"],
    ids=range(6),
)
def test_a_missing_file_or_a_text_instead_of_its_name(name):
    message = refuses(lambda: load_corpus(name), "no file or folder", "not the text itself", "shakespeare", "python")
    assert repr(name)[1:9] in message
    assert len(message) < 320
    assert name.startswith("It was") or repr(name) in message


def test_an_unreadable_file(monkeypatch):
    write({"book.txt": "text"})
    found = load_corpus("book.txt")
    monkeypatch.setattr(Path, "open", raising(PermissionError(13, "Permission denied")))
    refuses(lambda: found.text, "'book.txt': Permission denied", "permissions")


@pytest.mark.parametrize("source", ["", [], [""], ["book.txt", ""]], ids=repr)
def test_an_empty_name_is_not_the_working_folder(source):
    """A shell passes it for an unset variable."""
    write({"book.txt": "text"})
    refuses(lambda: load_corpus(source), "no text was named", "'.' for this folder", "'-'")
    assert load_corpus(".").text == "text"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("book.txt", b"", ["book.txt is empty"]),
        ("book.txt", b" \r\n\t\n", ["book.txt is empty"]),
        ("book.txt", b"\xef\xbb\xbf", ["book.txt is empty"]),
        ("cat.png", b"\x89PNG\r\n\x1a\n\0\0", ["cat.png is a binary file", "byte 8"]),
        ("cat.gz", gzip.compress(b"\x89PNG\0", mtime=0), ["cat.gz is a binary file"]),
        ("book.txt", b"one\ntwo\ncaf\xe9 ole", ["book.txt", "0xe9", "offset 11", "line 3", "--encoding latin-1"]),
        ("bad.txt.zst", zstandard.compress(b"one\ncaf\xe9 ole"), ["bad.txt.zst", "offset 7", "line 2"]),
    ],
)
def test_what_is_not_a_text(name, data, words):
    write({name: data})
    refuses(lambda: load_corpus(name).text, *words)


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_several_members(ending):
    write({f"book{ending}": PACK[ending](b"one ") + PACK[ending](b"") + PACK[ending](b"two")})
    assert load_corpus(f"book{ending}").text == "one two"


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("cut", [3, 10, -1, None])
def test_a_compressed_file_that_is_incomplete_or_plain(ending, cut):
    whole = b"plain text" if cut is None else PACK[ending](os.urandom(50_000).hex().encode())
    write({f"book.txt{ending}": whole[:cut]})
    refuses(lambda: load_corpus(f"book.txt{ending}").text, f"book.txt{ending} is damaged", "restore it")


def test_a_folder_has_one_document_per_file_ordered_by_path():
    write({"b.txt": "two", "a/z.md": "one", "c.py": "three\r\n", ".git/x": "no", "empty.txt": ""}, "books")
    write({"d.bin": b"\0\1"}, "books")
    found = load_corpus("books")
    assert found.notes == ()
    assert found.documents == ("one", "two", "three\n")
    assert found.text == "one\ntwo\nthree\n"
    assert (found.name, found.source) == ("books", absolute("books"))
    assert found.notes == ("line ends \\r\\n are read as \\n", "left out 1 binary file: d.bin")


def test_a_folder_in_another_encoding():
    write({"a.txt": "two".encode("utf-16")}, "books")
    assert load_corpus("books", encoding="utf-16").text == "two"
    write({"a.txt": b"fine", "bad.txt": b"caf\xe9"}, "books")
    refuses(lambda: load_corpus("books").text, "bad.txt", "0xe9")


@pytest.mark.parametrize("files", [{}, {"blank.txt": "\n\n"}, {".hidden": "hidden"}], ids=str)
def test_a_folder_without_text(files):
    Path("books").mkdir()
    write(files, "books")
    refuses(lambda: load_corpus("books").text, "folder 'books'", ".txt")


@pytest.mark.parametrize("data", [b"typed\n", b""])
def test_standard_input(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    found = load_corpus("-")
    if data:
        assert (found.text, found.text, found.name, found.source) == ("typed\n", "typed\n", "stdin", "-")
    else:
        refuses(lambda: found.text, "standard input is empty")


def test_a_corpus_is_returned_as_it_is():
    ours = Corpus.of_texts("one", "two")
    assert load_corpus(ours) is ours
    write({"a.txt": "three"})
    found = load_corpus([load_corpus(["a.txt", ours]), Path("a.txt")])
    assert found.documents == ("three", "one", "two", "three")
    assert found.sources == (absolute("a.txt"), "-", absolute("a.txt"))
