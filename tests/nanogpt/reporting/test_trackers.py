"""TensorBoard's files read back, and a fake wandb; neither changes or ends a training."""

import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest
from tiny import finish, metrics, outcome, raising, refuses, resume_run, start, start_run, trained, write_text

from nanogpt.reporting.events import NoteEvent, StopEvent
from nanogpt.reporting.terminal import show_training
from nanogpt.reporting.trackers import TRACKERS


def run_tracked(trainer):
    return list(show_training(trainer, quiet=True))


def read_board(run):
    """Return scalars and texts of the event files: name -> [(step, value)], without what was purged."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(run / "tensorboard"), purge_orphaned_data=True)
    board.Reload()
    scalars = {tag: [(one.step, one.value) for one in board.Scalars(tag)] for tag in board.Tags()["scalars"]}
    texts = {
        tag: [(one.step, one.tensor_proto.string_val[0].decode()) for one in board.Tensors(tag)]
        for tag in board.Tags()["tensors"]
    }
    return scalars, texts


def assert_the_board_has_the_metrics(run):
    scalars, texts = read_board(run)
    lines = metrics(run)
    for tag, event, key in (
        ("loss/training", "step", "loss"),
        ("learning_rate", "step", "learning_rate"),
        ("loss/validation", "eval", "loss"),
        ("bits_per_byte", "eval", "bits_per_byte"),
        ("loss/best", "done", "loss"),
        ("bits_per_byte/best", "done", "bits_per_byte"),
    ):
        expected = [(line["step"], line[key]) for line in lines if line["event"] == event]
        assert [step for step, _ in scalars[tag]] == [step for step, _ in expected]
        assert [value for _, value in scalars[tag]] == pytest.approx([value for _, value in expected], rel=1e-6)
    assert len(scalars["tokens_per_second"]) == len(scalars["loss/training"])
    return texts


SETTINGS = {"track": ("tensorboard",), "log_every": 2}


def test_tensorboard_has_what_the_metrics_have():
    trainer = start("run", **SETTINGS)
    events = run_tracked(trainer)
    texts = assert_the_board_has_the_metrics(trainer.folder.path)
    assert [step for step, _ in texts["sample/text_summary"]] == [0, 4, 8]
    samples = [event.text for event in events if type(event).__name__ == "SampleEvent"]
    assert [text for _, text in texts["sample/text_summary"]] == [
        "".join(f"    {line}\n" for line in sample.splitlines()) for sample in samples
    ]
    assert "    n_layer = 2\n" in texts["settings/text_summary"][0][1]


def test_a_killed_and_resumed_run_continues_the_same_log():
    # Killed after step 6, the last checkpoint being that of step 4: step 6 is logged a second time.
    trainer = start("run", **SETTINGS)
    for event in (events := show_training(trainer, quiet=True)):
        if event.step == 6:
            break
    events.close()
    run_tracked(resume_run("run"))
    assert_the_board_has_the_metrics(trainer.folder.path)
    assert outcome(trainer.folder.path) == outcome(trained("plain", log_every=2))  # tracking changes nothing


class FakeRun:
    def __init__(self):
        self.logged, self.finished, self.defined = [], 0, []

    def define_metric(self, *names, **how):
        self.defined.append((names, how))

    def log(self, values):
        self.logged.append(values)

    def finish(self):
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch):
    module = ModuleType("wandb")
    module.__spec__ = ModuleSpec("wandb", None)
    module.runs, module.asked, module.closed = [], [], 0

    def init(**how):
        module.asked.append(how | {"cache": os.environ["WANDB_CACHE_DIR"]})
        module.runs.append(FakeRun())
        return module.runs[-1]

    def teardown():
        module.closed += 1

    module.init, module.teardown, module.Settings = init, teardown, lambda **how: how
    monkeypatch.setitem(sys.modules, "wandb", module)
    for name in ("WANDB_CACHE_DIR", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    return module


def test_wandb_has_what_the_metrics_have(wandb):
    trainer = start("run", track=("wandb",), log_every=2)
    run_tracked(trainer)
    (run,), (asked,) = wandb.runs, wandb.asked
    lines = metrics(trainer.folder.path)
    for name, event in (("loss/training", "step"), ("loss/validation", "eval"), ("loss/best", "done")):
        expected = [(line["step"], line["loss"]) for line in lines if line["event"] == event]
        assert [(values["step"], values[name]) for values in run.logged if name in values] == expected
    assert sum("sample" in values for values in run.logged) == 3
    assert run.defined == [(("*",), {"step_metric": "step"})]
    assert (run.finished, wandb.closed) == (1, 1)
    assert (asked["project"], asked["name"], asked["dir"], asked["resume"]) == ("nanogpt", "run", "run", "allow")
    assert asked["config"]["n_layer"] == 2
    assert asked["settings"] == {"console": "off"}
    assert asked["id"] == (trainer.folder.path / "wandb" / "id").read_text().strip()


def test_wandb_writes_inside_the_run_and_leaves_the_environment_alone(wandb, monkeypatch):
    trainer = start("run", track=("wandb",), steps=1)
    before = dict(os.environ)
    run_tracked(trainer)
    assert wandb.asked[0]["cache"] == str((trainer.folder.path / "wandb" / "cache").resolve())
    assert dict(os.environ) == before
    monkeypatch.setenv("WANDB_CACHE_DIR", "mine")
    monkeypatch.setenv("WANDB_PROJECT", "cats")
    run_tracked(start("other", track=("wandb",), steps=1))
    assert (wandb.asked[1]["cache"], wandb.asked[1]["project"]) == ("mine", "cats")


@pytest.mark.parametrize("where", ["init", "log", "finish"])
def test_a_tracker_that_fails_is_reported_once(wandb, monkeypatch, where):
    monkeypatch.setattr(wandb if where == "init" else FakeRun, where, raising(ConnectionError("no route to host")))
    trainer = start("run", track=("wandb", "tensorboard"), log_every=2)
    events = run_tracked(trainer)
    notes = [event.text for event in events if isinstance(event, NoteEvent) and "wandb" in event.text]
    assert len(notes) == 1
    assert "ConnectionError: no route to host" in notes[0]
    assert_the_board_has_the_metrics(trainer.folder.path)


def test_a_run_keeps_its_id_and_is_closed_however_it_ends(wandb, monkeypatch):
    assert isinstance(run_tracked(start("run", stop_at=3, track=("wandb",)))[-1], StopEvent)
    events = show_training(resume_run("run"), quiet=True)
    next(events)
    events.close()
    trainer = resume_run("run")
    monkeypatch.setattr("nanogpt.training.trainer.TrainStep.__call__", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run_tracked(trainer)
    assert [run.finished for run in wandb.runs] == [1, 1, 1]
    assert len({asked["id"] for asked in wandb.asked}) == 1


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_is_reported_before_anything_is_written(monkeypatch, name):
    write_text()
    finish(start("old", stop_at=3))
    config = Path("old/config.toml")
    config.write_text(config.read_text().replace("track = []", f'track = ["{name}"]'))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refuses(lambda: start_run("tale.txt", steps=1, out="run", track=(name,)), "nanogpt[track]", f"--track {name}")
    assert not Path("run").exists()
    refuses(lambda: resume_run("old"), "config.toml")
