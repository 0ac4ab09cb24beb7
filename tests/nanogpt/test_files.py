"""Files are written whole or not at all."""

import os
import stat
import sys
from pathlib import Path

import pytest
from tiny import raising, refuses

from nanogpt.files import FORMAT, atomic_path, cache_folder, check_format, read_toml, write_atomically


def test_a_file_is_written_and_replaced():
    path = Path("deep/er/file.txt")
    for content in (b"one", b"two"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_process_of_the_same_number_left_is_replaced():
    Path(f".file.txt.{os.getpid()}").mkdir()
    write_atomically(Path("file.txt"), b"new")
    assert [path.name for path in Path().iterdir()] == ["file.txt"]
    assert Path("file.txt").read_bytes() == b"new"


def test_a_failed_write_leaves_the_old_file_alone(monkeypatch):
    path = Path("file.txt").absolute()
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", raising(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_replaced_by_a_folder_only():
    for name in ("one", "two"):
        with atomic_path(Path("folder")) as temporary:
            (temporary / name).mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        write_atomically(Path("folder"), b"three")
    assert [*Path().iterdir(), *Path("folder").iterdir()] == [Path("folder"), Path("folder/two")]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_file_has_the_usual_permissions():
    write_atomically(Path("ours"), b"")
    Path("plain").write_bytes(b"")
    assert stat.filemode(Path("ours").stat().st_mode) == stat.filemode(Path("plain").stat().st_mode)


def test_the_cache_folder_can_be_named(monkeypatch):
    monkeypatch.setenv("NANOGPT_CACHE", "here")
    assert cache_folder() == Path("here")
    monkeypatch.delenv("NANOGPT_CACHE")
    assert "nanogpt" in cache_folder().parts


@pytest.mark.parametrize(
    "content", [None, b"\xff\xfe", b"[[[", b"a=" + b"[" * 9999], ids=["none", "bytes", "bad", "deep"]
)
def test_a_file_that_is_not_toml(content):
    if content is not None:
        Path("mine.toml").write_bytes(content)
    refuses(lambda: read_toml(Path("mine.toml")), "mine.toml")


def test_a_newer_format_is_refused():
    check_format({"format": FORMAT}, "there")
    check_format({}, "there")
    for found in (FORMAT + 1, "new"):
        refuses(lambda found=found: check_format({"format": found}, "there"), "there", "newer nanogpt")
