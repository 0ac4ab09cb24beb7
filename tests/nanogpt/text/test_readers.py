"""Archives and folders of mixed files: what is read in which order, and what is left out, named or refused."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard
from tiny import refuses

from nanogpt.text import readers, records
from nanogpt.text.chunks import Chunk, Unreadable
from nanogpt.text.corpus import load_corpus

FILES = {
    "b/2.txt": "two",
    "b.md": "three",
    "a.csv": 'id,text\n1,"x, y"\n2,z\n',
    "c.jsonl.gz": "",
    "b/1.txt": "one\r\n",
    "b/cat.png": "\0",
    ".hidden/x.txt": "never",
    "b/.secret": "never",
    "../up.txt": "never",
    "inner.zip": "PK",
    "package.json": '{"name": "p", "files": ["x"]}',
}
READ = ("x, y", "z", "one\n", "two", "three")


def zipped(files, method=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.mkdir("empty")
        for name, text in files.items():
            archive.writestr(name, text)
    return file.getvalue()


def tarred(files):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, text in files.items():
            one = tarfile.TarInfo(name)
            one.size = len(text.encode())
            archive.addfile(one, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("a-link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return file.getvalue()


PACKED = {
    "x.zip": zipped(FILES),
    "x.ZIP.gz": gzip.compress(zipped(FILES)),
    "x.tar": tarred(FILES),
    "x.tar.gz": gzip.compress(tarred(FILES)),
    "x.tgz": gzip.compress(tarred(FILES)),
    "x.tar.zst": zstandard.compress(tarred(FILES)),
}


@pytest.mark.parametrize("name", PACKED)
def test_an_archive_is_read_as_a_folder_is(name):
    Path(name).write_bytes(PACKED[name])
    corpus = load_corpus(name)
    assert (corpus.documents, corpus.name) == (READ, "x")
    assert set(corpus.notes) == {
        "left out 1 binary file: b/cat.png",
        "left out 2 archives in an archive: c.jsonl.gz, inner.zip",
        "left out 1 JSON file without texts: package.json",
        "line ends \\r\\n are read as \\n",
    }
    assert load_corpus(name, pattern="*.txt").documents == ("one\n", "two")
    assert load_corpus(name, column="id", pattern="a*").documents == ("1", "2")
    refuses(lambda: load_corpus(name, pattern="*.rst").documents, f"{name} is empty")
    refuses(
        lambda: load_corpus(name, pattern="*.png").documents, f"no text in {name}: left out 1 binary file: b/cat.png"
    )
    assert [path.name for path in Path().rglob("*")] == [name]


def test_a_folder_may_hold_archives_and_what_is_left_out_is_named():
    Path("f").mkdir()
    for n in range(4):
        Path(f"f/{n}.bin").write_bytes(b"\0")
    Path("f/a.zip").write_bytes(zipped({"b.txt": "in an archive"}))
    Path("f/list.json").write_text('["one", "two"]')
    Path("f/other.json").write_text('[{"body": 1}]')
    corpus = load_corpus("f")
    assert corpus.documents == ("in an archive", "one", "two")
    assert corpus.notes == (
        "left out 4 binary files: 0.bin, 1.bin, 2.bin …",
        "left out 1 JSON file without a column 'text': other.json",
    )
    Path("f/bad.zip").write_bytes(b"PK")
    refuses(lambda: load_corpus("f").documents, "f/bad.zip is damaged")


def encrypted():
    data = bytearray(zipped({"a.txt": "one"}))
    data[data.rindex(b"PK\1\2") + 8] |= 1  # the flags of the last file
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("x.zip", encrypted(), ["x.zip is encrypted", "password"]),
        ("x.zip", zipped({"a.txt": "one"})[:-9], ["x.zip is damaged"]),
        ("x.zip", zipped({"a.txt": "one"}, zipfile.ZIP_LZMA), ["x.zip", "of an unknown kind: compressed by LZMA"]),
        ("x.tar", tarred({"a.txt": "one" * 999})[:700], ["x.tar", "damaged"]),
        ("x.tgz", gzip.compress(tarred({"a.txt": "one" * 999}), mtime=0)[:99], ["x.tgz is damaged"]),
        ("x.tgz", gzip.compress(b"a" * 99_991, mtime=0), ["x.tgz expands to more than 200 times its size"]),
        ("x.zip", zipped({f"{n}.txt": "a" for n in range(13)}), ["x.zip has more than 11 entries"]),
        ("x.tar", tarred({f"{n}.txt": "a" for n in range(13)}), ["x.tar has more than 11 entries"]),
        ("x.zip", zipped({"a.json": " " * 9001}), ["no text in x.zip", "1 file larger than 0 MB: a.json"]),
        ("x.zip", zipped({"b.csv": "a,b\n1,2\n"}), ["no text in x.zip", "1 table without a column 'text': b.csv"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_with_an_archive(monkeypatch, name, data, words):
    monkeypatch.setattr(readers, "MOST_FILES", 11)
    monkeypatch.setattr(readers, "LARGEST_FILE_BYTES", 1009)
    monkeypatch.setattr(records, "LONGEST_RECORD_BYTES", 9000)
    Path(name).write_bytes(data)
    refuses(lambda: load_corpus(name).documents, *words)


def test_a_file_that_turns_out_unreadable_after_its_beginning_is_an_error():
    def read():
        yield Chunk("one", True)
        raise Unreadable("x.mbox is damaged", "damaged file(s)")

    refuses(lambda: list(readers.read_files([("x.mbox", read)], "f", {})), "x.mbox is damaged")
