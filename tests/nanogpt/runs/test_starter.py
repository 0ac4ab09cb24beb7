"""The model that comes with the package: it is there, small, whole, and what is said of it is true."""

import json
import os
import shutil
from pathlib import Path

import pytest
from nanogpt.runs.starter import PLACE, STARTER, how_it_was_made, is_starter, run_folder, told_instead
from tiny import make_run, refuses

import nanogpt
from nanogpt.runs.checkpoint import damage
from nanogpt.runs.find import RUNS, newest_or_starter
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.run import load

DATA = os.environ.get("NANOGPT_DATA")  # a test's own environment has none
RECORD = Path(__file__).parents[2] / "benchmarks" / "records" / "starter.json"
FILES = [path for path in PLACE.rglob("*") if path.is_file()]


def test_it_is_small_and_whole():
    assert sum(path.stat().st_size for path in FILES) < 4_000_000
    [step] = RunFolder(PLACE).checkpoints.steps()
    assert damage(PLACE / "checkpoints" / f"step-{step}", PLACE) is None


def test_it_writes():
    run = nanogpt.load("starter")
    assert (run.name, run.notes) == (STARTER, ())
    text = run.generate("ROMEO:", tokens=60, seed=1)
    assert text.startswith("ROMEO:")
    assert len(text) == 66
    assert run.model.parameter_count == how_it_was_made()["parameters"]


def test_a_folder_of_that_name_comes_first(tmp_path):
    assert run_folder("starter") == PLACE
    make_run("starter")
    assert run_folder("starter") == Path("starter")
    assert load("starter").plan.text == "a tale"
    assert not is_starter(Path("starter"))
    assert is_starter(PLACE)


def test_it_takes_the_place_of_a_missing_run_and_says_so():
    path, notes = newest_or_starter()
    assert path == PLACE
    assert notes == (told_instead(RUNS),)
    for part in ("no run below 'runs'", "comes with Nano-GPT", "Tiny Shakespeare", "nanogpt train book.txt"):
        assert part in notes[0]
    make_run("runs/mine")
    assert newest_or_starter() == (Path("runs/mine"), ())


def test_the_library_does_not_take_it_unasked():
    refuses(nanogpt.load, "no run below 'runs'", "nanogpt train", "'starter'")


def test_it_names_nobody_s_folders():
    for path in FILES:
        content = path.read_bytes()
        for word in (b"/work", b"/tmp", b"/home", b"/root"):
            assert word not in content, path


def test_what_is_said_of_it_is_what_was_recorded():
    made, record = how_it_was_made(), json.loads(RECORD.read_text())
    done = [line for line in RunFolder(PLACE).metrics() if line["event"] == "done"]
    assert len(done) == 1
    assert done[0]["loss"] == made["eight_bits"]["loss"] == record["eight_bits"]["loss"]
    assert made["float32"] == record["float32"]
    assert made["eight_bits"]["protocol"].startswith("whole")
    assert made["eight_bits"]["loss"] - made["float32"]["loss"] < 0.002
    assert record["sample"]["median"] < record["sample"]["goal"] == 3.0
    assert record["sample"]["n"] == 7
    assert record["bytes"] == sum(path.stat().st_size for path in FILES)
    assert made["commit"]
    assert made["hardware"]["cores"]


def test_its_command_is_the_one_of_its_settings():
    command = how_it_was_made()["trained_by"].split()
    config, plan = RunFolder(PLACE).read_config(), RunFolder(PLACE).read_plan()
    asked = dict(zip(command[3::2], command[4::2]))
    assert command[:3] == ["nanogpt", "train", plan.text]
    assert int(asked.pop("--steps")) == plan.total_steps
    del asked["--out"]
    for flag, value in asked.items():
        name = flag[2:].replace("-", "_")
        assert value == str(getattr(config.model, name, getattr(config.train, name, None))), flag


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="NANOGPT_DATA names no folder with shakespeare.txt")
def test_its_loss_is_the_stated_one(monkeypatch):
    monkeypatch.setenv("NANOGPT_DATA", DATA)
    found, stated = nanogpt.load("starter").evaluate(), how_it_was_made()["eight_bits"]
    assert found.loss == pytest.approx(stated["loss"], abs=1e-4)
    assert found.tokens == stated["tokens"]


def test_a_damaged_one_is_told(tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(PLACE, copy)
    model = next(copy.glob("checkpoints/*/model.safetensors"))
    model.write_bytes(model.read_bytes()[:-1])
    monkeypatch.setattr("nanogpt.runs.starter.PLACE", copy)
    refuses(lambda: load("starter"), "damaged")
