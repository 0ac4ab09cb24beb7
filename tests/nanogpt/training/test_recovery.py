"""Divergence and memory that runs out: the run stops with advice or continues, and is repeated exactly."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import (
    finish,
    flip_a_bit,
    kill,
    metrics,
    of_kind,
    outcome,
    raising,
    refuses,
    resume_run,
    start,
    tiny_config,
    token_ids,
    weights,
)

from nanogpt.data.tokenize import Dataset
from nanogpt.errors import OutOfMemory, is_out_of_memory
from nanogpt.parallel.world import ALONE
from nanogpt.reporting.events import CheckpointEvent, DoneEvent, NoteEvent, RollbackEvent
from nanogpt.runs.checkpoint import damage
from nanogpt.runs.plan import MicroBatch, Rollback
from nanogpt.runs.run import load
from nanogpt.training import trainer as training
from nanogpt.training.new_run import create_folder
from nanogpt.training.trainer import TrainStep, build_model

# Divergence


@pytest.fixture
def diverging(monkeypatch):
    """Multiply the loss and norm of one step, wherever its learning rate is above a value."""

    def set_(at, above=0.0, factor=math.nan):
        original = TrainStep.__call__

        def step(self, step, lr):
            return original(self, step, lr) * (factor if step == at and lr > above else 1)

        monkeypatch.setattr(TrainStep, "__call__", step)

    return set_


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("log_every", [1, 4, 100])
@pytest.mark.parametrize("at", [0, 5])
def test_a_loss_that_is_not_finite_stops_the_run(diverging, value, log_every, at):
    diverging(at, factor=value)
    trainer = start("run", steps=9, eval_every=3, log_every=log_every, warmup=0.0)
    refuses(lambda: finish(trainer), f"at step {at} the loss became {value}", "--learning-rate (it was 0.03)")
    assert load("run", checkpoint="last").step == (0 if at == 0 else 3)
    assert not trainer.folder.done()


def test_a_gradient_that_is_not_finite_stops_the_run(diverging):
    diverging(0, above=-1.0, factor=torch.tensor([1, math.inf]))
    refuses(lambda: finish(start("run")), "the gradient's norm became inf")


@pytest.mark.parametrize("eval_every", [1, 4])
def test_a_learning_rate_far_too_high_harms_no_checkpoint(eval_every):
    settings = {"learning_rate": 1e38, "warmup": 0.0, "grad_clip": math.inf, "eval_every": eval_every}
    refuses(lambda: finish(start("run", preset="gpt2", **settings)), "--learning-rate")
    for checkpoint in ("last", "best"):
        run = load("run", checkpoint=checkpoint)
        assert all(torch.isfinite(p).all() for p in run.model.parameters())
        assert math.isfinite(run.evaluate().loss)


def fail_evaluation(monkeypatch, *failing):
    """Make the evaluations with these numbers find an infinite loss."""
    real, calls = training.evaluate, []

    def fake(*given):
        calls.append(given)
        result = real(*given)
        return replace(result, loss=math.inf) if len(calls) - 1 in failing else result

    monkeypatch.setattr(training, "evaluate", fake)


def test_no_checkpoint_is_promised_where_none_was_saved(monkeypatch):
    fail_evaluation(monkeypatch, 0)
    message = refuses(lambda: finish(start("run", on_divergence="rollback")), "after step 0")
    assert "checkpoint" not in message


BACK = {"steps": 11, "eval_every": 3, "on_divergence": "rollback", "learning_rate": 1e-3, "warmup": 0.0, "decay": 0.0}


@pytest.mark.parametrize("log_every", [1, 4])
def test_a_rollback_halves_the_learning_rate(diverging, log_every):
    diverging(7, above=3e-4)
    trainer = start("run", log_every=log_every, dropout=0.1, **BACK)
    events = finish(trainer)
    back = of_kind(events, RollbackEvent)
    assert [(event.step, event.failed, event.rate_factor) for event in back] == [(6, 7, 0.5), (6, 7, 0.25)]
    assert isinstance(events[-1], DoneEvent)
    assert trainer.folder.read_plan().rollbacks == (Rollback(step=6, failed=7, factor=0.5),) * 2
    lines = metrics(Path("run"))
    rates = {line["step"]: line["learning_rate"] for line in lines if line["event"] == "step"}
    assert all(rate == (1e-3 if step <= 6 else 2.5e-4) for step, rate in rates.items())
    steps = [line["step"] for line in lines]
    assert steps == sorted(steps)  # what was logged of the failed attempt is gone


@pytest.mark.parametrize(
    ("at", "evaluation", "back"), [(0, None, (0, 0)), (7, None, (6, 7)), (None, 2, (3, 6))], ids=str
)
def test_a_rollback_goes_to_the_last_checkpoint(diverging, monkeypatch, at, evaluation, back):
    diverging(at, above=6e-4)
    fail_evaluation(monkeypatch, evaluation)
    events = finish(start("run", **BACK))
    assert [(event.step, event.failed) for event in of_kind(events, RollbackEvent)] == [back]
    assert isinstance(events[-1], DoneEvent)


def test_a_run_with_a_rollback_is_repeated_exactly(diverging):
    """By its plan, and by a run that was killed at the moment of the rollback."""
    diverging(7, above=6e-4)
    first = start("first", dropout=0.1, **BACK)
    finish(first)
    replay = create_folder("replay")
    replay.write_config(first.folder.read_config())
    replay.write_plan(first.folder.read_plan())
    replay.write_tokenizer(first.tokenizer)
    kill(start("killed", dropout=0.1, **BACK), lambda event: isinstance(event, RollbackEvent))
    for out in ("replay", "killed"):
        finish(resume_run(out))
        assert outcome(Path(out)) == outcome(Path("first"))


def test_a_run_goes_back_three_times_at_most(diverging):
    diverging(7)
    trainer = start("run", **BACK)
    message = refuses(lambda: finish(trainer), "at step 7 the loss became nan", "0.000125 after 3 rollbacks")
    assert "--on-divergence" not in message
    assert len(trainer.folder.read_plan().rollbacks) == 3
    assert load("run", checkpoint="last").step == 6


def test_a_rollback_skips_a_damaged_checkpoint_with_a_note(diverging, monkeypatch):
    diverging(7, above=6e-4)
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
    notes = [event.text for event in of_kind(events, NoteEvent)][-2:]
    assert "step-6/model.safetensors is damaged" in notes[0]
    assert "step 3" in notes[1]
    assert isinstance(events[-1], DoneEvent)


# Out of memory


CPU = "[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
ERRORS = [RuntimeError(CPU), RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes")]
ERRORS += [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")]


@pytest.fixture
def memory(monkeypatch):
    """Limit the sequences that fit at once from a step on; return a list of (step, sequences) that were computed."""
    seen = []

    def limit(sequences, error=ERRORS[0], since=0):
        original = TrainStep.loss

        def loss(self, forward, step, samples):
            seen.append((step, len(samples)))
            if step >= since and len(samples) > sequences:
                raise error
            return original(self, forward, step, samples)

        monkeypatch.setattr(TrainStep, "loss", loss)
        return seen

    return limit


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        *((error, True) for error in ERRORS),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError("not enough memory"), False),
    ],
    ids=repr,
)
def test_errors_of_memory_are_told_from_others(error, expected):
    assert is_out_of_memory(error) is expected


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_micro_batch_is_halved_until_it_fits(memory, error):
    seen = memory(2, error)
    trainer = start("run", steps=2, batch_size=7, accumulation=2)
    notes = [event.text for event in of_kind(finish(trainer), NoteEvent) if "memory" in event.text]
    assert trainer.plan.micro_batches == (MicroBatch(step=0, size=3), MicroBatch(step=0, size=1))
    assert [word in notes[-1] for word in ("step 0", "1 sequences", "14")] == [True] * 3
    assert [size for step, size in seen if step == 1] == [1] * 14


def test_a_resumed_run_follows_the_recorded_micro_batch(memory):
    settings = {"steps": 9, "batch_size": 8}
    seen = memory(4, since=3)
    finish(start("whole", **settings))
    finish(start("stopped", stop_at=5, **settings))
    del seen[:]
    resumed = resume_run("stopped")
    assert resumed.plan.micro_batches == (MicroBatch(step=3, size=4),)
    assert not of_kind(finish(resumed), NoteEvent)
    assert {size for _, size in seen} == {4}
    assert outcome(Path("stopped")) == outcome(Path("whole"))


def test_a_run_replayed_from_its_start_computes_each_step_as_it_was(memory):
    """Killed before its first checkpoint after the change: steps before it use the larger micro-batch again."""
    settings = {"steps": 6, "batch_size": 8, "eval_every": 6}
    memory(4, since=3)
    finish(start("whole", **settings))
    trainer = start("killed", **settings)
    kill(trainer, lambda event: isinstance(event, NoteEvent) and "memory" in event.text)
    assert trainer.folder.read_plan() == trainer.plan
    finish(resume_run("killed"))
    assert weights(Path("killed")) == weights(Path("whole"))


def test_one_sequence_too_many(memory):
    memory(0)
    refuses(lambda: finish(start("run", batch_size=2)), "at step 0", "one sequence", "--n-layer", "--resume")


def test_a_smaller_batch_does_not_help_an_optimizer(monkeypatch):
    trainer = start("run")
    monkeypatch.setattr(trainer.train_step.optimizers[0], "step", raising(RuntimeError(CPU)))
    refuses(lambda: finish(trainer), "out of memory after step 0", "--n-layer")
    assert trainer.plan.micro_batches == ()


def test_a_failed_step_leaves_no_gradient_and_no_update(memory):
    config = tiny_config(batch_size=4)
    ids = token_ids(200).numpy()
    train_step = TrainStep(build_model(config), config.train, Dataset(train=ids, val=ids, key="k"), ALONE)
    train_step.micro_batch = 3
    train_step.micro_steps = lambda: [range(1), range(1, 4)]  # the first one has a gradient when the second fails
    before = [p.clone() for p in train_step.model.parameters()]
    seen = memory(1)
    with pytest.raises(OutOfMemory):
        train_step(0, 0.1)
    assert seen == [(0, 1), (0, 3)]
    assert all(p.grad is None for p in train_step.model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, train_step.model.parameters()))


def test_other_errors_of_a_step_are_not_caught(memory):
    memory(0, error=RuntimeError("inconsistent sizes"))
    with pytest.raises(RuntimeError, match="inconsistent"):
        finish(start("run"))
