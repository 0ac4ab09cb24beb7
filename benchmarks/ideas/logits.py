"""Logits kept small: a soft cap, c tanh(x / c), and z-loss, a small charge for the logarithm of softmax's denominator.

The cap is Gemma 2's (Riviere et al. 2024), also in KellerJordan/modded-nanogpt; z-loss is PaLM's (Chowdhery et al.
2022, 5), with its weight of 1e-4. Qwen3 has no cap; z-loss leaves the model what it is.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks.ideas.idea import Forward, Idea, Loss, wrap_loss
from nanogpt.training.trainer import Trainer


def cap_logits(trainer: Trainer, cap: float) -> None:
    """Bend logits so that none is beyond ± cap, in training and in evaluation."""
    trainer.model.lm_head.register_forward_hook(lambda module, words, x: cap * torch.tanh(x / cap))


def charge_denominators(trainer: Trainer, weight: float = 1e-4) -> None:
    """Add weight times the mean of (log sum exp logits)^2 to the loss."""

    def loss(before: Loss, forward: Forward, step: int, samples: Sequence[int]) -> Tensor:
        seen: list[Tensor] = []

        def kept(ids: Tensor) -> Tensor:
            seen.append(forward(ids))
            return seen[-1]

        found = before(kept, step, samples)
        return found + weight * seen[-1].float().logsumexp(-1).square().mean()

    wrap_loss(trainer.stepper, loss)


IDEAS = (
    Idea(name="soft cap of logits at 30", in_qwen3=False, change=partial(cap_logits, cap=30.0)),
    Idea(name="soft cap of logits at 15", in_qwen3=False, change=partial(cap_logits, cap=15.0)),
    Idea(name="z-loss", in_qwen3=True, change=charge_denominators),
)
