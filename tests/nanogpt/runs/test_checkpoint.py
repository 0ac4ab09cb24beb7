"""A checkpoint is whole at every moment, and one that is not is never believed."""

import json
import os
import resource
import shutil
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from nanogpt.training.launch import resume_run
from safetensors import SafetensorError
from safetensors.torch import load_file
from tiny import add_up, finish, flip_a_bit, outcome, refuses, start, trained, weights

from nanogpt.files import FORMAT
from nanogpt.reporting.events import NoteEvent
from nanogpt.runs import checkpoint
from nanogpt.runs.checkpoint import Checkpoints, State, is_in_history, read_state
from nanogpt.runs.run import load
from nanogpt.training import trainer as training


@pytest.fixture
def run(finished_run):
    """A finished run of one's own to damage."""
    return Path(shutil.copytree(finished_run, "run"))


# What is there


def save(checkpoints, step, best_step=0):
    tensors = {"weight": torch.full((3, 5), float(step))}
    return checkpoints.save(State(step=step, best_step=best_step, best_loss=1.0), tensors, tensors)


@pytest.fixture
def checkpoints():
    """Of steps 3, 5 and 11, the first of them the best."""
    Path("some").mkdir()
    made = Checkpoints(Path("some"))
    for step in (0, 3, 5, 11):
        save(made, step, min(step, 3))
    return made


def test_the_best_the_last_and_the_one_before_are_kept(checkpoints):
    assert checkpoints.steps() == [3, 5, 11]
    assert {path.name for path in Path("some/checkpoints").iterdir() if path.is_file()} == {"best", "last"}
    assert (checkpoints.find("best").path.name, checkpoints.find("last").path.name) == ("step-3", "step-11")
    assert (checkpoints.pointer("best"), checkpoints.pointer("last")) == (3, 11)
    assert checkpoints.find().state == State(step=11, best_step=3, best_loss=1.0)
    assert checkpoints.find().notes == ()


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_the_hashes_are_those_of_sha256sum(checkpoints):
    done = subprocess.run(
        ["sha256sum", "--check", "SHA256SUMS"],
        cwd="some/checkpoints/step-11",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count(": OK") == 3


def test_no_checkpoint_is_none():
    Path("some").mkdir()
    assert Checkpoints(Path("some")).find() is None
    assert Checkpoints(Path("some")).history() == {}


def test_the_state_comes_back():
    state = State(step=7, best_step=5, best_loss=1.25, stale=2, seconds=3.5, pending=(1.5, 0.1))
    Path("state.json").write_text(json.dumps({"format": FORMAT, **asdict(state)}))
    assert read_state(Path()) == state


# Whole at every moment


@pytest.mark.parametrize("name", [".step-8.123", "this process'"])
def test_what_a_killed_run_left_behind_does_no_harm(name):
    whole = trained("whole")
    finish(start("killed", stop_at=3))
    left = Path("killed/checkpoints", f".step-8.{os.getpid()}" if name == "this process'" else name)
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    Path("killed/checkpoints/step-7").mkdir()  # renamed, but no pointer names it yet
    with Path("killed/metrics.jsonl").open("a") as file:
        file.write('{"event": "step", "ste')
    finish(resume_run("killed"))
    assert outcome(Path("killed")) == outcome(whole)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("moment", ["save_file", "sha256", "flush", "flush_folder", "last", "best"])
@pytest.mark.parametrize("step", [0, 4, 8])
def test_killed_while_saving(monkeypatch, moment, step):
    whole = trained("whole")
    trainer = start("killed")
    original = checkpoint.write_atomically

    def kill(*args, **kwargs):
        raise Killed

    def kill_pointer(path, data):
        if path.name == moment and trainer.state.step == step:
            raise Killed
        original(path, data)

    def train(patch):
        for _ in trainer.events():
            if moment not in ("last", "best") and trainer.state.step == step:
                patch.setattr(checkpoint, moment, kill)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_atomically", kill_pointer)
        with pytest.raises(Killed):
            train(patch)
    finish(resume_run("killed"))
    assert outcome(Path("killed")) == outcome(whole)
    assert load("killed").evaluate() == load("whole").evaluate()


# What is damaged is told, and the one before is used


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "SHA256SUMS"])
@pytest.mark.parametrize("harm", ["one bit", "cut", "empty", "gone", "link"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(checkpoints, name, harm):
    path = Path("some/checkpoints/step-11") / name
    content = path.read_bytes()
    changed = {"one bit": content[:-3] + bytes([content[-3] ^ 1]) + content[-2:], "cut": content[:-20], "empty": b""}
    path.unlink()
    if harm == "link":
        Path("elsewhere").write_bytes(content)
        path.symlink_to(Path("elsewhere").absolute())
    elif harm != "gone":
        path.write_bytes(changed[harm])
    found = checkpoints.find("last")
    assert found.state.step == 5
    damaged, used = found.notes
    assert "step-11" in damaged
    assert used == "the checkpoint of step 5 is used instead"
    if name != "SHA256SUMS" and harm in ("one bit", "cut", "empty"):
        assert name in damaged
        assert harm != "one bit" or "SHA-256 is" in damaged
    assert checkpoints.find("best").state.step == 3
    assert checkpoints.find("best").notes == ()


def test_a_damaged_best_gives_the_newest_whole_one(checkpoints):
    Path("some/checkpoints/step-3/model.safetensors").write_bytes(b"")
    found = checkpoints.find("best")
    assert (found.state.step, len(found.notes)) == (11, 2)


def test_where_none_is_whole_nothing_is_used(checkpoints):
    for step in (3, 5, 11):
        Path(f"some/checkpoints/step-{step}/state.json").unlink()
    message = refuses(checkpoints.find, "no checkpoint here is whole", "restore")
    assert all(f"step-{step}" in message for step in (3, 5, 11))


@pytest.mark.parametrize("name", ["step-99", "../../elsewhere", "step-11/../step-11", "", "step-", "step-²", "\0"])
def test_a_pointer_to_something_else_is_not_followed(checkpoints, name):
    Path("elsewhere").mkdir()
    Path("some/checkpoints/last").write_text(name + "\n")
    assert checkpoints.pointer("last") is None
    assert checkpoints.find("last").state.step == 11


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"step": 3}', "3", '{"pending": 5}', "[" * 10_000, '{"step": "x", "pending": []}']
)
def test_a_damaged_state_whose_hash_is_right(checkpoints, content):
    path = checkpoints.find().path
    (path / "state.json").write_text(content)
    add_up(path)
    refuses(checkpoints.find, "state.json", "damaged", "restore")


def test_a_state_with_words_for_numbers(checkpoints):
    path = checkpoints.find().path
    tables = json.loads((path / "state.json").read_text())
    for change in ({"step": "3"}, {"step": None}, {"pending": ["x"]}, {"best_loss": [1]}):
        (path / "state.json").write_text(json.dumps(tables | change))
        add_up(path)
        refuses(checkpoints.find, "state.json", "damaged")


def notes_of(events):
    return [event.text for event in events if isinstance(event, NoteEvent)]


def test_a_run_goes_on_from_the_one_before_and_ends_the_same():
    """The damage costs time only: what was trained since the checkpoint before is trained again."""
    settings = {"steps": 17, "eval_every": 3, "dropout": 0.1}
    whole = trained("whole", **settings)
    finish(start("run", stop_at=11, **settings))
    flip_a_bit(Path("run/checkpoints/step-11/model.safetensors"))
    notes = notes_of(finish(resume_run("run")))
    assert "step-11/model.safetensors is damaged" in notes[0]
    assert "step 9 is used instead" in notes[1]
    assert outcome(Path("run")) == outcome(whole)


def test_a_damaged_best_is_told_at_the_end(monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 2.0])  # the second evaluation, at step 3, is the best
    real = training.evaluate
    monkeypatch.setattr(training, "evaluate", lambda *args: replace(real(*args), loss=next(losses, 5.0)))
    trainer = start("run", steps=9, eval_every=3)
    events = []
    for event in trainer.events():
        events.append(event)
        if event.step == 6:
            Path("run/checkpoints/step-3/model.safetensors").write_bytes(b"")
    assert any("step-3/model.safetensors is damaged" in note for note in notes_of(events))
    assert (events[-1].best_step, events[-1].evaluation.loss) == (9, 5.0)


def test_opening_tells_what_is_damaged():
    path = trained("run")
    best = Checkpoints(path).find("best").path
    (best / "model.safetensors").write_bytes(b"weights")
    run = load("run")
    assert run.step != int(best.name[5:])
    assert f"{best.name}/model.safetensors is damaged" in run.notes[0]


# Writes that fail leave what was


MOMENTS = ["save_file", "sha256", "flush", "flush_folder", "write_atomically"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), OSError(5, "Input/output error"), SafetensorError("I/O error: disk")],
)
def test_a_failing_write_is_told_and_the_last_checkpoint_stands(monkeypatch, checkpoints, moment, error):
    before = {path: path.read_bytes() for path in Path("some").rglob("*") if path.is_file()}

    def fail(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, moment, fail)
        refuses(
            lambda: save(checkpoints, 13, 13),
            "cannot write the checkpoint of step 13 in 'some'",
            str(error.args[-1]),
            "nanogpt train --resume some",
        )
    assert all(path.read_bytes() == content for path, content in before.items())
    assert [path for path in Path("some").rglob(".*") if path.is_dir()] == []
    assert checkpoints.find("last").state.step == 11
    save(checkpoints, 13, 13)
    assert checkpoints.find("last").state.step == checkpoints.find("best").state.step == 13


def test_a_failing_rename(monkeypatch, checkpoints):
    def fail(self, target):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        refuses(lambda: save(checkpoints, 13), "cannot write", "Read-only file system")
    assert checkpoints.find("last").state.step == 11
    assert list(Path("some").rglob(".*")) == []


def test_a_full_disk_in_the_middle_of_a_run(monkeypatch):
    trainer = start("run", eval_every=2)

    def full(*args):
        raise OSError(28, "No space left on device")

    def train(patch):
        for _ in trainer.events():
            if trainer.state.step == 2:
                patch.setattr(checkpoint, "save_file", full)

    with monkeypatch.context() as patch:
        refuses(lambda: train(patch), "No space left on device", "--resume run")
    assert load("run", checkpoint="last").step in (0, 2)
    finish(resume_run("run"))
    assert weights(Path("run")) == weights(trained("whole", eval_every=2))


def test_a_limit_on_the_size_of_files(checkpoints):
    """The system's own refusal, not one of ours: a signal that Python turns into an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = {"weight": torch.zeros(100_000)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        refuses(lambda: checkpoints.save(State(step=13), big, big), "cannot write the checkpoint of step 13", "large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoints.find("last").state.step == 11
    assert list(Path("some").rglob(".*")) == []


def test_a_folder_that_is_gone_is_told_with_what_to_do(checkpoints):
    Path("some").rename("other")
    refuses(lambda: save(checkpoints, 13), "'some' is gone", "put it back", "nanogpt train --resume some")
    assert not Path("some").exists()


# Looking back


def test_steps_of_the_history():
    assert [step for step in range(70) if is_in_history(step)] == [0, 1, 2, 4, 8, 16, 32, 64]


def test_the_history_of_a_run_holds_the_weights_as_they_were():
    run, other = trained("run", steps=9, eval_every=1), trained("other", steps=4, eval_every=1)
    assert list(Checkpoints(run).history()) == [0, 1, 2, 4, 8, 9]
    early = load(run, checkpoint=2)
    assert (early.step, early.notes) == (2, ())
    assert load(run, checkpoint="step-2").step == 2
    replay = load_file(Path("other/history/step-2.safetensors"))
    del other
    # A shorter run has another schedule, but its first weights are the same.
    first = load_file(run / "history/step-0.safetensors")
    assert all(
        torch.equal(first[name], tensor) for name, tensor in load_file("other/history/step-0.safetensors").items()
    )
    assert not torch.equal(first["lm_head.weight"], replay["lm_head.weight"])
    own = dict(early.model.named_parameters())
    assert all(torch.equal(own[name], tensor) for name, tensor in load_file(run / "history/step-2.safetensors").items())


def test_no_history_where_none_is_wanted():
    run = trained("run", history="off")
    assert not (run / "history").exists()
    refuses(lambda: load(run, checkpoint=2), "no weights of '2'", "choose one of best, last,")


@pytest.mark.parametrize("which", ["worst", "-1", "1.5", "3", "step-3"])
def test_a_step_that_was_not_kept_is_named(which):
    refuses(lambda: load(trained("run"), checkpoint=which), repr(which.removeprefix("step-")), "best, last, 0, 1, 2, 4")


def test_the_history_changes_no_weight():
    assert weights(trained("with")) == weights(trained("without", history="off"))


# Nothing yet


def test_no_checkpoint_yet():
    start("young")
    refuses(lambda: load("young"), "'young' has no checkpoint yet", "--resume young")
