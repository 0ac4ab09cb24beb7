"""The model that comes with the package: small, whole, and as described."""

import json
import os
import shutil
from pathlib import Path

import pytest
from tiny import make_run, refuses

import nanogpt
from nanogpt.runs.checkpoint import damage
from nanogpt.runs.find import STARTER_FOLDER, is_starter, newest_or_starter
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.run import load

DATA = os.environ.get("NANOGPT_DATA")  # a test's own environment has none
RECORD = json.loads((Path(__file__).parents[3] / "benchmarks/records/starter.json").read_text())
MADE = json.loads((STARTER_FOLDER / "made.json").read_text())
FILES = [path for path in STARTER_FOLDER.rglob("*") if path.is_file()]


def test_it_is_small_whole_and_names_no_machine_s_folders():
    assert sum(path.stat().st_size for path in FILES) == RECORD["bytes"] < 4_000_000
    (step,) = RunFolder(STARTER_FOLDER).checkpoints.steps()
    assert damage(STARTER_FOLDER / "checkpoints" / f"step-{step}", STARTER_FOLDER) is None
    for path in FILES:
        assert not any(word in path.read_bytes() for word in (b"/work", b"/tmp", b"/home", b"/root")), path


def test_it_generates():
    run = nanogpt.load("starter")
    assert (run.name, run.notes) == ("starter", ())
    text = run.generate("ROMEO:", tokens=60, seed=1)
    assert text.startswith("ROMEO:")
    assert len(text) == 66
    assert run.model.parameter_count == MADE["parameters"]


def test_a_folder_of_that_name_comes_first():
    assert RunFolder.open("starter").path == STARTER_FOLDER
    assert is_starter(RunFolder("starter")) is False
    assert is_starter(RunFolder(STARTER_FOLDER))
    make_run("starter")
    assert RunFolder.open("starter").path == Path("starter")
    assert load("starter").plan.text == "a tale"


def test_commands_use_it_with_a_note_where_there_is_no_run():
    path, (note,) = newest_or_starter()
    assert path == STARTER_FOLDER
    assert all(words in note for words in ("'runs'", "starter", "nanogpt train"))
    refuses(nanogpt.load, "'runs'", "nanogpt train", "'starter'")  # the library does not
    make_run("runs/mine")
    assert newest_or_starter() == (Path("runs/mine"), ())


def test_its_figures_are_the_recorded_ones():
    (done,) = (line for line in RunFolder(STARTER_FOLDER).metrics() if line["event"] == "done")
    assert done["loss"] == MADE["eight_bits"]["loss"] == RECORD["eight_bits"]["loss"]
    assert MADE["float32"] == RECORD["float32"]
    assert MADE["eight_bits"]["protocol"].startswith("whole")
    assert MADE["eight_bits"]["loss"] - MADE["float32"]["loss"] < 0.002
    assert RECORD["sample"]["median"] < RECORD["sample"]["goal"] == 3.0
    assert RECORD["sample"]["n"] == 7
    assert MADE["commit"]
    assert MADE["hardware"]["cores"]


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="NANOGPT_DATA names no folder with shakespeare.txt")
def test_its_loss_is_the_stated_one(monkeypatch):
    monkeypatch.setenv("NANOGPT_DATA", DATA)
    result = nanogpt.load("starter").evaluate()
    assert result.loss == pytest.approx(MADE["eight_bits"]["loss"], abs=1e-4)
    assert result.tokens == MADE["eight_bits"]["tokens"]


def test_a_damaged_one_is_not_used(monkeypatch):
    shutil.copytree(STARTER_FOLDER, "copy")
    model = next(Path("copy").glob("checkpoints/*/model.safetensors"))
    model.write_bytes(model.read_bytes()[:-1])
    monkeypatch.setattr("nanogpt.runs.find.STARTER_FOLDER", Path("copy"))
    refuses(lambda: load("starter"), "damaged")
