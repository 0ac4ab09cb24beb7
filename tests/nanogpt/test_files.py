"""Files are written whole or not at all."""

import os
import stat
import sys
from pathlib import Path, PureWindowsPath

import pytest

from nanogpt.errors import UserError
from nanogpt.files import FORMAT, cache_folder, check_format, read_toml, typed, write_atomically


def test_writes_and_replaces():
    path = Path("deep/er/file.txt")
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(monkeypatch):
    path = Path("file.txt").absolute()
    path.write_bytes(b"old")

    def fail(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_file_is_as_readable_as_any_other_that_its_user_makes():
    write_atomically(Path("ours"), b"")
    Path("plain").write_bytes(b"")
    assert stat.filemode(Path("ours").stat().st_mode) == stat.filemode(Path("plain").stat().st_mode)


def test_the_cache_folder_can_be_named(monkeypatch):
    monkeypatch.setenv("NANOGPT_CACHE", "here")
    assert cache_folder() == Path("here")
    monkeypatch.delenv("NANOGPT_CACHE")
    assert cache_folder().name == "nanogpt" or "nanogpt" in cache_folder().parts


@pytest.mark.parametrize(
    ("path", "elsewhere", "windows"),
    [
        ("runs/book-1", "runs/book-1", "runs/book-1"),
        (PureWindowsPath("runs\\book-1"), "runs/book-1", "runs/book-1"),
        (PureWindowsPath("my runs\\1"), "'my runs/1'", '"my runs/1"'),
        ("R&D", "'R&D'", '"R&D"'),
    ],
    ids=str,
)
def test_a_path_as_it_is_typed(path, elsewhere, windows):
    """cmd.exe takes single quotes for a part of the name."""
    assert typed(path, windows=False) == elsewhere
    assert typed(path, windows=True) == windows


def test_a_toml_file_that_is_not_there_or_not_text():
    with pytest.raises(UserError, match=r"cannot read 'mine\.toml'"):
        read_toml(Path("mine.toml"))
    for content, problem in (
        (b"\xff\xfe", "not UTF-8"),
        (b"[[[", "not valid TOML"),
        (b"a=" + b"[" * 9999, "not valid"),
    ):
        Path("mine.toml").write_bytes(content)
        with pytest.raises(UserError, match=f"mine.toml is .*{problem}"):
            read_toml(Path("mine.toml"))


def test_a_newer_format_is_refused_and_this_one_is_not():
    check_format({"format": FORMAT}, "there")
    check_format({}, "there")
    for found in (FORMAT + 1, "new"):
        with pytest.raises(UserError, match="there is from a newer nanogpt"):
            check_format({"format": found}, "there")
