"""The loop: what one update does, what changes a run and what does not, and how it ends and goes on."""

import itertools
import json
import math
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from groups import together
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import (
    PRESETS,
    SMALL_RUN,
    finish,
    flip_a_bit,
    metrics,
    outcome,
    refuses,
    start,
    stopped_and_resumed,
    trained,
    weights,
    write_text,
)

from nanogpt.errors import UserError
from nanogpt.evaluation.loss import evaluate
from nanogpt.model.gpt import Block
from nanogpt.optim.optimizer import learning_rate
from nanogpt.reporting.events import (
    CheckpointEvent,
    DoneEvent,
    EvalEvent,
    NoteEvent,
    PlanEvent,
    RollbackEvent,
    SampleEvent,
    StartEvent,
    StepEvent,
    StopEvent,
)
from nanogpt.reporting.terminal import show_training
from nanogpt.runs.checkpoint import damage
from nanogpt.runs.folder import LINE_LIMIT, SAMPLE_LIMIT, RunFolder
from nanogpt.runs.plan import Rollback
from nanogpt.runs.run import load
from nanogpt.training import trainer as training
from nanogpt.training.launch import is_done, resume_run, start_run
from nanogpt.training.step import Stepper

EACH_PRESET = pytest.mark.parametrize("preset", PRESETS)
FEW = settings(max_examples=6, deadline=None)  # each trains two small runs
EVERYTHING = {"dropout": 0.1, "accumulation": 2, "log_every": 3}


def fresh(name):
    """A name for a run, which an earlier example may have used."""
    shutil.rmtree(name, ignore_errors=True)
    return name


# The run


def test_a_compilation_that_fails_is_told_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model, **options: lambda x: 1 / 0)
    events = finish(start("compiled", compile="on", dropout=0.2))
    (note,) = [event.text for event in events if isinstance(event, NoteEvent) and "compile" in event.text]
    assert "torch.compile failed, training goes on without it (division by zero)" in note
    monkeypatch.undo()
    assert weights(Path("compiled")) == weights(trained("plain", compile="off", dropout=0.2))


@pytest.mark.slow
def test_a_real_compilation_never_ends_a_run():
    events = finish(start("compiled", compile="on"))
    plain = finish(start("plain", compile="off"))
    assert isinstance(events[-1], DoneEvent)
    assert events[-1].evaluation.loss == pytest.approx(plain[-1].evaluation.loss, abs=1e-3)


@EACH_PRESET
def test_the_loss_falls(preset):
    write_text("tale.txt", 3000)
    events = finish(start("run", steps=60, preset=preset, learning_rate=1e-2, dropout=0.0))
    losses = [event.loss for event in events if isinstance(event, StepEvent)]
    assert losses[-1] < losses[0] - 0.5
    assert events[-1].evaluation.loss < math.log(20) - 0.5


def test_the_events_of_a_run_in_their_order():
    events = finish(start("run", steps=4, eval_every=2, log_every=2))
    kinds = [(type(event).__name__.removesuffix("Event"), event.step) for event in events]
    evaluated = ["Eval", "Sample", "Checkpoint"]
    assert kinds == [
        ("Start", 0),
        ("Note", 0),  # that the text is short
        *((kind, 0) for kind in evaluated),
        ("Step", 2),
        *((kind, 2) for kind in evaluated),
        ("Step", 4),
        *((kind, 4) for kind in evaluated),
        ("Done", 4),
    ]
    first = events[0]
    assert isinstance(first, StartEvent)
    assert (first.folder, first.steps, first.tokens_per_step, first.device) == ("run", 4, 3 * 12, "cpu")
    assert first.train_tokens == 900


def test_the_figures_of_the_events_are_true():
    trainer = start("run", steps=6, eval_every=3, log_every=2, eval_tokens=10**6)
    for event in trainer.events():
        match event:
            case StartEvent():
                assert event.parameters == sum(p.numel() for p in trainer.model.parameters())
            case EvalEvent():
                expected = evaluate(trainer.model, trainer.data.val, trainer.tokenizer)
                assert event.evaluation == expected
            case StepEvent():
                rate = learning_rate((event.step - 1) / 6, event.step / 6, trainer.config.train)
                assert event.learning_rate == pytest.approx(rate)
            case CheckpointEvent():
                assert Path(event.path).name == f"step-{event.step}"
                assert (Path(event.path) / "model.safetensors").exists()
            case DoneEvent():
                best = load("run").evaluate()
                assert event.evaluation == best
                assert not event.early


def test_a_logged_loss_is_the_mean_since_the_last_line():
    each = [line["loss"] for line in metrics(trained("each", log_every=1)) if line["event"] == "step"]
    threes = [line for line in metrics(trained("threes", log_every=3)) if line["event"] == "step"]
    assert [line["step"] for line in threes] == [3, 6, 8]
    expected = [sum(each[a:b]) / (b - a) for a, b in ((0, 3), (3, 6), (6, 8))]
    assert [line["loss"] for line in threes] == pytest.approx(expected)


def test_an_evaluation_every_tenth_of_the_run_unless_named():
    def steps(out, **settings):
        return [line["step"] for line in metrics(trained(out, sample_tokens=0, **settings)) if line["event"] == "eval"]

    assert steps("tenth", steps=20, eval_every=None) == [*range(0, 21, 2)]
    assert steps("named", steps=10, eval_every=4) == [0, 4, 8, 10]
    assert steps("short", steps=3, eval_every=None) == [0, 1, 2, 3]


def test_a_subset_on_the_way_and_the_whole_at_the_end():
    lines = metrics(trained("run", eval_tokens=24))
    on_the_way = [line for line in lines if line["event"] == "eval"]
    assert all(line["tokens"] == 24 and "evenly spaced" in line["protocol"] for line in on_the_way)
    assert lines[-1]["tokens"] == 99
    assert lines[-1]["protocol"].startswith("whole split")


def test_no_samples_where_none_are_wanted():
    assert not [event for event in finish(start("run", sample_tokens=0)) if isinstance(event, SampleEvent)]


def test_samples_have_the_length_asked_for():
    samples = [event for event in finish(start("run", sample_tokens=7)) if isinstance(event, SampleEvent)]
    assert samples
    assert all(len(event.text) <= 7 for event in samples)


def test_samples_are_part_of_the_record_whoever_looks_on():
    trainer = start("run", eval_every=3)
    written = [
        (event.step, event.text) for event in show_training(trainer, quiet=True) if isinstance(event, SampleEvent)
    ]
    assert [step for step, _ in written] == [0, 3, 6, 8]
    lines = metrics(trainer.folder.path)
    assert [(line["step"], line["text"]) for line in lines if line["event"] == "sample"] == written
    assert [line["event"] for line in lines if line["step"] == 3] == ["eval", "sample"]


@pytest.mark.parametrize("character", ["\U0001f431", "\x00", "\u2028"])
def test_a_sample_of_any_length_leaves_a_line_that_can_be_read(character, monkeypatch):
    monkeypatch.setattr("nanogpt.training.trainer.generate_text", lambda *_, **__: [character * LINE_LIMIT])
    run = start("run", steps=1)
    samples = [event for event in finish(run) if isinstance(event, SampleEvent)]
    assert [len(event.text) for event in samples] == [LINE_LIMIT] * 2
    assert [line["text"] for line in run.folder.metrics() if line["event"] == "sample"] == [
        character * SAMPLE_LIMIT
    ] * 2


@pytest.mark.parametrize("kind", [EvalEvent, SampleEvent, CheckpointEvent])
def test_killed_around_a_sample_it_is_there_once(kind):
    whole = trained("whole", **EVERYTHING)
    events = start("killed", **EVERYTHING).events()
    while not isinstance(event := next(events), kind) or event.step < 4:
        pass
    events.close()
    finish(resume_run("killed"))
    assert [line["step"] for line in metrics(Path("killed")) if line["event"] == "sample"] == [0, 4, 8]
    assert outcome(Path("killed")) == outcome(whole)


@pytest.mark.parametrize(
    "settings",
    [
        {"eval_every": 1},
        {"eval_every": 5},
        {"sample_tokens": 0},
        {"log_every": 1},
        {"eval_tokens": 20},
        {"compile": "off"},
    ],
    ids=str,
)
def test_looking_does_not_change_the_weights(settings):
    plain = trained("plain", dropout=0.1)
    assert weights(trained("looked", dropout=0.1, **settings)) == weights(plain)


@FEW
@given(
    eval_every=st.integers(1, 9) | st.none(),
    log_every=st.integers(1, 9),
    sample_tokens=st.integers(0, 5),
    eval_tokens=st.integers(1, 99),
    history=st.sampled_from(["on", "off"]),
)
def test_no_way_of_looking_changes_the_weights(**settings):
    plain = weights(trained(fresh("plain"), dropout=0.1))
    assert weights(trained(fresh("looked"), dropout=0.1, **settings)) == plain


@FEW
@given(st.sets(st.integers(1, 8), max_size=4), st.integers(1, 5), st.integers(1, 4), st.sampled_from(PRESETS))
def test_interrupted_wherever_and_however_often_it_ends_the_same(stops, eval_every, log_every, preset):
    settings = {"steps": 9, "eval_every": eval_every, "log_every": log_every, "preset": preset}
    settings |= {"dropout": 0.2, "accumulation": 2}
    whole = trained(fresh("whole"), **settings)
    trainer = start(fresh("run"), **settings)
    for stop in sorted(stops):
        trainer.should_stop = lambda trainer=trainer, stop=stop: trainer.state.step >= stop
        finish(trainer)
        trainer = resume_run("run")
    finish(trainer)
    assert outcome(Path("run")) == outcome(whole)


def test_a_clock_that_jumps_changes_nothing(monkeypatch):
    whole = trained("whole")
    jumps = itertools.cycle([0.0, 4e9, 1e9, -1.0])
    monkeypatch.setattr(time, "time", lambda: next(jumps))
    assert outcome(stopped_and_resumed("run", 3)) == outcome(whole)


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 3},
        {"batch_size": 4},
        {"beta1": 0.8},
        {"beta2": 0.9},
        {"grad_clip": 0.01},
        {"weight_decay": 0.5},
        {"warmup": 0.5},
        {"decay": 0.2},
        {"final_lr": 0.5},
        {"learning_rate": 1e-2},
        {"accumulation": 2},
        {"precision": "bfloat16"},
    ],
    ids=str,
)
def test_these_settings_do(settings):
    assert weights(trained("changed", **settings)) != weights(trained("plain", init="scaled"))


def test_the_same_run_twice_is_the_same_run():
    assert outcome(trained("one", **EVERYTHING)) == outcome(trained("two", **EVERYTHING))


# Stopped and gone on with


@pytest.mark.parametrize(
    ("preset", "stop_at"), [("modern", 1), ("modern", 4), ("modern", 5), ("gpt2", 4), ("lecture", 1)]
)
def test_resumed_is_uninterrupted(preset, stop_at):
    # Logged every third step, evaluated every fifth: 1 and 4 lie between, 5 on an evaluation.
    settings = EVERYTHING | {"preset": preset, "steps": 8, "eval_every": 5}
    assert outcome(stopped_and_resumed("stopped", stop_at, **settings)) == outcome(trained("whole", **settings))


def test_stopped_twice():
    whole = trained("whole", steps=9, **EVERYTHING)
    finish(start("stopped", steps=9, stop_at=2, **EVERYTHING))
    again = resume_run("stopped", should_stop=lambda: again.state.step >= 7)
    assert isinstance(finish(again)[-1], StopEvent)
    finish(resume_run("stopped"))
    assert outcome(Path("stopped")) == outcome(whole)


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 3, "eval_every": 2, "log_every": 1, "sample_tokens": 0},
        pytest.param({"steps": 9, "eval_every": 3, "log_every": 2, "accumulation": 2}, marks=pytest.mark.slow),
        pytest.param({"steps": 5, "eval_every": 1, "log_every": 3, "preset": "gpt2"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_killed_after_any_event_it_goes_on_as_if_nothing_had_been(settings):
    settings |= {"dropout": 0.1}
    whole = start("whole", **settings)
    count = len(finish(whole))
    for killed_after in range(1, count):
        out = f"killed-{killed_after}"
        events = start(out, **settings).events()
        for _ in range(killed_after):
            next(events)
        events.close()
        finish(resume_run(out))
        assert outcome(Path(out)) == outcome(Path("whole")), f"killed after event {killed_after} of {count}"


def test_killed_before_anything_was_trained():
    start("killed")
    finish(resume_run("killed"))
    assert outcome(Path("killed")) == outcome(trained("whole"))


@pytest.mark.parametrize("then", ["stopped later", "finished", "with another plan"])
def test_a_run_that_was_trained_while_it_was_opened_is_not_undone(then):
    """Another process saved and let go of the run after its plan and checkpoint were read, and before the lock."""
    finish(start("run", stop_at=2))
    late = resume_run("run")
    other = resume_run("run")
    match then:
        case "stopped later":
            other.should_stop = lambda: other.state.step >= 5
            finish(other)
        case "finished":
            finish(other)
        case _:
            other.folder.write_plan(other.plan.leave_out(4))
    before = outcome_so_far("run")
    with pytest.raises(UserError, match=r"the run 'run' changed while it was opened.*try again"):
        finish(late)
    assert outcome_so_far("run") == before


def outcome_so_far(run):
    return weights(Path(run)), metrics(Path(run)), RunFolder(run).read_plan()


def test_a_finished_run_has_nothing_to_resume():
    run = trained("run")
    assert resume_run(run) is None
    assert is_done(start("other").folder) is False


def test_a_finished_run_whose_end_is_damaged_is_made_whole_again():
    run = trained("run", **EVERYTHING)
    whole = outcome(run)
    flip_a_bit(run / "checkpoints/step-8/model.safetensors")
    finish(resume_run(run))
    assert outcome(run) == whole
    assert resume_run(run) is None


def test_killed_between_the_last_checkpoint_and_the_end():
    whole = trained("whole")
    events = start("killed").events()
    while not isinstance(event := next(events), CheckpointEvent) or event.step < 8:
        pass
    events.close()
    assert [type(event) for event in finish(resume_run("killed"))] == [StartEvent, DoneEvent]
    assert outcome(Path("killed")) == outcome(whole)


def test_a_run_goes_on_when_its_cache_is_gone(monkeypatch, tmp_path):
    whole = trained("whole", **EVERYTHING)
    finish(start("stopped", stop_at=3, **EVERYTHING))
    monkeypatch.setenv("NANOGPT_CACHE", str(tmp_path / "another"))
    finish(resume_run("stopped"))
    assert outcome(Path("stopped")) == outcome(whole)


def test_a_run_goes_on_when_its_text_is_gone_but_not_its_cache():
    finish(start("stopped", stop_at=3))
    Path("tale.txt").unlink()
    assert isinstance(finish(resume_run("stopped"))[-1], DoneEvent)


def test_a_run_does_not_go_on_with_another_text(monkeypatch, tmp_path):
    finish(start("stopped", stop_at=3))
    monkeypatch.setenv("NANOGPT_CACHE", str(tmp_path / "another"))
    for text in (Path("tale.txt").read_text()[::-1], "another alphabet, entirely!?" * 40):
        Path("tale.txt").write_text(text)
        with pytest.raises(UserError, match=r"tale\.txt' has changed since the run 'stopped' began"):
            resume_run("stopped")


class Parallel(Block):
    """Attention and feed-forward network beside each other."""

    def forward(self, x, turn=None, cache=None):
        return x + self.attention(self.attention_norm(x), turn, cache) + self.mlp(self.mlp_norm(x))


class Thoughtless(Block):
    """Attention alone: the feed-forward network is there, and never used."""

    def forward(self, x, turn=None, cache=None):
        return x + self.attention(self.attention_norm(x), turn, cache)


@pytest.mark.parametrize("block", [Parallel, Thoughtless])
def test_a_block_of_ones_own_is_trained_and_resumed(block):
    def make(out):
        return start(out, block=block, init="scaled")

    whole, stopped = make("whole"), make("stopped")
    stopped.should_stop = lambda: stopped.state.step >= 3
    finish(whole)
    finish(stopped)
    finish(resume_run("stopped", block=block))
    assert outcome(Path("stopped")) == outcome(Path("whole"))
    assert load("whole", block=block).evaluate().loss == metrics(Path("whole"))[-1]["loss"]
    assert weights(Path("whole")) != weights(trained("plain", init="scaled"))


class Counting(Block):
    """A block with a state that no checkpoint holds."""

    def __init__(self, *given):
        super().__init__(*given)
        self.register_buffer("seen", torch.zeros(3))


def test_a_block_whose_state_would_not_be_saved_is_refused():
    refuses(lambda: start("run", block=Counting), "the buffer blocks.0.seen would not be saved")


# A plan that changes


def changing(out, changes, steps=12, **settings):
    trainer = start(out, steps=steps, **EVERYTHING | settings)
    trainer.new_length = lambda trainer: changes.get(trainer.state.step)
    return trainer


@pytest.mark.parametrize("changes", [{4: 9}, {3: 15, 10: 13}, {5: 2}, {5: 5}], ids=str)
def test_replaying_a_recorded_plan_gives_the_same_bytes(changes):
    events = finish(changing("live", changes))
    last = max(list(changes.values())[-1], list(changes)[-1])
    assert events[-1].step == last
    assert [event.step for event in events if isinstance(event, PlanEvent)] == list(changes)
    # A run that has the plan with its changes from the start, as one does that was killed before its first checkpoint.
    replay = start("replay", steps=12, **EVERYTHING)
    replay.folder.write_plan(load("live").plan)
    finish(resume_run("replay"))
    assert weights(Path("replay")) == weights(Path("live"))
    assert metrics(Path("replay"))[-1] == metrics(Path("live"))[-1]


def test_a_change_is_kept_when_the_run_is_killed_after_it():
    whole = changing("whole", {4: 9})
    finish(whole)
    events = changing("killed", {4: 9}).events()
    while not isinstance(next(events), PlanEvent):
        pass
    events.close()
    finish(resume_run("killed"))
    assert outcome(Path("killed")) == outcome(Path("whole"))


def test_a_change_bends_the_learning_rate():
    finish(changing("live", {4: 6}, log_every=1, warmup=0.0, decay=1.0, learning_rate=1e-3))
    rates = [line["learning_rate"] * 1e3 for line in metrics(Path("live")) if line["event"] == "step"]
    assert rates == pytest.approx([1, 11 / 12, 10 / 12, 9 / 12, 8 / 12, 4 / 12])


# The best checkpoint, patience


def scripted(monkeypatch, *losses):
    """Evaluations on the way that find these losses."""
    script = iter(losses)

    def fake(model, ids, tokenizer, max_tokens=None, world=None):
        result = evaluate(model, ids, tokenizer, max_tokens)
        return result if max_tokens is None else replace(result, loss=next(script))

    monkeypatch.setattr("nanogpt.training.trainer.evaluate", fake)


def test_the_best_checkpoint_is_the_one_with_the_lowest_loss(monkeypatch):
    scripted(monkeypatch, 3.0, 2.0, 1.0, 1.5, 1.0, 2.5)
    events = finish(start("run", steps=5, eval_every=1))
    assert [event.best for event in events if isinstance(event, EvalEvent)] == [True, True, True, False, False, False]
    assert (events[-1].best_step, events[-1].early) == (2, False)
    assert load("run").step == 2
    assert load("run", checkpoint="last").step == 5
    assert events[-1].evaluation.loss == load("run").evaluate().loss != load("run", checkpoint="last").evaluate().loss


def test_patience(monkeypatch):
    scripted(monkeypatch, 3.0, 2.0, 2.5, 1.5, 1.7, 1.6, 1.4)
    events = finish(start("run", steps=100, eval_every=3, patience=2))
    assert events[-1].step == 15  # 1.7 at step 12, 1.6 at step 15
    assert (events[-1].best_step, events[-1].early) == (9, True)
    assert metrics(Path("run"))[-1]["early"] is True
    assert is_done(start("other").folder) is False
    assert resume_run("run") is None


def test_patience_survives_an_interruption(monkeypatch):
    scripted(monkeypatch, 3.0, 3.5, 3.6)
    finish(start("run", steps=100, eval_every=2, patience=2, stop_at=3))
    events = finish(resume_run("run"))
    assert (events[-1].step, events[-1].early) == (4, True)


def test_without_patience_it_goes_to_the_end(monkeypatch):
    scripted(monkeypatch, 1.0, *[2.0] * 10)
    assert finish(start("run", steps=4, eval_every=1))[-1].step == 4


# A loss that is not finite


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("log_every", [1, 4, 100])
@pytest.mark.parametrize("at", [0, 5])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_its_step(monkeypatch, value, log_every, at):
    original = Stepper.step
    monkeypatch.setattr(
        Stepper, "step", lambda self, step, rate: original(self, step, rate) * (value if step == at else 1)
    )
    trainer = start("run", steps=9, eval_every=3, log_every=log_every)
    with pytest.raises(
        UserError, match=rf"at step {at} the loss became {value};.*--learning-rate \(it was 0.03\), or with"
    ):
        finish(trainer)
    monkeypatch.undo()
    assert load("run", checkpoint="last").step == (0 if at == 0 else 3)
    assert not is_done(trainer.folder)


def test_a_gradient_that_is_not_finite_stops_the_run(monkeypatch):
    original = Stepper.step
    monkeypatch.setattr(
        Stepper, "step", lambda self, step, rate: original(self, step, rate) * torch.tensor([1, math.inf])
    )
    with pytest.raises(UserError, match="the gradient's norm became inf"):
        finish(start("run"))


@pytest.mark.parametrize("eval_every", [1, 4])
def test_a_learning_rate_far_too_high_harms_no_checkpoint(eval_every):
    settings = {"learning_rate": 1e38, "warmup": 0.0, "grad_clip": math.inf, "eval_every": eval_every, "steps": 8}
    with pytest.raises(UserError, match="--learning-rate"):
        finish(start("run", preset="gpt2", **settings))
    for checkpoint in ("last", "best"):
        run = load("run", checkpoint=checkpoint)
        assert all(torch.isfinite(p).all() for p in run.model.parameters())
        assert math.isfinite(run.evaluate().loss)


def test_where_nothing_was_saved_no_checkpoint_is_promised(monkeypatch):
    real = training.evaluate
    monkeypatch.setattr(training, "evaluate", lambda *args: replace(real(*args), loss=math.inf))
    told = refuses(lambda: finish(start("run", on_divergence="rollback")), "after step 0", "nothing was saved yet")
    assert "checkpoint" not in told


# Going back after it


def diverging(monkeypatch, at, above=0.0, value=math.nan):
    """Make update `at` diverge wherever its learning rate is above a value."""
    original = Stepper.step

    def step(self, step, rate):
        return original(self, step, rate) * (value if step == at and rate > above else 1)

    monkeypatch.setattr(Stepper, "step", step)


BACK = {"steps": 11, "eval_every": 3, "on_divergence": "rollback", "learning_rate": 1e-3, "warmup": 0.0, "decay": 0.0}


@pytest.mark.parametrize("log_every", [1, 4])
def test_a_run_that_diverges_goes_back_with_half_the_rate(monkeypatch, log_every):
    diverging(monkeypatch, at=7, above=3e-4)
    trainer = start("run", log_every=log_every, dropout=0.1, **BACK)
    events = finish(trainer)
    back = [event for event in events if isinstance(event, RollbackEvent)]
    assert [(event.step, event.failed, event.rate_factor) for event in back] == [(6, 7, 0.5), (6, 7, 0.25)]
    assert isinstance(events[-1], DoneEvent)
    assert trainer.folder.read_plan().rollbacks == tuple(Rollback(step=6, failed=7, factor=0.5) for _ in range(2))
    rates = {line["step"]: line["learning_rate"] for line in metrics(Path("run")) if line["event"] == "step"}
    assert all(rate == (1e-3 if step <= 6 else 2.5e-4) for step, rate in rates.items())
    steps = [line["step"] for line in metrics(Path("run"))]
    assert steps == sorted(steps)  # what was logged of the way that failed is gone


def test_what_was_trained_after_going_back_can_be_had_again(monkeypatch):
    """Replayed by its plan, and killed at the moment it went back: the same bytes."""
    diverging(monkeypatch, at=7, above=6e-4)
    first = start("first", dropout=0.1, **BACK)
    finish(first)
    replay = RunFolder.create("replay")
    for write, read in ((replay.write_config, first.folder.read_config), (replay.write_plan, first.folder.read_plan)):
        write(read())
    replay.write_tokenizer(first.tokenizer)
    finish(resume_run("replay"))
    assert outcome(Path("replay")) == outcome(Path("first"))
    killed = start("killed", dropout=0.1, **BACK).events()
    while not isinstance(next(killed), RollbackEvent):
        pass
    killed.close()
    finish(resume_run("killed"))
    assert outcome(Path("killed")) == outcome(Path("first"))


def test_a_run_goes_back_three_times_at_most(monkeypatch):
    diverging(monkeypatch, at=7)
    trainer = start("run", **BACK)
    with pytest.raises(
        UserError, match=r"at step 7 the loss became nan.*\(it was 0.001, and 0.000125 after going back 3 times\)$"
    ):
        finish(trainer)
    assert len(trainer.folder.read_plan().rollbacks) == 3
    assert load("run", checkpoint="last").step == 6


def test_a_damaged_checkpoint_is_told_when_the_run_goes_back_behind_it(monkeypatch):
    diverging(monkeypatch, at=7, above=6e-4)
    trainer, events, hashed = start("run", **BACK), [], []
    monkeypatch.setattr(
        "nanogpt.runs.checkpoint.damage", lambda path, run: hashed.append(path.name) or damage(path, run)
    )
    for event in trainer.events():
        events.append(event)
        if isinstance(event, CheckpointEvent) and event.step == 6:
            flip_a_bit(Path(event.path) / "model.safetensors")
        if isinstance(event, RollbackEvent):
            assert event.step == 3
            assert hashed == ["step-6", "step-3"]  # each of them once
    notes = [event.text for event in events if isinstance(event, NoteEvent)][-2:]
    assert "step-6/model.safetensors is damaged" in notes[0]
    assert notes[1] == "the checkpoint of step 3 is used instead"
    assert isinstance(events[-1], DoneEvent)


def test_a_run_that_cannot_be_evaluated_goes_back_too(monkeypatch):
    real, failing = training.evaluate, iter([False, False, True])
    monkeypatch.setattr(
        training, "evaluate", lambda *args: replace(real(*args), loss=math.inf) if next(failing, False) else real(*args)
    )
    events = finish(start("run", **BACK))
    (back,) = [event for event in events if isinstance(event, RollbackEvent)]
    assert (back.step, back.failed) == (3, 6)


def test_a_first_step_that_diverges_goes_back_to_the_beginning(monkeypatch):
    diverging(monkeypatch, at=0, above=6e-4)
    events = finish(start("run", **BACK))
    assert [event.step for event in events if isinstance(event, RollbackEvent)] == [0]
    assert isinstance(events[-1], DoneEvent)


# Threads


def test_the_number_of_threads_is_kept_with_the_plan_and_given_back(monkeypatch):
    original, seen = Stepper.step, []

    def step(self, step, rate):
        seen.append(torch.get_num_threads())
        return original(self, step, rate)

    monkeypatch.setattr(Stepper, "step", step)
    finish(start("run", stop_at=3, threads=2))
    assert (set(seen), torch.get_num_threads()) == ({2}, 1)
    assert RunFolder("run").read_plan().threads == 2
    finish(resume_run("run"))
    assert (set(seen), torch.get_num_threads()) == ({2}, 1)
    assert start("other").plan.threads == 1  # as many as torch takes


@pytest.mark.parametrize("chosen", ["float32", "bfloat16"])
def test_the_precision_that_was_chosen_is_kept_with_the_plan(monkeypatch, chosen):
    choice = {"chosen": chosen}
    pick = lambda device, name="auto": choice["chosen"] if name == "auto" else name  # noqa: E731
    for room in ("request", "stepper"):
        monkeypatch.setattr(f"nanogpt.{room}.pick_precision", pick)
    first = start("run", stop_at=3, precision="auto")
    finish(first)
    assert first.plan.precision == first.stepper.precision == chosen
    choice["chosen"] = "bfloat16" if chosen == "float32" else "float32"  # on a machine that prefers the other
    resumed = resume_run("run")
    assert resumed.stepper.precision == chosen
    finish(resumed)
    choice["chosen"] = chosen
    finish(start("whole", precision="auto"))
    assert outcome(Path("run")) == outcome(Path("whole"))


@pytest.mark.slow
def test_two_threads_resumed_are_two_threads_uninterrupted():
    settings = {"threads": 2, "n_embd": 96, "block_size": 48, "batch_size": 16} | EVERYTHING
    write_text("tale.txt", 5000)
    assert outcome(stopped_and_resumed("stopped", 5, **settings)) == outcome(trained("whole", **settings))


# Compiled


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler here")
def test_a_compiled_run_is_resumed_in_another_process_to_the_same_bytes():
    settings = EVERYTHING | {"compile": "on", "steps": 7, "eval_every": 3}
    events = finish(start("whole", **settings))
    assert not [event for event in events if isinstance(event, NoteEvent) and "compile" in event.text]
    finish(start("stopped", stop_at=4, **settings))
    subprocess.run([sys.executable, "-m", "nanogpt", "train", "--resume", "stopped"], check=True, capture_output=True)
    assert outcome(Path("stopped")) == outcome(Path("whole"))


def test_metrics_are_json_a_line_each():
    for line in trained("run").joinpath("metrics.jsonl").read_text().splitlines():
        values = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        assert {"event", "step", "seconds"} <= values.keys()


def test_a_run_cut_short_is_measured_and_saved_where_it_ends():
    """Its progress is below 1 then, so it is not the plan that says that an evaluation is due."""
    trainer = start("run", steps=1000, eval_every=4)
    trainer.new_length = lambda trainer: 5 if trainer.state.step == 5 else None
    events = list(trainer.events())
    assert [event.step for event in events if isinstance(event, EvalEvent)] == [0, 4, 5]
    assert trainer.folder.checkpoints.pointer("last") == 5
    assert isinstance(events[-1], DoneEvent)
    assert events[-1].step == 5


def test_a_stop_during_an_evaluation_saves_its_step_once():
    """Writing the same checkpoint again would remove the one that `last` names, for a moment."""
    trainer = start("run", steps=8, eval_every=4)
    events = []
    trainer.should_stop = lambda: any(isinstance(event, EvalEvent) and event.step == 4 for event in events)
    for event in trainer.events():
        events.append(event)
    assert isinstance(events[-1], StopEvent)
    assert [event.step for event in events if isinstance(event, CheckpointEvent)] == [0, 4]


def test_a_stop_at_the_last_step_leaves_the_final_evaluation_for_later():
    """It may take long, and all is saved by then."""
    whole = trained("whole")
    stopped, events = start("stopped"), []
    stopped.should_stop = lambda: any(isinstance(event, EvalEvent) and event.step == 8 for event in events)
    for event in stopped.events():
        events.append(event)
    assert [(type(event), event.step) for event in events[-2:]] == [(CheckpointEvent, 8), (StopEvent, 8)]
    assert not is_done(stopped.folder)
    assert [type(event) for event in finish(resume_run("stopped"))] == [StartEvent, DoneEvent]
    assert outcome(Path("stopped")) == outcome(whole)


# Saved by the clock


class Clock:
    """A clock of which every step takes so many seconds."""

    def __init__(self, monkeypatch, seconds):
        self.now = 1000.0
        monkeypatch.setattr(
            training, "time", SimpleNamespace(perf_counter=time.perf_counter, monotonic=lambda: self.now)
        )
        original = Stepper.step

        def step(stepper, *given):
            self.now += seconds
            return original(stepper, *given)

        monkeypatch.setattr(Stepper, "step", step)


def saved(events):
    return [event.step for event in events if isinstance(event, CheckpointEvent)]


def test_ten_minutes_after_the_last_checkpoint_comes_another(monkeypatch):
    settings = {"steps": 13, "eval_every": 10, "dropout": 0.1, "log_every": 4}
    whole = trained("whole", **settings)
    Clock(monkeypatch, seconds=training.SAVE_SECONDS / 3 + 1)
    trainer = start("run", **settings)
    assert saved(finish(trainer)) == [0, 3, 6, 9, 10, 13]
    assert set(trainer.folder.checkpoints.steps()) == {10, 13, trainer.state.best_step}
    assert outcome(Path("run")) == outcome(whole)
    assert trainer.folder.read_plan() == RunFolder(whole).read_plan()


def test_an_evaluation_left_out_leaves_out_no_checkpoint_for_long(monkeypatch):
    Clock(monkeypatch, seconds=training.SAVE_SECONDS / 2)
    trainer = start("run", steps=8, eval_every=2)
    trainer.leaves_out = lambda trainer: True
    assert saved(finish(trainer)) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("kind", [CheckpointEvent, StopEvent])
def test_killed_or_stopped_after_a_checkpoint_of_the_clock_it_ends_the_same(monkeypatch, kind):
    settings = EVERYTHING | {"steps": 9, "eval_every": 8}
    whole = trained("whole", **settings)
    Clock(monkeypatch, seconds=training.SAVE_SECONDS / 5)
    trainer = start("run", **settings, stop_at=5 if kind is StopEvent else None)
    events, seen = trainer.events(), []
    while not seen or not isinstance(seen[-1], kind) or seen[-1].step < 5:
        seen.append(next(events))
    events.close()
    assert saved(seen) == [0, 5]  # at the stop it is not written again
    resumed = resume_run("run")
    assert resumed.state.step == 5
    finish(resumed)
    assert outcome(Path("run")) == outcome(whole)


def save_by_clocks_that_differ(world):
    training.SAVE_SECONDS = 0.0 if world.main else math.inf
    return saved(finish(start_run("tale.txt", steps=3, out="run", world=world, **SMALL_RUN | {"batch_size": 2})))


def test_the_clock_of_the_first_process_speaks_for_all():
    """Each has a clock of its own, and to save takes all of them together."""
    write_text()
    assert together(2, save_by_clocks_that_differ) == [[0, 1, 2, 3]] * 2


def test_a_run_is_not_opened_with_other_blocks_than_it_was_trained_with():
    """A block without parameters of its own would load into the wrong model without a word."""
    path = trained("run", block=Parallel)
    with pytest.raises(UserError, match="trained with the blocks Parallel, not of the library"):
        load(path)
    with pytest.raises(UserError, match="not Thoughtless"):
        load(path, block=Thoughtless)
    assert load(path, block=Parallel).step > 0


def test_a_tokenizer_of_another_run_is_refused():
    path = trained("run")
    (path / "tokenizer.json").write_text('{"format": 1, "kind": "byte", "end_of_document": true}')
    with pytest.raises(UserError, match=r"257 tokens, but .* says vocab_size"):
        load(path)


def test_an_evaluation_that_is_left_out_is_recorded_and_left_out_again():
    settings = {"steps": 8, "eval_every": 2}
    whole = start("whole", **settings)
    whole.leaves_out = lambda trainer: trainer.state.step in (2, 4)
    events = finish(whole)
    assert [event.step for event in events if isinstance(event, EvalEvent)] == [0, 6, 8]
    assert whole.folder.read_plan().left_out == whole.plan.left_out == (2, 4)
    stopped = start("stopped", stop_at=5, **settings)
    stopped.leaves_out = whole.leaves_out
    finish(stopped)
    finish(resume_run("stopped"))
    assert outcome(Path("stopped")) == outcome(Path("whole"))


def test_the_last_evaluation_is_never_left_out():
    trainer = start("run", steps=4, eval_every=2)
    trainer.leaves_out = lambda trainer: True
    assert [event.step for event in finish(trainer) if isinstance(event, EvalEvent)] == [0, 4]
