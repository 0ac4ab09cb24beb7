"""Files are written whole or not at all."""

import os
import stat
import sys
from pathlib import Path

import pytest

from nanogpt.files import cache_folder, write_atomically


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
