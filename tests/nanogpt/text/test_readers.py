"""Files of every kind, what is wrong with them, and how much memory they take."""

import gzip
import io
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from nanogpt.errors import UserError
from nanogpt.files import cache_folder
from nanogpt.text import readers
from nanogpt.text.corpus import load_corpus
from nanogpt.text.readers import Spool

TEXT = "Größe\r\nund Süße\n"
LINES = "".join(json.dumps({"id": n, "text": f"number {n}\r\n", "other": str(n)}) + "\n" for n in range(3))
DOCUMENTS = ("number 0\n", "number 1\n", "number 2\n")

PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}


def refuses(name, *words, **settings):
    with pytest.raises(UserError) as caught:
        _ = load_corpus(name, **settings).documents
    for word in words:
        assert word in str(caught.value), caught.value


def write_parquet(name, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), name)


# Packed


@pytest.mark.parametrize("ending", PACK)
def test_packed_texts(ending):
    Path(f"My.book.txt{ending}").write_bytes(PACK[ending](TEXT.encode()))
    found = load_corpus(f"My.book.txt{ending}")
    assert (found.documents, found.name) == (("Größe\nund Süße\n",), "My.book")
    assert found.notes == ("line ends \\r\\n are read as \\n",)
    assert load_corpus(f"My.book.txt{ending}", "latin-1").text == TEXT.encode().decode("latin-1").replace("\r", "")


@pytest.mark.parametrize("ending", [".GZ", ".Zst"])
def test_endings_in_capitals(ending):
    Path(f"book{ending}").write_bytes(PACK[ending.lower()](b"text"))
    assert load_corpus(f"book{ending}").text == "text"


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_several_members(ending):
    Path(f"book{ending}").write_bytes(PACK[ending](b"one ") + PACK[ending](b"") + PACK[ending](b"two"))
    assert load_corpus(f"book{ending}").text == "one two"


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("cut", [3, 10, -1])
def test_a_packed_file_that_is_not_whole(ending, cut):
    Path(f"book.txt{ending}").write_bytes(PACK[ending](os.urandom(50_000).hex().encode())[:cut])
    refuses(f"book.txt{ending}", f"book.txt{ending} is damaged or not whole")


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_packed_file_that_is_none(ending):
    Path(f"book.txt{ending}").write_bytes(b"plain text")
    refuses(f"book.txt{ending}", f"book.txt{ending} is damaged or not whole", "restore it")


def test_a_packed_file_is_checked_as_a_plain_one():
    Path("cat.gz").write_bytes(gzip.compress(b"\x89PNG\0"))
    refuses("cat.gz", "cat.gz is a binary file")
    Path("bad.txt.zst").write_bytes(zstandard.compress(b"one\ncaf\xe9 ole"))
    refuses("bad.txt.zst", "bad.txt.zst is not utf-8", "offset 7", "line 2")


def peak_memory(code, *words):
    """Megabytes that a fresh process needs at most, of what it holds itself."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (300_000_000,) * 2)\n"
    found = subprocess.run([sys.executable, "-c", limit + code, *words], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, found.stdout


SCAN = "import sys; from nanogpt.text.corpus import load_corpus; print(load_corpus(sys.argv[1]).scan().characters)"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory")
@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_bomb_needs_no_memory(ending):
    """More than the memory that the process may have, of one letter, in next to nothing."""
    if ending == ".gz":
        data = gzip.compress(b"a" * 10_000_000) * 35
    else:
        packer = zstandard.ZstdCompressor().compressobj()
        data = b"".join(packer.compress(b"a" * 10_000_000) for _ in range(35)) + packer.flush()
    assert len(data) < 400_000
    Path(f"bomb.txt{ending}").write_bytes(data)
    _, printed = peak_memory(SCAN, f"bomb.txt{ending}")
    assert printed == "350000000\n"


# JSON lines


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("kind", [".jsonl", ".ndjson"])
def test_json_lines(ending, kind):
    Path(f"book{kind}{ending}").write_bytes(PACK[ending](LINES.encode()))
    found = load_corpus(f"book{kind}{ending}")
    assert (found.documents, found.name) == (DOCUMENTS, "book")
    assert load_corpus(f"book{kind}{ending}", column="other").documents == ("0", "1", "2")


def test_what_json_lines_may_be():
    Path("book.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "one"}\n\n \r\n{"text": ""}\n{"text": "\\u00e9\\ud800"}')
    assert load_corpus("book.jsonl", "latin-1").documents == ("one", "é\ufffd")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{text: 1}", ["line 2 is not JSON: Expecting property name"]),
        (b'{"text": "one', ["line 2 is not JSON"]),
        (b'{"text": "caf\xe9"}', ["line 2 is not JSON: not valid"]),
        (b"[" * 100_000, ["line 2 is not JSON"]),
        (b"9" * 10_000, ["line 2 is not JSON"]),
        (b'["text"]', ["line 2 is not a JSON object"]),
        (b'{"body": "one", "id": 2}', ["line 2 has no column 'text'", "--column", "there are 'body', 'id'"]),
        (b"{}", ["line 2 has no column 'text'", "there are none"]),
        (b'{"text": 3}', ["line 2: 'text' is a number, not a string"]),
        (b'{"text": ["one"]}', ["line 2: 'text' is a list, not a string"]),
        (b'{"text": false}', ["line 2: 'text' is true or false, not a string"]),
    ],
    ids=str,
)
def test_json_lines_that_are_wrong(line, words):
    line = line[:120_000]
    Path("book.jsonl").write_bytes(b'{"text": "one"}\n' + line + b"\n")
    refuses("book.jsonl", "book.jsonl, ", *words)


def test_a_line_that_is_too_long(monkeypatch):
    monkeypatch.setattr(readers, "LONGEST_RECORD_BYTES", 100)
    record = json.dumps({"text": "x" * (99 - len(json.dumps({"text": ""})))}) + "\n"
    Path("book.jsonl").write_text(record * 3)
    assert len(load_corpus("book.jsonl").documents) == 3
    Path("book.jsonl").write_text(record * 3 + record.replace("x", "xxx", 1))
    refuses("book.jsonl", "book.jsonl, line 4: longer than 100 bytes")


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory")
def test_a_line_of_gigabytes_needs_no_memory():
    Path("bomb.jsonl.gz").write_bytes(gzip.compress(b"a" * 10_000_000) * 100)
    code = SCAN.replace("print", "try: print").replace("\n", "") + "\nexcept ValueError as error: print(error)"
    code = code.replace(
        "import sys; from nanogpt.text.corpus import load_corpus; ",
        "import sys\nfrom nanogpt.text.corpus import load_corpus\n",
    )
    _, printed = peak_memory(code, "bomb.jsonl.gz")
    assert "bomb.jsonl.gz, line 1: longer than 64,000,000 bytes" in printed


# Parquet


def test_parquet():
    texts = ["one\r\n", None, "two", "", "three"]
    write_parquet("book.parquet", text=texts, n=range(5), large=pyarrow.array(texts, pyarrow.large_string()))
    found = load_corpus("book.parquet")
    assert (found.documents, found.name) == (("one\n", "two", "three"), "book")
    assert load_corpus("book.parquet", column="large").documents == found.documents


def test_parquet_of_many_row_groups_and_encodings():
    texts = [f"{'long ' * (n % 50)}{n}" for n in range(5000)]
    for number, settings in enumerate(({}, {"use_dictionary": False}, {"compression": "zstd", "row_group_size": 700})):
        pyarrow.parquet.write_table(pyarrow.table({"n": range(5000), "text": texts}), f"{number}.parquet", **settings)
        assert load_corpus(f"{number}.parquet").documents == tuple(texts)
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array(texts).dictionary_encode()}), "3.parquet")
    assert load_corpus("3.parquet").documents == tuple(texts)


def test_parquet_that_is_wrong(monkeypatch):
    write_parquet("book.parquet", body=["one"], n=[1])
    refuses("book.parquet", "book.parquet has no column 'text'", "there are 'body', 'n'", "--column")
    refuses("book.parquet", "column 'n' is int64, not a string", column="n")
    data = Path("book.parquet").read_bytes()
    for name, content in {
        "cut": data[:-9],
        "other": b"text",
        "empty": b"",
        "middle": data[:6] + b"\xff" * 20 + data[26:],
    }.items():
        Path(f"{name}.parquet").write_bytes(content)
        refuses(f"{name}.parquet", f"{name}.parquet", "as a .parquet file", column="body")
    write_parquet("none.parquet", text=[None, ""])
    refuses("none.parquet", "none.parquet is empty")
    monkeypatch.setattr(readers, "LONGEST_RECORD_BYTES", 5)
    write_parquet("long.parquet", text=["12345", "123456"])
    refuses("long.parquet", "long.parquet, row 2: longer than 5 characters")


# Missing libraries


@pytest.mark.parametrize(("name", "module"), [("book.txt.zst", "zstandard"), ("book.parquet", "pyarrow.parquet")])
def test_a_library_that_is_not_installed(monkeypatch, name, module):
    Path(name).write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, module, None)
    refuses(name, f"{name} is a ", f"{module.partition('.')[0]} is not installed: pip install 'nanogpt[data]'")


# What can be read once


def test_a_spool_can_be_read_again_and_has_no_name():
    spool = Spool(iter([b"one ", b"two"]))
    first, second = spool.open(), spool.open()
    assert first.read(2) == b"on"
    assert second.read() == b"one two"
    assert first.read() == b"e two"
    assert not list(cache_folder().iterdir()) or os.name != "posix"


def test_a_full_disk_names_the_folder(monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: Full())
    with pytest.raises(OSError, match="No space left on device") as caught:
        Spool(iter([b"one"]))
    assert caught.value.filename == str(cache_folder())


def test_a_file_that_may_not_be_read(monkeypatch):
    Path("book.txt").write_text("text")

    def denied(self, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    refuses("book.txt", "cannot read 'book.txt': Permission denied; check its permissions")


def test_records_without_text_are_left_out_and_counted():
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = ["one", None, "", "two"]
    Path("book.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    parquet.write_table(pyarrow.table({"text": texts}), "book.parquet")
    for name in ("book.jsonl", "book.parquet"):
        corpus = load_corpus(name)
        assert corpus.documents == ("one", "two")
        assert any(note.startswith("left out 2 record(s) without text in ") and name in note for note in corpus.notes)
