"""nanoGPT's evaluation protocol, random batches, only to compare with figures measured that way."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nanogpt.data.batches import TokenIds
from nanogpt.errors import UserError, counted
from nanogpt.evaluation.loss import window_losses
from nanogpt.model.gpt import GPT
from nanogpt.random_streams import stream

BATCHES = 200
"""nanoGPT's `eval_iters`."""


@dataclass(frozen=True, kw_only=True)
class RandomEstimate:
    """The mean loss of random batches."""

    loss: float
    """nats per token"""
    standard_error: float
    """standard error of the loss, from the spread of the batches"""
    protocol: str


def estimate_like_nanogpt(
    model: GPT, ids: TokenIds, batch_size: int, seed: int, on_progress: Callable[[int], object] = lambda tokens: None
) -> RandomEstimate:
    """Return the mean loss of 200 batches of windows that start anywhere, drawn with replacement.

    karpathy/nanoGPT, train.py, `estimate_loss`, but drawn by `seed`. Raises UserError for a text of one window or less.
    """
    block_size = model.config.block_size
    if len(ids) <= block_size + 1:
        raise UserError(
            f"a text of {counted(len(ids), 'token')} is too short for random windows of {block_size}: give a longer "
            f"text, or leave --protocol nanogpt out"
        )
    generator = np.random.default_rng(stream(seed, "nanogpt protocol"))
    starts = generator.integers(len(ids) - block_size, size=(BATCHES, batch_size))
    means = np.empty(BATCHES)
    for number, some in enumerate(starts):
        rows = ids[some[:, None] + np.arange(block_size + 1)]  # (B, T + 1)
        means[number] = window_losses(model, rows).sum() / rows[:, 1:].size
        on_progress(rows[:, 1:].size)
    return RandomEstimate(
        loss=float(means.mean()),
        standard_error=float(means.std(ddof=1)) / math.sqrt(BATCHES),
        protocol=f"{BATCHES} random batches of {batch_size} windows of {block_size}, as nanoGPT, seed {seed}",
    )
