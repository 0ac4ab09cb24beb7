"""A checkpoint is whole at every moment, and a damaged one is never used."""

import json
import resource
import shutil
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tiny import (
    add_up,
    finish,
    flip_a_bit,
    of_kind,
    outcome,
    raising,
    refuses,
    resume_run,
    start,
    trained,
    weights,
    whole,
)

from nanogpt import files
from nanogpt.files import FORMAT
from nanogpt.reporting.events import NoteEvent
from nanogpt.runs import checkpoint
from nanogpt.runs.checkpoint import SUMS, Checkpoints, State
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.plan import Plan
from nanogpt.runs.run import load
from nanogpt.training import trainer as training

SOME = Path("some/checkpoints")


def save(checkpoints, step, best_step=3):
    tensors = {"weight": torch.full((3, 5), float(step))}
    state = State(step=step, best_step=best_step, best_loss=1.25, stale=2, seconds=3.5, pending=(1.5, 0.1))
    assert checkpoints.save(state, tensors, tensors) == SOME / f"step-{step}"
    return state


@pytest.fixture
def checkpoints():
    """Return the checkpoints of a run at steps 3, 5 and 11, the first of them the best."""
    Path("some").mkdir()
    made = Checkpoints(Path("some"))
    assert (made.find(), made.pointer("last"), made.steps(), made.history()) == (None, None, [], {})
    for step in (0, 3, 5, 11):
        save(made, step, min(step, 3))
    return made


def contents(folder):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_the_best_the_last_and_the_one_before_are_kept(checkpoints):
    assert checkpoints.steps() == [3, 5, 11]
    assert sorted(path.name for path in SOME.iterdir()) == ["best", "last", "step-11", "step-3", "step-5"]
    assert [(SOME / which).read_text() for which in ("best", "last")] == ["step-3\n", "step-11\n"]
    assert (checkpoints.pointer("best"), checkpoints.pointer("last")) == (3, 11)
    best, last = checkpoints.find("best"), checkpoints.find()
    assert (best.path, last.path, best.notes, last.notes) == (SOME / "step-3", SOME / "step-11", (), ())
    assert last.state == State(step=11, best_step=3, best_loss=1.25, stale=2, seconds=3.5, pending=(1.5, 0.1))
    for name in ("model.safetensors", "optimizer.safetensors"):
        assert load_file(last.path / name)["weight"].unique().tolist() == [11]
    assert json.loads((last.path / "state.json").read_text()) == {"format": FORMAT, **asdict(last.state), "pending": [1.5, 0.1]}  # fmt: skip


def test_after_a_return_to_an_earlier_step_the_later_checkpoints_go(checkpoints):
    save(checkpoints, 7)
    assert checkpoints.steps() == [3, 5, 7]
    save(checkpoints, 7, best_step=7)
    assert checkpoints.steps() == [5, 7]
    assert (checkpoints.pointer("best"), checkpoints.pointer("last")) == (7, 7)
    checkpoints.point_to_best(State(step=7, best_step=5))
    checkpoints.point_to_best(State(step=7, best_step=99))  # not here: nothing changes
    assert checkpoints.pointer("best") == 5


def test_only_folders_with_a_step_s_name_are_checkpoints(checkpoints):
    for name in ("step-x", "step-", "step-²", "step-1" + 18 * "0", "step-1" + 19 * "0", "step-1" + 29 * "0", "other-7"):
        (SOME / name).mkdir()
    (SOME / "step-7").write_text("a file")
    Path("some/history").mkdir()
    for name in ("step-2", "step-x", "step-5"):
        Path(f"some/history/{name}.safetensors").touch()
    assert checkpoints.steps() == [3, 5, 11, 10**18]
    shutil.rmtree(SOME / ("step-1" + 18 * "0"))
    history = checkpoints.history()
    assert list(history) == [2, 3, 5, 11]
    assert history[5] == SOME / "step-5/model.safetensors"
    assert history[2] == Path("some/history/step-2.safetensors")


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum here")
def test_the_hashes_are_those_of_sha256sum(checkpoints):
    command = ["sha256sum", "--check", "--strict", SUMS]
    done = subprocess.run(command, cwd=SOME / "step-11", capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK") == 3


# Kills


def test_what_a_killed_process_left_half_written_is_deleted(checkpoints):
    Path("some/history").mkdir()
    Path("elsewhere").mkdir()
    before = contents("some")
    for folder in (Path("some"), SOME, Path("some/history")):
        (folder / ".step-8.123").mkdir()
        (folder / ".step-8.123/model.safetensors").write_bytes(b"half")
        (folder / ".last.77").write_bytes(b"half")
        (folder / ".step-9.5").symlink_to(Path("elsewhere").absolute())
    with RunFolder("some").locked():
        assert contents("some") == before | {Path("some/.lock"): b""}
    assert list(Path("some").rglob(".*")) == [Path("some/.lock")]
    assert Path("elsewhere").is_dir()


class Killed(BaseException):
    """The process ends here."""


def break_write(patch, moment, fail):
    if moment.startswith("flush"):
        flush, breaks = files.flush, Path.is_dir if moment == "flush_folder" else Path.is_file
        patch.setattr(files, "flush", lambda path: fail() if breaks(path) else flush(path))
    else:
        patch.setattr(Path if moment == "replace" else checkpoint, moment, fail)


@pytest.mark.parametrize("moment", ["save_file", "sha256", "flush_file", "flush_folder", "last", "best"])
@pytest.mark.parametrize("step", [0, 4, 8])
def test_killed_while_saving(monkeypatch, moment, step):
    if (moment, step) == ("best", 0):
        pytest.skip("an untrained model is never the best")
    expected, trainer = whole(), start("killed")
    original = checkpoint.write_atomically

    def kill_pointer(path, data):
        if path.name == moment and trainer.state.step == step:
            raise Killed
        original(path, data)

    def train(patch):
        for _ in trainer.events():
            if moment not in ("last", "best") and trainer.state.step == step:
                break_write(patch, moment, raising(Killed()))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_atomically", kill_pointer)
        with pytest.raises(Killed):
            train(patch)
    finish(resume_run("killed"))
    assert outcome(Path("killed")) == expected


# Damage


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", SUMS])
@pytest.mark.parametrize("harm", ["one bit", "cut", "empty", "gone", "link"])
def test_the_checkpoint_before_a_damaged_one_is_used(checkpoints, name, harm):
    path = SOME / "step-11" / name
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
    assert "step 5" in used
    if name != SUMS and harm in ("one bit", "cut", "empty"):
        assert name in damaged
    assert (checkpoints.find("best").state.step, checkpoints.find("best").notes) == (3, ())


@pytest.mark.parametrize("line", [None, "a state.json extra\n", "step\n"])
def test_both_hashes_are_reported_by_twelve_digits(checkpoints, line):
    path = SOME / "step-11"
    recorded, found = checkpoint.sha256(path / "state.json"), checkpoint.sha256(SOME / "step-5/state.json")
    shutil.copy(SOME / "step-5/state.json", path)
    if line is not None:  # a line that is no hash
        (path / SUMS).write_text((path / SUMS).read_text().replace(f"{recorded}  state.json\n", line))
    wanted = recorded[:12] if line is None else "nothing"
    assert f" {found[:12]}…, and {SUMS} says {wanted}…" in checkpoint.damage(path, Path("some"))


def test_a_file_that_cannot_be_read_is_damage(checkpoints, monkeypatch):
    monkeypatch.setattr(checkpoint, "sha256", raising(OSError(5, "Input/output error")))
    found = checkpoint.damage(SOME / "step-11", Path("some"))
    assert found == "cannot read some/checkpoints/step-11: Input/output error"


def test_instead_of_a_damaged_best_one_the_newest_whole_one_is_used(checkpoints):
    (SOME / "step-3/model.safetensors").write_bytes(b"")
    found = checkpoints.find("best")
    assert (found.state.step, len(found.notes)) == (11, 2)
    for step in (3, 5, 11):
        (SOME / f"step-{step}/state.json").unlink()
    message = refuses(checkpoints.find, "no checkpoint here is whole")
    assert all(message.count(f"step-{step}/") == 1 for step in (3, 5, 11))


@pytest.mark.parametrize("name", ["step-99", "../../elsewhere", "step-11/../step-11", "", "step-", "step-²", "\0"])
def test_a_pointer_to_something_else_is_not_followed(checkpoints, name):
    Path("elsewhere").mkdir()
    (SOME / "last").write_text(name + "\n")
    assert checkpoints.pointer("last") is None
    assert checkpoints.find("last").state.step == 11


WRONG = [*({name: value} for name in ("step", "stale", "seconds") for value in (None, "3")), {"best_loss": [1]}]
WRONG += [{"best_step": "3"}, {"pending": ["x"]}, {"pending": 5}, {"pending": None}]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"step": 3}', "3", "[" * 10_000, *WRONG], ids=repr)
def test_a_damaged_state_with_a_right_hash(checkpoints, content):
    path = SOME / "step-11/state.json"
    if isinstance(content, dict):
        content = json.dumps(json.loads(path.read_text()) | content)
    path.write_text(content)
    add_up(path.parent)
    refuses(checkpoints.find, "state.json is damaged", "step-11")


def test_a_state_without_a_best_step(checkpoints):
    checkpoints.save(State(step=13), {}, {})
    first = {"step": 13, "best_step": None, "best_loss": None, "stale": 0, "seconds": 0.0, "pending": ()}
    assert asdict(checkpoints.find().state) == first


def test_a_run_continues_from_the_checkpoint_before_and_ends_the_same():
    """The damage costs time only: what was trained since the checkpoint before is trained again."""
    settings = {"steps": 17, "eval_every": 3, "dropout": 0.1}
    finish(start("run", stop_at=11, **settings))
    flip_a_bit(Path("run/checkpoints/step-11/model.safetensors"))
    damaged, used = (event.text for event in of_kind(finish(resume_run("run")), NoteEvent)[:2])
    assert "step-11/model.safetensors is damaged" in damaged
    assert "step 9 is used instead" in used
    assert outcome(Path("run")) == whole(**settings)


def test_a_damaged_best_checkpoint_is_reported_at_the_end(monkeypatch):
    losses = iter([3.0, 1.0, 2.0, 2.0])  # the second evaluation, at step 3, is the best
    real = training.evaluate
    monkeypatch.setattr(training, "evaluate", lambda *args: replace(real(*args), loss=next(losses, 5.0)))
    events = []
    for event in start("run", steps=9, eval_every=3).events():
        events.append(event)
        if event.step == 6:
            Path("run/checkpoints/step-3/model.safetensors").write_bytes(b"")
    assert any("step-3/model.safetensors is damaged" in event.text for event in of_kind(events, NoteEvent))
    assert (events[-1].best_step, events[-1].evaluation.loss) == (9, 5.0)
    (note, _) = load("run").notes
    assert "step-3/model.safetensors is damaged" in note


# Writes that fail

ERRORS = [OSError(28, "No space left on device"), OSError(5, "Input/output error"), SafetensorError("I/O error: disk")]


@pytest.mark.parametrize("moment", ["save_file", "sha256", "flush_file", "flush_folder", "write_atomically", "replace"])
@pytest.mark.parametrize("error", ERRORS)
def test_a_failed_write_is_reported_and_leaves_all_as_it_was(monkeypatch, checkpoints, moment, error):
    before = contents("some")
    with monkeypatch.context() as patch:
        break_write(patch, moment, raising(error))
        refuses(lambda: save(checkpoints, 13, 13), "step 13 in 'some'", str(error.args[-1]), "--resume some")
    assert all(path.read_bytes() == content for path, content in before.items())
    assert [path for path in Path("some").rglob(".*") if path.is_dir()] == []
    assert checkpoints.find("last").state.step == 11
    assert checkpoints.find("best").state.step == 3
    save(checkpoints, 13, 13)
    assert checkpoints.find("last").state.step == checkpoints.find("best").state.step == 13


def test_a_limit_on_the_size_of_files(checkpoints):
    """Refused by the system: a signal that Python turns into an error."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = {"weight": torch.zeros(100_000)}
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        refuses(lambda: checkpoints.save(State(step=13), big, big), "step 13", "large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert checkpoints.find("last").state.step == 11
    assert list(Path("some").rglob(".*")) == []


def test_an_old_checkpoint_that_cannot_be_deleted_stops_nothing(checkpoints, monkeypatch):
    def rmtree(path, ignore_errors=False, original=shutil.rmtree):
        if path.name != "step-5":
            original(path, ignore_errors)
        elif not ignore_errors:
            raise PermissionError

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    save(checkpoints, 13)
    assert checkpoints.steps() == [3, 5, 11, 13]


def test_a_folder_that_is_gone_is_not_made_again(checkpoints):
    Path("some").rename("other")
    folder, plan = RunFolder("some"), Plan(text="t", steps=0)
    calls = [lambda: save(checkpoints, 13), lambda: checkpoints.save_history(13, {}), lambda: folder.write_plan(plan)]
    for call in (*calls, lambda: folder.append_metrics({"event": "step", "step": 13, "loss": 1.0})):
        refuses(call, "the run folder 'some' was moved or deleted", "put it back", "nanogpt train --resume some")
    assert not Path("some").exists()


# History


def test_the_history_holds_the_weights_as_they_were():
    run, other = trained("run", steps=9, eval_every=1), trained("other", steps=4, eval_every=1)
    assert list(Checkpoints(run).history()) == [0, 1, 2, 4, 8, 9]
    first, second = (load_file(run / f"history/step-{step}.safetensors") for step in (0, 2))
    # A shorter run has another schedule, but its first weights are the same.
    assert (run / "history/step-0.safetensors").read_bytes() == (other / "history/step-0.safetensors").read_bytes()
    assert not torch.equal(first["lm_head.weight"], load_file(other / "history/step-2.safetensors")["lm_head.weight"])
    for which in (2, "step-2"):
        early = load(run, checkpoint=which)
        assert (early.step, early.notes) == (2, ())
        assert all(torch.equal(second[name], p) for name, p in early.model.named_parameters())
    for which in ("worst", "-1", "1.5", "3", "step-3"):
        refuses(lambda which=which: load(run, checkpoint=which), repr(which.removeprefix("step-")), "0, 1, 2, 4")


def test_a_run_without_history():
    run = trained("run", history="off")
    assert not (run / "history").exists()
    assert weights(run) == whole()[0]
    refuses(lambda: load(run, checkpoint=2), "'2'", "best, last,")


def test_a_run_without_a_checkpoint():
    start("young")
    refuses(lambda: load("young"), "'young' has no checkpoint yet", "--resume young")
