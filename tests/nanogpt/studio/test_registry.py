"""Only runs in the folder can be opened, and a model stays in memory as long as its file is the same."""

import shutil
import sys
import threading

import pytest
from tiny import make_run, refuses

from nanogpt.runs.checkpoint import sha256
from nanogpt.runs.run import load
from nanogpt.studio import registry as module
from nanogpt.studio.registry import RunRegistry


@pytest.fixture
def registry(tmp_path):
    for number, name in enumerate(("runs/first", "runs/second", "elsewhere/secret")):
        make_run(tmp_path / name, text="abcdefgh" + "xyz"[number])
    return RunRegistry(tmp_path / "runs")


def test_the_newest_run_comes_last(registry):
    assert set(registry.names()) == {"first", "second"}
    (registry.folder / "first" / "checkpoints" / "last").touch()
    assert registry.names() == [registry.name_of(one) for one in registry.runs()] == ["second", "first"]


def test_a_run_can_be_the_folder(registry):
    alone = RunRegistry(registry.folder / "first")
    assert alone.names() == ["first"]
    assert alone.open("first").path.resolve() == registry.folder / "first"


@pytest.mark.parametrize("name", ["../elsewhere/secret", "/etc", "", ".", "first/..", "first/../../elsewhere/secret"])
def test_no_name_leads_out(registry, name):
    refuses(lambda: registry.open(name), "no run", repr(name))
    refuses(lambda: registry.open(str(registry.folder.parent / "elsewhere" / "secret")), "no run")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_leads_nowhere(registry):
    (registry.folder / "link").symlink_to(registry.folder.parent / "elsewhere" / "secret")
    assert "link" not in registry.names()
    refuses(lambda: registry.open("link"), "no run")


def test_the_starter_is_there_only_without_runs(tmp_path, registry):
    empty = RunRegistry(tmp_path / "none")
    assert empty.names() == []
    refuses(lambda: empty.open("book"), "train one")
    assert empty.models() == ["starter"]
    run = empty.open("starter")
    assert run is empty.open("starter")
    assert empty.name_of(run) == "starter"
    [note] = empty.notes_of("starter")
    assert str(empty.folder) in note
    assert registry.models() == registry.names()
    assert registry.notes_of("first") == []


def test_models_are_cached_with_a_lock_each(registry):
    first, second = registry.open("first"), registry.open("second")
    assert registry.open("first") is registry.open("first", checkpoint=1) is first is not second
    assert registry.lock_of(first) is registry.lock_of(first) is not registry.lock_of(second)


def test_another_training_in_the_same_folder_is_another_model(registry):
    before = registry.open("first")
    hash_before = registry.hash_of(before)
    shutil.rmtree(registry.folder / "first")
    make_run(registry.folder / "first", text="abcdefgh" + "pq")
    after = registry.open("first")
    assert registry.hash_of(after) != hash_before
    assert after.tokenizer.vocab_size != before.tokenizer.vocab_size


def test_the_cache_is_bounded(registry):
    registry = RunRegistry(registry.folder, cache_bytes=1)
    first = registry.open("first")
    assert registry.open("first") is first  # the newest is kept, however large
    registry.open("second")
    assert registry.open("first") is not first


def test_the_hash_is_that_of_the_file_and_finds_it(registry):
    run = registry.open("second")
    found = registry.hash_of(run)
    assert len(found) == 12
    assert sha256(run.path / "checkpoints" / "step-1" / "model.safetensors").startswith(found)
    assert registry.find(found) == ("second", 1)
    assert registry.find("0" * 12) is registry.find("") is None


def test_while_a_model_is_read_others_can_be_used(registry, monkeypatch):
    """The page asks for hashes and locks while it draws: it would freeze until another's large model is loaded."""
    first = registry.open("first")
    reading, go_on = threading.Event(), threading.Event()

    def slow(*words, **options):
        reading.set()
        assert go_on.wait(20)
        return load(*words, **options)

    monkeypatch.setattr(module, "load", slow)
    others = [threading.Thread(target=registry.open, args=("second",), daemon=True) for _ in range(2)]
    for one in others:
        one.start()
    assert reading.wait(20)
    asking = threading.Thread(
        target=lambda: (registry.hash_of(first), registry.lock_of(first), registry.open("first")), daemon=True
    )
    asking.start()
    asking.join(10)
    waits = asking.is_alive()
    go_on.set()
    for one in others:
        one.join(20)
    assert not waits
    assert len(registry._cache) == 2  # the one that waited got the same model
