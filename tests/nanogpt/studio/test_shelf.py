"""Only what is below the folder can be opened, and what is opened is kept as long as it is the same."""

import os
import shutil
import sys
import threading

import pytest
from tiny import make_run, refuses

from nanogpt.runs.checkpoint import sha256
from nanogpt.runs.run import load
from nanogpt.studio import shelf as module
from nanogpt.studio.shelf import Shelf


@pytest.fixture
def shelf(tmp_path):
    for number, name in enumerate(("runs/first", "runs/second", "elsewhere/secret")):
        make_run(tmp_path / name, text="abcdefgh" + "xyz"[number])
    return Shelf(tmp_path / "runs")


def test_the_newest_run_comes_last(shelf):
    assert set(shelf.names()) == {"first", "second"}
    assert shelf.names() == [shelf.name_of(one) for one in shelf.runs()]
    (shelf.folder / "first" / "checkpoints" / "last").touch()
    assert shelf.names()[-1] == "first"


def test_a_run_can_be_the_folder(shelf):
    alone = Shelf(shelf.folder / "first")
    assert alone.names() == ["first"]
    assert alone.open("first").path.resolve() == shelf.folder / "first"


@pytest.mark.parametrize("name", ["../elsewhere/secret", "/etc", "", ".", "first/..", "first/../../elsewhere/secret"])
def test_no_name_leads_out(shelf, name):
    refuses(lambda: shelf.open(name), "no run", repr(name))


def test_an_absolute_path_leads_nowhere(shelf):
    refuses(lambda: shelf.open(str(shelf.folder.parent / "elsewhere" / "secret")), "no run")


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_leads_nowhere(shelf):
    (shelf.folder / "link").symlink_to(shelf.folder.parent / "elsewhere" / "secret")
    assert "link" not in shelf.names()
    refuses(lambda: shelf.open("link"), "no run")


def test_a_missing_folder_is_empty(tmp_path):
    shelf = Shelf(tmp_path / "runs")
    assert shelf.names() == []
    refuses(lambda: shelf.open("book"), "train one")


def test_the_starter_is_there_while_nothing_else_is(tmp_path, shelf):
    empty = Shelf(tmp_path / "none")
    assert empty.models() == ["starter"]
    run = empty.open("starter")
    assert run is empty.open("starter")
    assert empty.name_of(run) == "starter"
    assert len(empty.hash_of(run)) == 12
    [note] = empty.notes_of("starter")
    assert str(empty.folder) in note
    assert "comes with Nano-GPT" in note
    assert shelf.models() == shelf.names()
    assert shelf.notes_of("first") == []


def test_a_run_called_starter_is_the_run(tmp_path):
    make_run(tmp_path / "runs" / "starter")
    shelf = Shelf(tmp_path / "runs")
    assert shelf.open("starter").plan.text == "a tale"
    assert shelf.notes_of("starter") == []


def test_a_misspelt_name_is_helped(shelf):
    refuses(lambda: shelf.open("frist"), "did you mean 'first'")


def test_models_are_kept(shelf):
    assert shelf.open("first") is shelf.open("first")
    assert shelf.open("first") is shelf.open("first", checkpoint=1)
    assert shelf.open("first") is not shelf.open("second")


def test_another_training_in_the_same_place_is_another_model(shelf):
    before = shelf.open("first")
    hash_before = shelf.hash_of(before)
    shutil.rmtree(shelf.folder / "first")
    make_run(shelf.folder / "first", text="abcdefgh" + "pq")
    after = shelf.open("first")
    assert after is not before
    assert shelf.hash_of(after) != hash_before
    assert after.tokenizer.vocab_size != before.tokenizer.vocab_size


def test_the_room_is_bounded(shelf):
    shelf = Shelf(shelf.folder, room_bytes=1)
    first = shelf.open("first")
    assert shelf.open("first") is first  # the newest is kept, however large
    shelf.open("second")
    assert shelf.open("first") is not first


def test_the_hash_is_that_of_the_file(shelf):
    run = shelf.open("first")
    file = run.path / "checkpoints" / "step-1" / "model.safetensors"
    assert sha256(file).startswith(shelf.hash_of(run))
    assert len(shelf.hash_of(run)) == 12


def test_weights_are_found_by_their_hash(shelf):
    found = shelf.hash_of(shelf.open("second"))
    assert shelf.find(found) == ("second", 1)
    assert shelf.find("0" * 12) is None
    assert shelf.find("") is None


def test_a_lock_belongs_to_a_model(shelf):
    first, second = shelf.open("first"), shelf.open("second")
    assert shelf.lock_of(first) is shelf.lock_of(first)
    assert shelf.lock_of(first) is not shelf.lock_of(second)


def test_an_unknown_step_is_told(shelf):
    refuses(lambda: shelf.open("first", checkpoint=7), "7", "best")


def test_while_a_model_is_read_others_can_be_used(shelf, monkeypatch):
    """The page asks for hashes and locks where it draws: it would stand still until another's large model is there."""
    first = shelf.open("first")
    reading, go_on = threading.Event(), threading.Event()

    def slow(*words, **options):
        reading.set()
        assert go_on.wait(20)
        return load(*words, **options)

    monkeypatch.setattr(module, "load", slow)
    others = [threading.Thread(target=shelf.open, args=("second",), daemon=True) for _ in range(2)]
    for one in others:
        one.start()
    assert reading.wait(20)
    asking = threading.Thread(
        target=lambda: (shelf.hash_of(first), shelf.lock_of(first), shelf.open("first")), daemon=True
    )
    asking.start()
    asking.join(10)
    waits = asking.is_alive()
    go_on.set()
    for one in others:
        one.join(20)
    assert not waits
    assert len(shelf._opened) == 2  # and who waited for it got the same


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_a_name_that_no_browser_can_show_is_left_out(shelf):
    """It would be in the list of every page, and none could be sent."""
    (shelf.folder / "first").rename(os.fsdecode(os.fsencode(shelf.folder) + b"/\xff"))
    assert shelf.names() == ["second"]
