"""The training loop: its events and figures, what changes a run and what does not, and exact resuming."""

import itertools
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
    ScriptedPace,
    finish,
    flip_a_bit,
    kill,
    metrics,
    of_kind,
    outcome,
    refuses,
    resume_run,
    start,
    start_run,
    stopped_and_resumed,
    trained,
    weights,
    whole,
    write_text,
)

from nanogpt.errors import UserError
from nanogpt.evaluation.loss import evaluate
from nanogpt.model.gpt import Block
from nanogpt.optim.schedule import learning_rate
from nanogpt.reporting.events import (
    SAMPLE_LIMIT,
    CheckpointEvent,
    DoneEvent,
    EvalEvent,
    NoteEvent,
    PlanEvent,
    SampleEvent,
    StartEvent,
    StepEvent,
    StopEvent,
)
from nanogpt.reporting.terminal import show_training
from nanogpt.runs.folder import LINE_LIMIT, RunFolder
from nanogpt.runs.run import load
from nanogpt.training import trainer as training
from nanogpt.training.trainer import SAVE_SECONDS, TrainStep

EVERYTHING = {"dropout": 0.1, "accumulation": 2, "log_every": 3}


def logged(run, event):
    return [line for line in metrics(Path(run)) if line["event"] == event]


# Events and figures


@pytest.mark.parametrize("preset", PRESETS)
def test_the_loss_falls(preset):
    write_text("tale.txt", 3000)
    events = finish(start("run", steps=35, preset=preset, learning_rate=1e-2, dropout=0.0))
    losses = [event.loss for event in of_kind(events, StepEvent)]
    assert losses[-1] < losses[0] - 0.5
    assert events[-1].evaluation.loss < math.log(20) - 0.5


def test_the_events_of_a_run_in_order():
    events = finish(start("run", steps=4, eval_every=2, log_every=2))
    kinds = [(type(event).__name__.removesuffix("Event"), event.step) for event in events]
    evaluated = {step: [(kind, step) for kind in ("Eval", "Sample", "Checkpoint")] for step in (0, 2, 4)}
    short_text = ("Note", 0)
    before = [("Start", 0), short_text, *evaluated[0]]
    assert kinds == [*before, ("Step", 2), *evaluated[2], ("Step", 4), *evaluated[4], ("Done", 4)]
    first = events[0]
    assert (first.train_tokens, first.device) == (901, "cpu")


def test_the_figures_of_events_are_true():
    trainer = start("run", steps=6, eval_every=3, log_every=2, eval_tokens=10**6)
    for event in trainer.events():
        match event:
            case StartEvent():
                assert event.parameters == sum(p.numel() for p in trainer.model.parameters())
            case EvalEvent():
                assert event.evaluation == evaluate(trainer.model, trainer.data.val, trainer.tokenizer)
            case StepEvent():
                lr = learning_rate((event.step - 1) / 6, event.step / 6, trainer.config.train)
                assert event.learning_rate == pytest.approx(lr)
            case CheckpointEvent():
                assert Path(event.path).name == f"step-{event.step}"
                assert (Path(event.path) / "model.safetensors").exists()
            case DoneEvent():
                assert event.evaluation == load("run").evaluate()
                assert not event.early


def test_a_logged_loss_is_the_mean_since_the_last_line():
    each = [line["loss"] for line in whole(log_every=1)[2] if line["event"] == "step"]
    threes = [line for line in whole(log_every=3)[2] if line["event"] == "step"]
    assert [line["step"] for line in threes] == [3, 6, 8]
    expected = [sum(each[a:b]) / (b - a) for a, b in ((0, 3), (3, 6), (6, 8))]
    assert [line["loss"] for line in threes] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("steps", "every", "expected"),
    [(20, None, [*range(0, 21, 2)]), (10, 4, [0, 4, 8, 10]), (3, None, [0, 1, 2, 3])],
)
def test_an_evaluation_every_tenth_of_the_run_unless_named(steps, every, expected):
    run = trained("run", steps=steps, eval_every=every, sample_tokens=0)
    assert [line["step"] for line in logged(run, "eval")] == expected
    assert not logged(run, "sample")


def test_evaluations_on_the_way_read_a_subset_and_the_last_one_all():
    run = trained("run", eval_tokens=24)
    assert all(line["tokens"] == 24 and "evenly spaced" in line["protocol"] for line in logged(run, "eval"))
    (done,) = logged(run, "done")
    assert done["tokens"] == 99
    assert done["protocol"].startswith("whole split")


def test_samples_are_logged_also_where_progress_is_not_shown():
    trainer = start("run", eval_every=3, sample_tokens=7)
    samples = of_kind(show_training(trainer, quiet=True), SampleEvent)
    assert [event.step for event in samples] == [0, 3, 6, 8]
    assert all(len(event.text) <= 7 for event in samples)
    assert [(line["step"], line["text"]) for line in logged("run", "sample")] == [(e.step, e.text) for e in samples]
    assert [line["event"] for line in metrics(Path("run")) if line["step"] == 3] == ["eval", "sample"]


@pytest.mark.parametrize("character", ["\U0001f431", "\x00", "\u2028"])
def test_the_line_of_a_long_sample_can_be_read(character, monkeypatch):
    monkeypatch.setattr(training, "generate_text", lambda *_, **__: [character * LINE_LIMIT])
    trainer = start("run", steps=1)
    assert [len(event.text) for event in of_kind(finish(trainer), SampleEvent)] == [LINE_LIMIT] * 2
    lines = [line["text"] for line in trainer.folder.metrics() if line["event"] == "sample"]
    assert lines == [character * SAMPLE_LIMIT] * 2


# What changes the weights


WATCHING = ({"eval_every": 1}, {"eval_every": 5}, {"sample_tokens": 0}, {"log_every": 1}, {"eval_tokens": 20})
WATCHING += ({"compile": "off"}, {"history": "off"})
WATCHING += ({"eval_every": None, "log_every": 7, "sample_tokens": 2, "eval_tokens": 1, "history": "off"},)
TRAINING = ({"seed": 3}, {"batch_size": 4}, {"beta1": 0.7}, {"beta2": 0.9}, {"grad_clip": 0.01}, {"weight_decay": 0.5})
TRAINING += ({"warmup": 0.5}, {"decay": 0.2}, {"final_lr": 0.5}, {"learning_rate": 1e-2}, {"accumulation": 2})
TRAINING += ({"precision": "bfloat16"},)


@pytest.mark.parametrize("settings", WATCHING + TRAINING, ids=str)
def test_watching_a_run_changes_no_weight_and_other_settings_do(settings):
    watched = weights(trained("run", **{"dropout": 0.1, "init": "scaled"} | settings))
    assert (watched == whole(dropout=0.1, init="scaled")[0]) is (settings in WATCHING)


# Stop, kill, resume


@pytest.mark.parametrize(
    ("preset", "stop_at"), [("modern", 1), ("modern", 4), ("modern", 5), ("gpt2", 4), ("lecture", 1)]
)
def test_a_resumed_run_is_the_uninterrupted_one(preset, stop_at):
    # Logged every third step, evaluated every fifth: 1 and 4 lie between, 5 is an evaluation.
    settings = EVERYTHING | {"preset": preset, "steps": 8, "eval_every": 5}
    assert outcome(stopped_and_resumed("stopped", stop_at, **settings)) == whole(**settings)


@pytest.mark.slow
@settings(max_examples=20)
@given(st.sets(st.integers(1, 8), max_size=4), st.integers(1, 5), st.integers(1, 4), st.sampled_from(PRESETS))
def test_a_run_stopped_at_any_steps_ends_the_same(stops, eval_every, log_every, preset):
    settings = EVERYTHING | {"steps": 9, "eval_every": eval_every, "log_every": log_every, "preset": preset}
    shutil.rmtree("run", ignore_errors=True)
    trainer = start("run", **settings)
    for stop in sorted(stops):
        trainer.should_stop = lambda trainer=trainer, stop=stop: trainer.state.step >= stop
        finish(trainer)
        trainer = resume_run("run")
    finish(trainer)
    assert outcome(Path("run")) == whole(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": 3, "eval_every": 2, "log_every": 1, "n_layer": 1, "sample_tokens": 2},
        pytest.param({"steps": 9, "eval_every": 3, "log_every": 2, "accumulation": 2}, marks=pytest.mark.slow),
        pytest.param({"steps": 5, "eval_every": 1, "log_every": 3, "preset": "gpt2"}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_run_killed_after_any_event_ends_the_same(settings):
    settings |= {"dropout": 0.1}
    count = len(finish(start("counted", **settings)))
    for event in range(1, count):
        left = itertools.count(1)
        kill(start(f"killed-{event}", **settings), lambda _: next(left) == event)  # noqa: B023
        finish(resume_run(f"killed-{event}"))
        assert outcome(Path(f"killed-{event}")) == whole(**settings), f"killed after event {event} of {count}"


@pytest.mark.parametrize(("stop_at", "last"), [(None, CheckpointEvent), (8, StopEvent)], ids=["killed", "stopped"])
def test_only_the_final_evaluation_is_left(stop_at, last):
    """It may take long, and all is saved by then: so a stop leaves it for later."""
    trainer = start("run", stop_at=stop_at)
    kill(trainer, lambda event: isinstance(event, last) and event.step == 8)
    assert not trainer.folder.done()
    assert [type(event) for event in finish(resume_run("run"))] == [StartEvent, DoneEvent]
    assert outcome(Path("run")) == whole()


@pytest.mark.parametrize("stop_at", [5, 99])
def test_a_run_that_another_process_trained_since_it_was_opened_ends_the_same(stop_at):
    """The other saved and released the run after its checkpoint was read, and before the lock."""
    finish(start("run", stop_at=2))
    late, other = resume_run("run"), resume_run("run")
    other.should_stop = lambda: other.state.step >= stop_at
    finish(other)
    finish(late)
    assert outcome(Path("run")) == whole()


def test_a_run_whose_length_another_process_changed_since_it_was_opened_has_the_new_length():
    finish(start("run", stop_at=2))
    late, other = resume_run("run"), resume_run("run")
    other.should_stop = lambda: other.state.step >= 3
    finish(other)
    other.change_plan(other.plan.change(3, 5))
    assert finish(late)[-1].step == 5
    assert late.folder.read_plan() == late.plan == other.plan


def test_a_finished_run_is_not_resumed_unless_its_last_checkpoint_is_damaged():
    run = trained("run", **EVERYTHING)
    assert resume_run(run) is None
    flip_a_bit(run / "checkpoints/step-8/model.safetensors")
    finish(resume_run(run))
    assert outcome(run) == whole(**EVERYTHING)
    assert resume_run(run) is None


@pytest.mark.parametrize("missing", ["cache", "text"])
def test_a_run_resumes_from_its_text_or_from_the_cache(missing, monkeypatch, tmp_path):
    finish(start("stopped", stop_at=3, **EVERYTHING))
    if missing == "cache":
        monkeypatch.setenv("NANOGPT_CACHE", str(tmp_path / "another"))
    else:
        Path("tale.txt").rename("elsewhere.txt")
    finish(resume_run("stopped"))
    assert outcome(Path("stopped")) == whole(**EVERYTHING)


@pytest.mark.parametrize("change", [lambda text: text[::-1], lambda text: "another alphabet, entirely!?" * 40])
def test_a_run_does_not_resume_on_another_text(change, monkeypatch, tmp_path):
    finish(start("stopped", stop_at=3))
    monkeypatch.setenv("NANOGPT_CACHE", str(tmp_path / "another"))
    Path("tale.txt").write_text(change(Path("tale.txt").read_text()))
    refuses(lambda: resume_run("stopped"), "tale.txt", "'stopped'", "changed")


@pytest.mark.parametrize(
    ("change", "word", "largest"),
    [
        (lambda text: text.touch(), None, 10**6),
        (lambda text: text.write_text(text.read_text()[::-1]), "has changed", 10**6),
        (lambda text: text.write_text(text.read_text() + "more"), "may have changed", 10),
        (lambda text: text.rename(text.with_name("old.txt")), None, 10),
        (lambda text: None, None, 10),
        (lambda text: text.write_text(""), "cannot be read", 10**6),
        (lambda text: text.write_bytes(b"caf\xe9"), "cannot be read", 10**6),
    ],
)
def test_a_text_that_changed_is_reported_and_the_training_goes_on(change, word, largest, monkeypatch):
    monkeypatch.setattr("nanogpt.runs.texts.READ_AGAIN", largest)
    uninterrupted = whole(**EVERYTHING)  # on the text as it was
    finish(start("stopped", stop_at=3, **EVERYTHING))
    change(Path("tale.txt"))
    resumed = resume_run("stopped")
    assert [word in note and "tale.txt" in note for note in resumed.notes] == ([True] if word else [])
    finish(resumed)
    assert outcome(Path("stopped")) == uninterrupted


# Checkpoints by the clock


@pytest.fixture
def slow_steps(monkeypatch):
    """Let every step take a number of seconds, by the clock that decides when to save."""

    def set_(seconds):
        now, original = [1000.0], TrainStep.__call__

        def step(self, *given):
            now[0] += seconds
            return original(self, *given)

        clock = SimpleNamespace(perf_counter=time.perf_counter, monotonic=lambda: now[0])
        monkeypatch.setattr(training, "time", clock)
        monkeypatch.setattr(TrainStep, "__call__", step)

    return set_


def saved(events):
    return [event.step for event in of_kind(events, CheckpointEvent)]


def test_a_checkpoint_follows_ten_minutes_after_the_last_one(slow_steps):
    settings = {"steps": 13, "eval_every": 10, "dropout": 0.1, "log_every": 4}
    expected = whole(**settings)
    slow_steps(SAVE_SECONDS / 3 + 1)
    trainer = start("run", **settings)
    assert saved(finish(trainer)) == [0, 3, 6, 9, 10, 13]
    assert set(trainer.folder.checkpoints.steps()) == {10, 13, trainer.state.best_step}
    assert outcome(Path("run")) == expected


def test_a_skipped_evaluation_delays_no_checkpoint(slow_steps):
    slow_steps(SAVE_SECONDS / 2)
    trainer = start("run", eval_every=2)
    trainer.pace = ScriptedPace(skipped=range(99))
    assert saved(finish(trainer)) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize("kind", [CheckpointEvent, StopEvent])
def test_a_run_resumes_from_a_checkpoint_of_the_clock(slow_steps, kind):
    settings = EVERYTHING | {"steps": 9, "eval_every": 8}
    expected = whole(**settings)
    slow_steps(SAVE_SECONDS / 5)
    trainer = start("run", **settings, stop_at=5 if kind is StopEvent else None)
    seen = kill(trainer, lambda event: isinstance(event, kind) and event.step == 5)
    assert saved(seen) == [0, 5]  # at the stop it is not written again
    assert finish(resume_run("run"))[0].step == 5
    assert outcome(Path("run")) == expected


# Blocks of your own


class Parallel(Block):
    """Attention and feed-forward network next to each other."""

    def forward(self, x, *rest):
        return x + self.attention(self.attention_norm(x), *rest) + self.mlp(self.mlp_norm(x))


class WithoutMLP(Block):
    """Attention alone: the feed-forward network is there, and no loss reaches it."""

    def forward(self, x, *rest):
        return x + self.attention(self.attention_norm(x), *rest)


@pytest.mark.parametrize("block", [Parallel, WithoutMLP])
def test_your_own_block_is_trained_resumed_and_required(block):
    run = trained("whole", block=block, init="scaled")
    finish(start("stopped", block=block, init="scaled", stop_at=3))
    finish(resume_run("stopped", block=block))
    assert outcome(Path("stopped")) == outcome(run)
    assert load(run, block=block).evaluate().loss == logged(run, "done")[0]["loss"]
    assert weights(run) != whole(init="scaled")[0]
    # A block that has no parameters itself would load into the wrong model without an error.
    for other in (Block, Parallel if block is WithoutMLP else WithoutMLP):
        refuses(lambda other=other: load(run, block=other), block.__name__)


# A plan that changes


def changing(out, lengths, steps=12, **settings):
    trainer = start(out, steps=steps, **EVERYTHING | settings)
    trainer.pace = ScriptedPace(lengths)
    return trainer


@pytest.mark.parametrize("lengths", [{4: 9}, {3: 15, 10: 13}, {5: 2}, {5: 5}], ids=str)
def test_a_run_whose_length_changes_is_repeated_exactly(lengths):
    live = changing("live", lengths)
    events = finish(live)
    end = max(list(lengths.values())[-1], list(lengths)[-1])
    assert [event.step for event in of_kind(events, PlanEvent)] == list(lengths)
    assert (type(events[-1]), events[-1].step, live.folder.checkpoints.pointer("last")) == (DoneEvent, end, end)
    # A run that has all changes from the start, like one killed before its first checkpoint.
    replay = start("replay", steps=12, **EVERYTHING)
    replay.folder.write_plan(live.plan)
    finish(resume_run("replay"))
    assert weights(Path("replay")) == weights(Path("live"))
    assert metrics(Path("replay"))[-1] == metrics(Path("live"))[-1]
    if lengths == {4: 9}:  # else a step at the end is logged that the live run made before the change
        kill(changing("killed", lengths), lambda event: isinstance(event, PlanEvent))
        finish(resume_run("killed"))
        assert outcome(Path("killed")) == outcome(Path("live"))


def test_the_learning_rate_follows_a_change():
    finish(changing("live", {4: 6}, log_every=1, warmup=0.0, decay=1.0, learning_rate=1e-3))
    rates = [line["learning_rate"] * 1e3 for line in logged("live", "step")]
    assert rates == pytest.approx([1, 11 / 12, 10 / 12, 9 / 12, 8 / 12, 4 / 12])


def test_a_skipped_evaluation_is_recorded_and_skipped_again():
    for out in ("whole", "stopped"):
        trainer = start(out, eval_every=2, stop_at=5 if out == "stopped" else None)
        trainer.pace = ScriptedPace(skipped=(2, 4, 8))  # never the last one
        evaluated = [event.step for event in of_kind(finish(trainer), EvalEvent)]
        assert evaluated == ([0, 6, 8] if out == "whole" else [0])
        assert trainer.folder.read_plan().left_out == trainer.plan.left_out == (2, 4)
    finish(resume_run("stopped"))
    assert outcome(Path("stopped")) == outcome(Path("whole"))


# The best checkpoint, patience


@pytest.fixture
def scripted_losses(monkeypatch):
    """Let evaluations on the way find these losses."""

    def set_(*losses):
        script = iter(losses)

        def fake(model, ids, tokenizer, max_tokens=None, world=None):
            result = evaluate(model, ids, tokenizer, max_tokens)
            return result if max_tokens is None else replace(result, loss=next(script))

        monkeypatch.setattr(training, "evaluate", fake)

    return set_


def test_the_best_checkpoint_is_the_one_with_the_lowest_loss(scripted_losses):
    scripted_losses(3.0, 2.0, 1.0, 1.5, 1.0, 2.5)
    events = finish(start("run", steps=5, eval_every=1))
    assert [event.best for event in of_kind(events, EvalEvent)] == [False, True, True, False, False, False]
    assert (events[-1].best_step, events[-1].early) == (2, False)
    best, last = load("run"), load("run", checkpoint="last")
    assert (best.step, last.step) == (2, 5)
    assert events[-1].evaluation.loss == best.evaluate().loss != last.evaluate().loss


@pytest.mark.parametrize("stop_at", [None, 4, 13])
def test_patience_counts_across_an_interruption(scripted_losses, stop_at):
    scripted_losses(3.0, 2.0, 2.5, 1.5, 1.7, 1.6, 1.4)
    events = finish(start("run", steps=100, eval_every=3, patience=2, stop_at=stop_at))
    if stop_at is not None:
        events = finish(resume_run("run"))
    assert events[-1].step == 15  # 1.7 at step 12, 1.6 at step 15
    assert (events[-1].best_step, events[-1].early) == (9, True)
    assert logged("run", "done")[0]["early"] is True
    assert resume_run("run") is None


# Threads, precision, compilation: recorded in the plan, or no part of the result


def test_the_number_of_threads_is_recorded_and_restored(monkeypatch):
    original, seen = TrainStep.__call__, []

    def step(self, *given):
        seen.append(torch.get_num_threads())
        return original(self, *given)

    monkeypatch.setattr(TrainStep, "__call__", step)
    finish(start("run", stop_at=3, threads=2))
    finish(resume_run("run"))
    assert (seen, torch.get_num_threads()) == ([2] * 8, 1)
    assert RunFolder("run").read_plan().threads == 2
    assert start("other").plan.threads == 1  # torch's own number


@pytest.mark.parametrize("chosen", ["float32", "bfloat16"])
def test_the_precision_chosen_at_first_is_kept(monkeypatch, chosen):
    def prefer(choice):
        pick = lambda device, name="auto": choice if name == "auto" else name  # noqa: E731
        for module in ("new_run", "trainer"):
            monkeypatch.setattr(f"nanogpt.training.{module}.pick_precision", pick)

    prefer(chosen)
    finish(start("whole", precision="auto"))
    first = start("run", stop_at=3, precision="auto")
    finish(first)
    assert first.plan.precision == first.train_step.precision == chosen
    prefer("bfloat16" if chosen == "float32" else "float32")  # as on another machine
    resumed = resume_run("run")
    assert resumed.train_step.precision == chosen
    finish(resumed)
    assert outcome(Path("run")) == outcome(Path("whole"))


@pytest.mark.slow
def test_a_run_with_two_threads_resumes_exactly():
    settings = {"threads": 2, "n_embd": 96, "block_size": 48, "batch_size": 16} | EVERYTHING
    write_text("tale.txt", 5000)
    assert outcome(stopped_and_resumed("stopped", 5, **settings)) == outcome(trained("whole", **settings))


def test_a_compilation_that_fails_is_noted_and_changes_nothing(monkeypatch):
    expected = whole(compile="off", dropout=0.2)[0]
    monkeypatch.setattr(torch, "compile", lambda model, **options: lambda x: 1 / 0)
    notes = of_kind(finish(start("compiled", compile="on", dropout=0.2)), NoteEvent)
    assert sum("division by zero" in note.text for note in notes) == 1
    assert weights(Path("compiled")) == expected


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler here")
def test_a_compiled_run_resumes_in_another_process_to_the_same_bytes():
    settings = EVERYTHING | {"steps": 7, "eval_every": 3}
    events = finish(start("whole", compile="on", **settings))
    assert not [event for event in of_kind(events, NoteEvent) if "compile" in event.text]
    plain = finish(start("plain", compile="off", **settings))
    assert events[-1].evaluation.loss == pytest.approx(plain[-1].evaluation.loss, abs=1e-3)
    finish(start("stopped", stop_at=4, compile="on", **settings))
    subprocess.run([sys.executable, "-m", "nanogpt", "train", "--resume", "stopped"], check=True, capture_output=True)
    assert outcome(Path("stopped")) == outcome(Path("whole"))


# Several processes


def train_together(world):
    """Return what this process wrote, the checkpoints, and the errors of a locked run and of a lost folder."""
    training.SAVE_SECONDS = 0.0 if world.main else math.inf  # the main process's clock decides for all
    written, errors = [], []
    for name in ("append_metrics", "cut_metrics", "write_plan"):
        call = getattr(RunFolder, name)
        setattr(RunFolder, name, lambda *given, name=name, call=call: [written.append(name), call(*given)][1])

    def refused(events):
        try:
            finish(SimpleNamespace(events=lambda: events))
        except UserError as error:
            errors.append((type(error).__name__, str(error)))

    settings = SMALL_RUN | {"batch_size": 2}
    events = start_run("tale.txt", steps=3, out="run", world=world, **settings).events()
    seen = [next(events)]
    refused(resume_run("run", world=world).events())
    seen += events
    lost = start_run("tale.txt", steps=3, out="lost", world=world, **settings).events()
    next(lost)
    world.on_main(lambda: str(Path("lost").rename("elsewhere")))
    refused(lost)
    return saved(seen), set(written), errors


@pytest.mark.slow
def test_the_main_process_saves_writes_and_reports_for_all():
    write_text()
    (one, written, reported), (other, nothing, elsewhere) = together(2, train_together)
    assert one == other == [0, 1, 2, 3]
    assert written == {"append_metrics", "write_plan"}
    assert nothing == set()
    assert [kind for kind, _ in reported] == ["UserError"] * 2
    assert [kind for kind, _ in elsewhere] == ["ReportedElsewhere"] * 2
    assert "another process is training 'run'" in reported[0][1]
    assert "'lost'" in reported[1][1]
