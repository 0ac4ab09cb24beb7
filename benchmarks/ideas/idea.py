"""What an idea is, and the ways in which one is put into the library's training from outside."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import Tensor

from nanogpt.training.step import Stepper
from nanogpt.training.trainer import Trainer

Forward = Callable[..., Tensor]
Loss = Callable[[Forward, int, Sequence[int]], Tensor]
"""The mean loss of some samples of a step, by what computes logits (B, T, V) of ids (B, T): `Stepper`'s own."""
Update = Callable[[int, float], Tensor]
"""Update number so many, at a learning rate: `Stepper.step`."""


@dataclass(frozen=True, kw_only=True)
class Idea:
    """Something that might help, and what is changed to try it."""

    name: str
    """what a table calls it"""
    in_qwen3: bool
    """whether a model that was trained with it is still exactly a Qwen3"""
    settings: dict[str, Any] = field(default_factory=dict)
    """of `nanogpt.config`, that differ from the base's"""
    change: Callable[[Trainer], None] | None = None
    """done to the training before its first step"""


def wrap_loss(stepper: Stepper, around: Callable[[Loss, Forward, int, Sequence[int]], Tensor]) -> None:
    """Have the loss of some samples computed by `around`, which is given the loss as it was and its arguments."""
    stepper._loss = partial(around, stepper._loss)  # type: ignore[method-assign]


def wrap_update(stepper: Stepper, around: Callable[[Update, int, float], Tensor]) -> None:
    """Have updates made by `around`, which is given the update as it was and its arguments."""
    stepper.step = partial(around, stepper.step)  # type: ignore[method-assign]


def learn_like(stepper: Stepper, known: Tensor, new: Sequence[Tensor]) -> None:
    """Give new weights to the optimizer, with the settings that a known one has."""
    part = stepper.optimizer.owner(known)
    group = next(group for group in part.groups if any(p is known for p in group.parameters))
    part.groups.append(replace(group, parameters=list(new)))


def progress(trainer: Trainer, step: int) -> float:
    """The share of the run that is over when a step begins."""
    return step / trainer.plan.total_steps
