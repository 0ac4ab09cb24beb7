import csv
import gzip
import json
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from tiny import refuses

from nanogpt.files import cache_folder
from nanogpt.text import records
from nanogpt.text.corpus import load_corpus

PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}
LINES = "".join(json.dumps({"id": n, "text": f"number {n}\r\n", "other": str(n)}) + "\n" for n in range(3))


def write_parquet(name, **columns):
    pyarrow.parquet.write_table(pyarrow.table(columns), name)


def documents(source, **settings):
    return load_corpus(source, **settings).documents


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("kind", [".jsonl", ".ndjson"])
def test_json_lines(ending, kind):
    Path(f"book{kind}{ending}").write_bytes(PACK[ending](LINES.encode()))
    found = load_corpus(f"book{kind}{ending}")
    assert (found.documents, found.name) == (("number 0\n", "number 1\n", "number 2\n"), "book")
    assert documents(f"book{kind}{ending}", column="other") == ("0", "1", "2")


def test_what_json_lines_may_be():
    Path("book.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "one"}\n\n \r\n{"text": ""}\n{"text": "\\u00e9\\ud800"}')
    assert load_corpus("book.jsonl", encoding="latin-1").documents == ("one", "é\ufffd")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{text: 1}", ["line 2 is not JSON: Expecting property name"]),
        (b'{"text": "caf\xe9"}', ["line 2 is not JSON: not valid"]),
        (b"[" * 100_000, ["line 2 is not JSON"]),
        (b'["text"]', ["line 2 is not a JSON object"]),
        (b'{"body": "one", "id": 2}', ["line 2 has no column 'text'", "--column", "there are 'body', 'id'"]),
        (b'{"text": 3}', ["line 2: 'text' is int"]),
    ],
    ids=lambda value: str(value)[:20],
)
def test_json_lines_that_are_wrong(line, words):
    Path("book.jsonl").write_bytes(b'{"text": "one"}\n' + line + b"\n")
    refuses(lambda: documents("book.jsonl"), "book.jsonl, ", *words)


def test_a_line_that_is_too_long(monkeypatch):
    monkeypatch.setattr(records, "LONGEST_RECORD_BYTES", 100)
    record = json.dumps({"text": "x" * (99 - len(json.dumps({"text": ""})))}) + "\n"
    Path("book.jsonl").write_text(record * 3)
    assert len(documents("book.jsonl")) == 3
    Path("book.jsonl").write_text(record * 3 + record.replace("x", "xxx", 1))
    refuses(lambda: documents("book.jsonl"), "book.jsonl, line 4: longer than 100 bytes")


def test_parquet():
    texts = ["one\r\n", None, "two", "", "three"]
    write_parquet("book.parquet", text=texts, n=range(5), large=pyarrow.array(texts, pyarrow.large_string()))
    found = load_corpus("book.parquet")
    assert (found.documents, found.name) == (("one\n", "two", "three"), "book")
    assert documents("book.parquet", column="large") == found.documents


@pytest.mark.parametrize(
    "settings", [{}, {"use_dictionary": False}, {"compression": "zstd", "row_group_size": 700}, None], ids=str
)
def test_parquet_of_many_row_groups_and_encodings(settings):
    texts = [f"{'long ' * (n % 50)}{n}" for n in range(2000)]
    column = pyarrow.array(texts) if settings is not None else pyarrow.array(texts).dictionary_encode()
    table = pyarrow.table({"n": range(2000), "text": column})
    pyarrow.parquet.write_table(table, "book.parquet", **settings or {})
    assert documents("book.parquet") == tuple(texts)


def test_parquet_that_is_wrong(monkeypatch):
    write_parquet("book.parquet", body=["one"], n=[1])
    refuses(lambda: documents("book.parquet"), "book.parquet has no column 'text'", "'body', 'n'", "--column")
    refuses(lambda: documents("book.parquet", column="n"), "column 'n' is int64")
    data = Path("book.parquet").read_bytes()
    for content in (data[:-9], b"text", b"", data[:6] + b"\xff" * 20 + data[26:]):
        Path("bad.parquet").write_bytes(content)
        refuses(lambda: documents("bad.parquet", column="body"), "bad.parquet", "as a .parquet file")
    write_parquet("none.parquet", text=[None, ""])
    refuses(lambda: documents("none.parquet"), "none.parquet is empty")
    monkeypatch.setattr(records, "LONGEST_RECORD_BYTES", 5)
    write_parquet("long.parquet", text=["12345", "123456"])
    refuses(lambda: documents("long.parquet"), "long.parquet, row 2: longer than 5 characters")


def test_records_without_text_are_left_out_and_counted():
    texts = ["one", None, "", "two"]
    Path("book.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    write_parquet("book.parquet", text=texts)
    for name in ("book.jsonl", "book.parquet"):
        corpus = load_corpus(name)
        assert corpus.documents == ("one", "two")
        assert any("left out 2 records" in note and name in note for note in corpus.notes)


@pytest.mark.parametrize(
    ("source", "module", "extra"),
    [
        ("book.txt.zst", "pyarrow", "data"),
        ("book.parquet", "pyarrow.parquet", "data"),
        ("hf:owner/name", "datasets", "hf"),
    ],
)
def test_a_missing_library(monkeypatch, source, module, extra):
    Path(source.replace("hf:owner/", "")).write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, module, None)
    library = module.partition(".")[0]
    refuses(lambda: documents(source), source, f"{library} is not installed: pip install 'nanogpt[{extra}]'")


@pytest.fixture
def data_set(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name, texts in {"train": ["one\r\n", "zwei é"], "validation": ["three"]}.items():
        path = Path("stories", f"{name}.jsonl")
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps({"text": text, "n": 3, "body": "b"}) + "\n" for text in texts))


def test_a_data_set(data_set, monkeypatch):
    assert load_corpus("hf:./stories:validation").text == "three"
    assert documents("hf:./stories", column="body") == ("b", "b")
    assert not [path for path in cache_folder().rglob("*") if path.is_file()]
    found = load_corpus("hf:./stories")
    assert found.documents == ("one\n", "zwei é")
    assert (found.name, found.source) == ("stories", f"hf:{Path('stories').absolute()}:train")
    monkeypatch.setattr(records, "read_data_set", None)  # a second download would raise
    assert found.documents == ("one\n", "zwei é")
    assert load_corpus(found.source).source == found.source


@pytest.mark.parametrize(
    ("source", "settings", "words"),
    [
        ("hf:./nowhere", {}, ["no data set 'hf:./nowhere'", "hf:owner/name:split"]),
        ("hf:", {}, ["no data set 'hf:'"]),
        ("hf:./stories:test", {}, ["split 'test'", "network"]),
        ("hf:./stories", {"column": "txt"}, ["row 1 has no column 'txt'", "there are 'text', 'n', 'body'"]),
        ("hf:./stories", {"column": "n"}, ["row 1: 'n' is int"]),
    ],
    ids=str,
)
def test_data_sets_that_are_wrong(data_set, source, settings, words):
    refuses(lambda: documents(source, **settings), *words)


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"))


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS)),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_a_table_is_read_as_it_was_written(rows, delimiter, quoting, end):
    with Path("t.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end)
        writer.writerows([("id", "text", "other"), *rows, ("1", "2", "last")])
    assert documents("t.csv", column="other") == (*(other for _, _, other in rows if other), "last")


@pytest.mark.parametrize(
    ("name", "data", "texts", "settings"),
    [
        ("t.csv", "\ufeffid,text\n1,a\n2,\n\n3\n4,\"b\r\nc\"\n", ["a", "b\nc"], {}),
        ("t.csv", "id; text ;x\n1; \"a;b\";\n", ["a;b"], {}),
        ("t.csv", "caf\xe9,text\nx,\xe9\n", ["\xe9"], {"encoding": "latin-1"}),
        ("t.csv", 'joke\nWhat, again?\n"a, ""b"""\n', ["What, again?", 'a, "b"'], {}),
        ("t.tsv", "text\nWhat, again?\n", ["What, again?"], {}),
        ("t.tsv.gz", gzip.compress(b"a,b,c\ttext\n1\tone\n", mtime=0), ["one"], {}),
        ("t.tsv", 'a\ttext\n1\t"K" is a "b\n"\t"all ""of"" it"\n2\t"x\n', ['"K" is a "b', 'all "of" it', '"x'], {}),
        ("t.csv", "a,b,,\n1,2,,\n", ["2"], {"column": "b"}),
        ("t.json", '["one\\r\\n", "", "\\ud800two"]', ["one\n", "\ufffdtwo"], {}),
        ("t.json", '\ufeff{"version": 1, "data": [{"text": "one"}, {"text": null}]}', ["one"], {}),
        ("t.json", '{"rows": ["one"]}', ["one"], {}),
        ("t.jsonl", '{"instruction": "spell", "output": "a b"}', ["a b"], {"column": "output"}),
    ],
)  # fmt: skip
def test_what_tables_and_lists_may_be(name, data, texts, settings):
    Path(name).write_bytes(data if isinstance(data, bytes) else data.encode(settings.get("encoding", "utf-8")))
    corpus = load_corpus(name, **settings)
    assert list(corpus.documents) == texts
    assert [note for note in corpus.notes if "column" in note] == ["t.csv: read its only column, 'joke'"] * (
        "joke" in str(data)
    )


CHAT = '{"messages": [{"role": "user", "content": "hi"}]}'


@pytest.mark.parametrize(
    ("name", "data", "words", "settings"),
    [
        ("t.csv", "id,body\n1,a\n", ["t.csv has no column 'text'", "there are 'id', 'body'"], {}),
        ("t.csv", "joke\na\n", ["t.csv has no column 'body'", "there are 'joke'"], {"column": "body"}),
        ("t.csv", "id,text\n1,a, b\n", ["t.csv, line 2: 3 fields in a table of 2 columns", "quotes"], {}),
        ("t.csv", 'id,text\n1,"a\n2,b\n', ["t.csv, line 3", "quotes"], {}),
        ("t.csv", 'id,text\n1,"a" b\n', ["t.csv, line 2", "quotes"], {}),
        ("t.csv", "id,text\n1," + "a" * 99 + "\n", ["t.csv, line 2: field larger than"], {}),
        ("t.csv", "a" * 70_001, ["t.csv: a line is longer than 25 characters"], {}),
        ("t.csv", "", ["t.csv is empty"], {}),
        ("t.csv", b"\xff\n", ["t.csv is not utf-8", "--encoding"], {}),
        ("t.csv", "instruction,output\na,b\n", ["t.csv holds conversations"], {}),
        ("t.json", "[1]", ["t.json is neither a list of texts nor of records", ".jsonl", "--column"], {}),
        ("t.json", '{"a": ["x"], "b": 1}', ["t.json is neither"], {}),
        ("t.json", '{"a": [{"text": "x"}], "b": []}', ["t.json is neither"], {}),
        ("t.json", '{"text": "a"}\n{"text": "b"}', ["t.json is not JSON: Extra data", "name it .jsonl"], {}),
        ("t.json", "[" * 99, ["t.json is not JSON"], {}),
        ("t.json", '[{"body": "x"}]', ["t.json has no column 'text'", "'body'"], {}),
        ("t.json", '[{"text": "x"}, {"text": 1}]', ["t.json, record 2: 'text' is int"], {}),
        ("t.json", " " * 101, ["t.json is larger than", ".jsonl"], {}),
        ("t.json", f"[{CHAT}]", ["t.json holds conversations, which cannot be trained on yet", "--column"], {}),
        ("t.json", CHAT, ["t.json holds conversations"], {}),
        ("t.jsonl", CHAT, ["t.jsonl, line 1 holds conversations"], {}),
        ("t.jsonl", CHAT, ["t.jsonl, line 1 holds conversations"], {"column": "messages"}),
        ("t.jsonl", '{"id": 1, "conversations": []}', ["t.jsonl, line 1 holds conversations"], {}),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_tables_and_lists_that_are_wrong(monkeypatch, name, data, words, settings):
    monkeypatch.setattr(records, "LONGEST_RECORD_BYTES", 100)
    Path(name).write_bytes(data if isinstance(data, bytes) else data.encode())
    refuses(lambda: documents(name, **settings), *words)


def test_a_parquet_file_is_read_where_it_must_be_unpacked_first(monkeypatch):
    write_parquet("book.parquet", text=["one", "two"])
    Path("book.parquet.gz").write_bytes(gzip.compress(Path("book.parquet").read_bytes()))
    assert documents("book.parquet.gz") == ("one", "two")
    monkeypatch.setattr(records, "LARGEST_FILE_BYTES", 101)
    refuses(lambda: documents("book.parquet.gz"), "book.parquet.gz is larger than")
    assert documents("book.parquet") == ("one", "two")
