"""Memory runs out in the middle of a training: smaller micro-batches, the same samples, the same run when resumed."""

from pathlib import Path

import pytest
import torch
from nanogpt.training.launch import resume_run
from tiny import finish, outcome, refuses, start, tiny_config, token_ids, weights

from nanogpt.data.batches import Dataset
from nanogpt.parallel.devices import OutOfMemory, is_out_of_memory
from nanogpt.reporting.events import NoteEvent
from nanogpt.runs.plan import MicroBatch
from nanogpt.runs.weights import load_file
from nanogpt.training.trainer import TrainStep, build_model

CPU = "[enforce fail at alloc_cpu.cpp:114] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
ERRORS = [RuntimeError(CPU), RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes")]
ERRORS += [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")]


@pytest.fixture
def memory(monkeypatch):
    """A machine on which so many sequences fit at once from a step on; tells what it was asked to compute."""
    seen = []

    def fits(sequences, error=ERRORS[0], since=0):
        original = TrainStep._loss

        def loss(self, forward, step, samples):
            seen.append((step, len(samples)))
            if step >= since and len(samples) > sequences:
                raise error
            return original(self, forward, step, samples)

        monkeypatch.setattr(TrainStep, "_loss", loss)
        return seen

    return fits


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_known_whatever_its_class(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), OSError("not enough memory")]
)
def test_other_errors_are_not(error):
    assert not is_out_of_memory(error)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_the_micro_batch_is_halved_until_it_fits(memory, error):
    seen = memory(2, error)
    trainer = start("run", steps=2, batch_size=7, accumulation=2)
    notes = [event.text for event in finish(trainer) if isinstance(event, NoteEvent) and "memory" in event.text]
    assert trainer.plan.micro_batches == (MicroBatch(step=0, size=3), MicroBatch(step=0, size=1))
    assert notes[-1] == "out of memory at step 0: from here on 1 sequences at a time, still 14 in a step"
    assert [size for step, size in seen if step == 1] == [
        1
    ] * 14  # an uneven share of 14 among micro-steps of at most 3


def test_the_same_weights_but_for_rounding(memory):
    settings = {"steps": 5, "batch_size": 8, "dropout": 0.2, "preset": "gpt2"}
    finish(start("whole", **settings))
    memory(4, since=3)
    finish(start("cut", **settings))
    files = [Path(name, "checkpoints/step-5/model.safetensors") for name in ("whole", "cut")]
    whole, cut = map(load_file, files)
    for name, weight in whole.items():
        torch.testing.assert_close(cut[name], weight, rtol=1e-4, atol=1e-5)


def test_the_change_is_recorded_and_a_resumed_run_goes_by_it(memory):
    settings = {"steps": 9, "batch_size": 8}
    memory(4, since=3)
    finish(start("whole", **settings))
    stopped = start("stopped", stop_at=5, **settings)
    finish(stopped)
    seen = memory(4, since=3)
    del seen[:]
    resumed = resume_run("stopped")
    assert resumed.plan.micro_batches == (MicroBatch(step=3, size=4),)
    events = finish(resumed)
    assert not [event for event in events if isinstance(event, NoteEvent)]
    assert {size for _, size in seen} == {4}
    assert outcome(Path("stopped")) == outcome(Path("whole"))


def test_a_run_that_is_replayed_from_its_start_computes_each_step_as_it_was(memory):
    """Killed before its first checkpoint after the change: steps before it are read as they were."""
    settings = {"steps": 6, "batch_size": 8, "eval_every": 6}
    memory(4, since=3)
    finish(start("whole", **settings))
    trainer = start("killed", **settings)
    for event in trainer.events():
        if isinstance(event, NoteEvent) and "memory" in event.text:
            break
    assert trainer.folder.read_plan() == trainer.plan
    finish(resume_run("killed"))
    assert weights(Path("killed")) == weights(Path("whole"))


def test_one_sequence_too_many(memory):
    memory(0)
    trainer = start("run", batch_size=2)
    refuses(lambda: finish(trainer), "at step 0", "one sequence at a time", "--n-layer", "--resume")


def test_no_smaller_batch_helps_an_optimizer(monkeypatch):
    trainer = start("run")

    def step(step, rate):
        raise RuntimeError(CPU)

    monkeypatch.setattr(trainer.stepper.optimizer, "step", step)
    refuses(lambda: finish(trainer), "out of memory after step 0", "optimizer", "--n-layer")
    assert trainer.plan.micro_batches == ()


def test_a_failed_step_leaves_nothing(monkeypatch):
    config = tiny_config(batch_size=4)
    ids = token_ids(200).numpy()
    stepper = TrainStep(build_model(config), config.train, Dataset(train=ids, val=ids, key="k"))
    stepper.micro_batch = 2
    before = [p.clone() for p in stepper.model.parameters()]
    original = TrainStep._loss
    calls = []

    def loss(self, forward, step, samples):
        calls.append(samples)
        if len(calls) == 2:  # the first half has a gradient by now
            raise RuntimeError(CPU)
        return original(self, forward, step, samples)

    monkeypatch.setattr(TrainStep, "_loss", loss)
    with pytest.raises(OutOfMemory):
        stepper.step(0, 0.1)
    assert all(p.grad is None for p in stepper.model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, stepper.model.parameters()))


def test_other_failures_of_a_step_are_ours(monkeypatch):
    trainer = start("run")
    monkeypatch.setattr(TrainStep, "_loss", lambda *_: torch.ones(2) @ torch.ones(3))
    with pytest.raises(RuntimeError, match=r"inconsistent|size"):
        finish(trainer)
