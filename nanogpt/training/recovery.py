"""What a training does when it diverges or runs out of memory."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from nanogpt.errors import Diverged, UserError
from nanogpt.reporting.events import Event, NoteEvent, RollbackEvent
from nanogpt.runs.plan import MicroBatch, Plan, Rollback
from nanogpt.training.trainer import Trainer

ROLLBACKS = 3
"""Number of rollbacks after which a run that diverges again stops."""
ROLLBACK_FACTOR = 0.5
SMALLER_MODEL = (
    "choose a smaller model (--n-layer, --n-embd, --block-size), or close other programs and continue with --resume"
)


def roll_back(trainer: Trainer, error: Diverged) -> Iterator[Event]:
    """Go back to the last checkpoint and halve the learning rate; raise UserError if that is off or used up."""
    config, times = trainer.config.train, len(trainer.plan.rollbacks)
    asked = config.on_divergence == "rollback"
    if not asked or trainer.saved_step is None or times == ROLLBACKS:
        saved = "nothing was saved yet" if trainer.saved_step is None else "the last checkpoint is from before"
        lowered = f", and {config.learning_rate * ROLLBACK_FACTOR**times:g} after {times} rollbacks" if times else ""
        advice = "" if asked else ", or with --on-divergence rollback, which goes back and lowers it by itself"
        raise UserError(
            f"{error}; {saved}. Train again with a lower --learning-rate (it was {config.learning_rate:g}"
            f"{lowered}){advice}"
        ) from None
    checkpoint = trainer.find_checkpoint("last")
    assert checkpoint is not None
    rollback = Rollback(step=checkpoint.state.step, failed=error.step, factor=ROLLBACK_FACTOR)
    trainer.change_plan(rolled_back(trainer.plan, rollback))
    trainer.load_checkpoint(checkpoint)
    for note in checkpoint.notes:
        yield NoteEvent(step=trainer.state.step, text=note)
    factor = trainer.plan.lr_factor(trainer.state.step)
    yield RollbackEvent(step=trainer.state.step, failed=error.step, rate_factor=factor)


def rolled_back(plan: Plan, rollback: Rollback) -> Plan:
    """Return a plan after a rollback; changes of the length after its step are dropped.

    >>> plan = rolled_back(Plan(text="t", source="t", data_key="k", steps=10), Rollback(step=4, failed=7, factor=0.5))
    >>> [plan.lr_factor(step) for step in (3, 4, 9)]
    [1.0, 0.5, 0.5]
    """
    changes = tuple(change for change in plan.changes if change.step <= rollback.step)
    return replace(plan, changes=changes, rollbacks=(*plan.rollbacks, rollback))


def shrink_micro_batch(trainer: Trainer, in_step: bool) -> Iterator[Event]:
    """Halve the micro-batch after memory ran out in the forward or backward pass of a step.

    Raises UserError for one sequence, while other processes wait, and where memory ran out elsewhere.
    """
    if not in_step:
        raise UserError(f"out of memory after step {trainer.state.step}: {SMALLER_MODEL}")
    step, size = trainer.state.step, trainer.train_step.micro_batch
    batch = trainer.config.train.batch_sequences
    if trainer.world.size > 1:
        smaller = max(1, size // 2)
        raise UserError(
            f"process {trainer.world.rank} ran out of memory at step {step}: train a new run with --batch-size "
            f"{smaller} and --accumulation {-(-batch // smaller)}"
        )
    if size == 1:
        raise UserError(f"out of memory at step {step} with one sequence at a time: {SMALLER_MODEL}")
    smaller_batches = (*trainer.plan.micro_batches, MicroBatch(step=step, size=size // 2))
    trainer.change_plan(replace(trainer.plan, micro_batches=smaller_batches))
    device = trainer.train_step.device.type
    if device in ("cuda", "mps"):  # free what the allocator keeps for tensors of other sizes
        getattr(torch, device).empty_cache()
    text = f"out of memory at step {step}: from here on {size // 2} sequences at a time, still {batch} in a step"
    yield NoteEvent(step=step, text=text)
