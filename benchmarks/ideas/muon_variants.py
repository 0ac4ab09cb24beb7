"""Muon otherwise: its momentum rising at the beginning, or lower, and fewer Newton-Schulz iterations.

All from Jordan et al. 2024 ("Muon") and KellerJordan/modded-nanogpt, whose momentum rises from 0.85 to 0.95 over 300
steps. Fewer iterations cost less, and leave the update further from orthogonal. The model is the base's own kind.
"""

from functools import partial
from unittest import mock

from torch import Tensor

from benchmarks.ideas.idea import Idea, Update, wrap_update
from nanogpt.optim import muon
from nanogpt.training.trainer import Trainer


def raise_momentum(trainer: Trainer, first: float = 0.85, last: float = 0.95, steps: int = 300) -> None:
    """Muon's momentum rises in a line over the first steps."""

    def update(before: Update, step: int, rate: float) -> Tensor:
        for part in trainer.stepper.optimizer.parts:
            if isinstance(part, muon.Muon):
                part.momentum = first + (last - first) * min(1.0, step / steps)
        return before(step, rate)

    wrap_update(trainer.stepper, update)


def iterate(trainer: Trainer, iterations: int) -> None:
    """Make Muon's updates orthogonal in so many iterations, in this training alone."""
    fewer = partial(muon.orthogonalise, iterations=iterations)

    def update(before: Update, step: int, rate: float) -> Tensor:
        with mock.patch.object(muon, "orthogonalise", fewer):
            return before(step, rate)

    wrap_update(trainer.stepper, update)


IDEAS = (
    Idea(name="momentum from 0.85 to 0.95", in_qwen3=True, change=raise_momentum),
    Idea(name="momentum 0.9", in_qwen3=True, settings={"momentum": 0.9}),
    Idea(name="three Newton-Schulz iterations", in_qwen3=True, change=partial(iterate, iterations=3)),
    Idea(name="four Newton-Schulz iterations", in_qwen3=True, change=partial(iterate, iterations=4)),
)
