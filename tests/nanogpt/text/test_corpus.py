"""Texts by name, file, folder, data set and standard input."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from nanogpt.errors import UserError
from nanogpt.text import corpus
from nanogpt.text.corpus import Corpus, load_corpus
from nanogpt.text.decoding import decode_text


def read(**settings):
    return load_corpus(**settings).text


def refuses(*words, call=read, **settings):
    with pytest.raises(UserError) as caught:
        call(**settings)
    for word in words:
        assert word in str(caught.value), caught.value
    return caught.value


# Files


def test_a_file():
    Path("My book.txt").write_bytes("Über\r\nalles\rklar\n".encode())
    found = load_corpus("My book.txt")
    assert found.notes == ()  # it was not read yet
    assert found.documents == ("Über\nalles\nklar\n",)
    assert (found.name, found.source) == ("My book", str(Path("My book.txt").absolute()))
    assert found.notes == ("line ends \\r\\n are read as \\n",)


def test_a_plain_file_has_no_notes():
    Path("book.txt").write_bytes(b"one\ntwo\n")
    found = load_corpus(Path("book.txt"))
    assert found.text == "one\ntwo\n"
    assert found.notes == ()


def test_a_byte_order_mark_is_dropped():
    assert decode_text(b"\xef\xbb\xbfcaf\xc3\xa9", "there") == "café"


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8", "UTF_8"])
def test_encodings(encoding):
    Path("book.txt").write_bytes("café ole".encode(encoding))
    assert load_corpus("book.txt", encoding).text == "café ole"


def test_no_such_file():
    refuses("no file or folder 'bok.txt'", "shakespeare", "python", source="bok.txt")


NIGHT = "It was a dark and stormy night.\n"


@pytest.mark.parametrize(
    "text", [NIGHT * 999, NIGHT, NIGHT[:-1] * 9, "~nobody-here/book.txt", "zero\0byte"], ids=range(5)
)
def test_a_text_in_place_of_its_name(text):
    error = refuses("no file or folder", "give a path, not the text itself", source=text)
    assert text[:8].split("\0")[0] in str(error)
    assert len(str(error)) < 220


def test_a_long_path_is_shown_to_its_end():
    path = "folder/" * 20 + "bok.txt"
    refuses(repr(path), source=path)


def test_a_folder_that_is_closed(monkeypatch):
    def stat(self, **_):
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patch:
        patch.setattr(corpus.Path, "stat", stat)
        refuses("cannot look at 'shut/book.txt': Permission denied", "or give another path", source="shut/book.txt")


@pytest.mark.parametrize("source", ["", [], [""], ["book.txt", ""]], ids=repr)
def test_no_name_is_not_the_working_folder(source):
    """A shell gives it where a variable is not set."""
    Path("book.txt").write_text("text")
    refuses("no text was named", "'.' for this folder", "'-'", source=source)
    assert load_corpus(".").text == "text"


@pytest.mark.parametrize("data", [b"", b" \r\n\t\n", b"\xef\xbb\xbf"])
def test_an_empty_text(data):
    Path("book.txt").write_bytes(data)
    refuses("book.txt is empty", "nothing to learn from", source="book.txt")


def test_a_binary_file():
    Path("cat.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    refuses("cat.png is a binary file", "byte 8 is 0", source="cat.png")


def test_utf_16_is_recognised():
    Path("book.txt").write_bytes("two".encode("utf-16"))
    refuses("book.txt is in UTF-16", "--encoding utf-16", source="book.txt")


def test_invalid_utf_8_names_the_byte_and_the_way_on():
    Path("book.txt").write_bytes(b"one\ntwo\ncaf\xe9 ole")
    refuses("book.txt", "0xe9", "offset 11", "line 3", "--encoding latin-1", source="book.txt")
    assert load_corpus("book.txt", "latin-1").text.endswith("café ole")


def test_invalid_bytes_after_a_byte_order_mark():
    refuses("0xe9", call=decode_text, data=b"\xef\xbb\xbfcaf\xe9 ole", where="there")


def test_an_encoding_that_there_is_not():
    Path("book.txt").write_bytes(b"text")
    refuses("unknown encoding 'utf-9'", "utf-8", source="book.txt", encoding="utf-9")
    refuses("unknown encoding 'base64'", source="book.txt", encoding="base64")


def test_home_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Path("book.txt").write_text("text")
    assert load_corpus("~/book.txt").text == "text"


# Folders


def test_a_folder_is_a_document_a_file_in_the_order_of_their_paths():
    for name, text in {"b.txt": "two", "a/z.md": "one", "c.py": "three\r\n", ".git/x": "no", "empty.txt": ""}.items():
        path = Path("books", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    Path("books/d.bin").write_bytes(b"\0\1")
    found = load_corpus("books")
    assert found.notes == ()
    assert found.documents == ("one", "two", "three\n")
    assert found.text == "one\ntwo\nthree\n"
    assert (found.name, found.source) == ("books", str(Path("books").absolute()))
    assert found.notes == ("line ends \\r\\n are read as \\n", "left out 1 binary file(s): d.bin")


def test_a_folder_in_utf_16():
    Path("books").mkdir()
    Path("books/a.txt").write_bytes("two".encode("utf-16"))
    assert load_corpus("books", "utf-16").text == "two"


@pytest.mark.parametrize("name", [None, "blank.txt", ".hidden"])
def test_a_folder_without_text(name):
    Path("books").mkdir()
    if name:
        Path("books", name).write_text("hidden" if name.startswith(".") else "\n\n")
    refuses("no text below the folder 'books'", ".txt", source="books")


def test_a_file_in_a_folder_that_is_not_utf_8_is_named():
    Path("books").mkdir()
    Path("books/bad.txt").write_bytes(b"caf\xe9")
    refuses("bad.txt", "0xe9", source="books")


# Standard input


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"typed\n")))
    found = load_corpus("-")
    assert (found.text, found.name, found.source) == ("typed\n", "stdin", "-")


def test_empty_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    refuses("standard input is empty", source="-")


# In memory


def test_a_corpus_is_taken_as_it_is():
    ours = Corpus.of_texts("one", "two")
    assert load_corpus(ours) is ours
    Path("a.txt").write_text("three")
    found = load_corpus([load_corpus(["a.txt", ours]), Path("a.txt")])
    assert found.documents == ("three", "one", "two", "three")
    assert found.sources == (str(Path("a.txt").absolute()), "-", str(Path("a.txt").absolute()))


# Named corpora


@pytest.fixture
def small_python(monkeypatch):
    """A standard library of three files, one of them a test."""
    for name in ("b.py", "a.py", "test/c.py"):
        path = Path("stdlib", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    monkeypatch.setattr(corpus.sysconfig, "get_paths", lambda: {"stdlib": "stdlib"})


def test_python_is_the_standard_library_without_its_tests(small_python):
    found = load_corpus("python")
    assert found.documents == ("# a.py\n", "# b.py\n")
    assert (found.name, found.source, found.notes) == ("python", "python", ())


@pytest.mark.slow
def test_python_comes_with_every_interpreter():
    found = load_corpus("python")
    assert len(found.documents) > 300
    assert "def runcall(" in found.text


def test_without_a_name_python_stands_in_and_says_so(small_python):
    found = load_corpus()
    assert (found.name, found.source) == ("python", "python")
    (note,) = found.notes
    assert "'shakespeare' is not on this machine" in note
    assert "'python'" in note
    assert "\n" not in note


def test_a_named_corpus_is_never_replaced(small_python):
    with pytest.raises(UserError, match="'shakespeare' is not on this machine"):
        load_corpus("shakespeare")


def test_a_name_wins_over_a_file_of_that_name(small_python):
    Path("python").write_text("my own")
    assert load_corpus("python").documents[0] == "# a.py\n"
    assert load_corpus("./python").text == "my own"


def test_importing_it_is_light():
    code = "import sys, nanogpt.text.corpus, nanogpt.config; print(*{'torch', 'numpy', 'rich', 'tyro'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""
