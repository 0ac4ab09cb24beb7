import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard
from tiny import SMALL_RUN, write_text

from nanogpt.config import flag
from nanogpt.files import cache_folder
from nanogpt.runs.run import load

FLAGS = [word for name, value in SMALL_RUN.items() for word in (flag(name), str(value))]
TRAIN = ["train", "--steps", 1, *FLAGS]


def cached():
    return [path for path in cache_folder().rglob("*") if path.is_file()]


@pytest.fixture
def texts(monkeypatch, tmp_path_factory):
    """One text, three documents of 400 characters, kept in every way."""
    whole = write_text("whole.txt", 1200).read_text()
    parts = [whole[:400], whole[400:800], whole[800:]]
    Path("folder").mkdir()
    for number, part in enumerate(parts):
        Path(f"folder/{number}.md").write_text(part)
        Path(f"{number}.txt").write_text(part)
    Path("folder/other.csv").write_text("never read")
    lines = "".join(json.dumps({"body": part}) + "\n" for part in parts).encode()
    Path("t.jsonl").write_bytes(lines)
    Path("t.jsonl.gz").write_bytes(gzip.compress(lines))
    Path("t.jsonl.zst").write_bytes(zstandard.compress(lines))
    pyarrow.parquet.write_table(pyarrow.table({"body": parts}), "t.parquet")
    monkeypatch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
    Path("set").mkdir()
    Path("set/train.jsonl").write_bytes(lines)


COLUMN = ["--column", "body"]
WAYS = [["0.txt", "1.txt", "2.txt"], ["folder", "--pattern", "*.md"]]
WAYS += [[name, *COLUMN] for name in ("t.jsonl", "t.jsonl.gz", "t.jsonl.zst", "t.parquet", "hf:./set:train")]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way[0])
def test_every_way_gives_the_same_tokens_also_when_the_cache_is_gone(nanogpt, texts, monkeypatch, tmp_path, way):
    assert nanogpt(*TRAIN, *way, "--out", "run").code == 0
    first = load("run").data()
    end = load("run").tokenizer.end_of_document
    train = first.train.tolist()
    assert [i for i, token in enumerate(train) if token == end] == [0, 401, 802]
    assert load("run").tokenizer.decode([*train, *first.val]) == Path("whole.txt").read_text()
    monkeypatch.setenv("NANOGPT_CACHE", str(tmp_path / "another"))
    assert load("run").data().train.tolist() == train
    assert len(cached()) == 2


@pytest.mark.parametrize(
    ("words", "saying"),
    [
        (["folder", "--pattern", "*.rst"], ["'folder'", "'*.rst'"]),
        (["0.txt", "nowhere.txt"], ["no file or folder 'nowhere.txt'"]),
        (["t.jsonl"], ["t.jsonl, line 1 has no column 'text'", "there are 'body'"]),
        (["t.parquet"], ["t.parquet has no column 'text'", "there are 'body'"]),
        (["cut.gz"], ["cut.gz is damaged"]),
        (["cut.parquet"], ["cannot read 'cut.parquet' as a .parquet file"]),
        (["late.txt"], ["late.txt is not utf-8: byte 0xff at offset 600,000 (line 200,001)", "--encoding"]),
        (["late.jsonl"], ["late.jsonl, line 1,001 is not JSON"]),
        (["cat.png"], ["cat.png is a binary file"]),
        (["hf:./nowhere"], ["no data set 'hf:./nowhere'"]),
        (["hf:./set:test"], ["split 'test'"]),
    ],
    ids=lambda value: " ".join(value) if value[0][0] not in "n0" else "",
)
def test_what_is_wrong_and_nothing_is_left(refuses, texts, words, saying):
    Path("blank.txt").write_text(" \n")
    for name in ("t.jsonl.gz", "t.jsonl.zst", "t.parquet"):
        path = Path(name)
        Path(f"cut{path.suffix}").write_bytes(path.read_bytes()[:-9])
    Path("late.txt").write_bytes(b"ab\n" * 200_000 + b"\xff")
    Path("late.jsonl").write_text('{"text": "a"}\n' * 1000 + "oops\n")
    Path("cat.png").write_bytes(b"\x89PNG\0")
    refuses(*TRAIN, *words, saying=saying)
    assert cached() == []


READERS = [["train", "--steps", 1], ["plan"], ["info"], ["data", "check"]]


@pytest.mark.parametrize("command", READERS, ids=lambda command: command[0])
def test_what_is_no_name(refuses, command):
    """As a shell gives it: a variable that is not set, and `"$(cat book.txt)"`."""
    Path("book.txt").write_text("what lies in the folder")
    refuses(*command, "", saying=["no text was named: give a path"])
    refuses(*command, "It was a dark night.\n" * 99, saying=["no file or folder 'It was", "not the text itself"])


def open_files(pid):
    """Paths of what a process has open now; it may close some of it meanwhile."""
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            yield str(fd.readlink())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "killed"])
def test_standard_input_that_is_interrupted_leaves_nothing(process, number):
    found = process("train", "-", "--steps", "1", stdin=subprocess.PIPE)
    found.stdin.write("text " * 100_000)
    found.stdin.flush()
    until = time.monotonic() + 60
    while time.monotonic() < until and not any(str(cache_folder()) in path for path in open_files(found.pid)):
        time.sleep(0.05)
    found.send_signal(number)
    found.wait(60)
    assert found.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    assert cached() == []
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_is_read_as_a_file(nanogpt):
    os.mkfifo("pipe")
    writer = subprocess.Popen(["sh", "-c", "echo 'Größe und Süße' > pipe"])
    found = nanogpt("info", "pipe")
    writer.wait()
    assert "characters       15, 12 distinct" in found.out
