"""The loss of a model on a text, by a protocol that always gives the same figure.

Whole split: consecutive windows of `block_size`, and the mean negative log-likelihood of every token but the first,
each predicted exactly once. Where that is too slow: evenly spaced windows. Always in float32 and without dropout.
`nanogpt.evaluation.intervals` computes the confidence interval of a loss.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from nanogpt.data.batches import TokenIds
from nanogpt.errors import UserError, counted
from nanogpt.model.gpt import GPT, evaluation_mode
from nanogpt.parallel.world import ALONE, World
from nanogpt.text.tokenizer import Tokenizer

TOKENS_AT_ONCE = 8192


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A loss and what it means."""

    loss: float
    """nats per token"""
    bits_per_byte: float
    """bits per byte of the predicted text; comparable between tokenizers"""
    tokens: int
    """predicted tokens"""
    protocol: str
    """which windows of what"""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The loss of each window of a text, in the order of the text."""

    nats: NDArray[np.float64]
    """summed over the window's predicted tokens, (W,)"""
    tokens: NDArray[np.int64]
    """predicted tokens: `block_size`, fewer in a last, shorter window, (W,)"""
    text_bytes: NDArray[np.int64]
    """bytes of the predicted text, (W,)"""
    protocol: str
    """which windows of what"""

    def evaluation(self) -> Evaluation:
        """Return the loss of all windows together, each weighted by its tokens."""
        total, count = float(self.nats.sum()), int(self.tokens.sum())
        bits = total / math.log(2) / max(int(self.text_bytes.sum()), 1)
        return Evaluation(loss=total / count, bits_per_byte=bits, tokens=count, protocol=self.protocol)


def evaluate(
    model: GPT, ids: TokenIds, tokenizer: Tokenizer, max_tokens: int | None = None, world: World = ALONE
) -> Evaluation:
    """Return the mean loss on token ids (T,): on all windows, or evenly spaced ones with about `max_tokens` at most."""
    return measure_windows(model, ids, tokenizer, max_tokens, world=world).evaluation()


def measure_windows(
    model: GPT,
    ids: TokenIds,
    tokenizer: Tokenizer,
    max_tokens: int | None = None,
    on_progress: Callable[[int], object] = lambda tokens: None,
    *,
    world: World = ALONE,
) -> Windows:
    """Return the loss of each window, as in `evaluate`, on all processes; `on_progress` gets each batch's tokens."""
    block_size, last = model.config.block_size, len(ids) - 1
    if last < 1:
        raise UserError(f"nothing to predict in {counted(len(ids), 'token')}: give a longer text")
    starts, whole = np.arange(0, last, block_size), last // block_size
    protocol = f"whole split, {last:,} tokens in consecutive windows of {block_size}"
    if max_tokens is not None and max_tokens < len(ids):
        count = max(1, max_tokens // block_size)
        if count < whole or 0 < whole < len(starts):
            starts = np.linspace(0, whole - 1, count).astype(np.int64) * block_size
            protocol = f"{count:,} of {whole:,} windows of {block_size}, evenly spaced"
    tokens = np.minimum(block_size, last - starts)  # (W,)
    full = np.flatnonzero(tokens == block_size)
    batches = np.array_split(full, math.ceil(len(full) * block_size / TOKENS_AT_ONCE) or 1)
    batches = [batch for batch in (*batches, np.flatnonzero(tokens < block_size)) if len(batch)]
    nats, text_bytes = np.zeros(len(starts)), np.zeros(len(starts), dtype=np.int64)
    byte_counts = tokenizer.token_bytes()
    for number, batch in enumerate(batches):
        rows = ids[starts[batch, None] + np.arange(tokens[batch[0]] + 1)]  # (B, T + 1)
        if number % world.size == world.rank:
            nats[batch] = window_losses(model, rows)
        text_bytes[batch] = byte_counts[rows[:, 1:]].sum(1)
        on_progress(rows[:, 1:].size)
    if world.rank > (len(batches) - 1) % world.size:
        window_losses(model, rows)  # no batch in the last round, but others may need this rank's shard of the weights
    nats = world.sum(torch.from_numpy(nats)).numpy()  # the other ranks add zeros, which is exact
    return Windows(nats=nats, tokens=tokens, text_bytes=text_bytes, protocol=protocol)


@torch.no_grad()
def window_losses(model: GPT, rows: TokenIds) -> NDArray[np.float64]:
    """Return the summed loss of each window's tokens after its first, (B, T + 1) -> nats (B,)."""
    tokens = torch.from_numpy(rows.astype(np.int64)).to(model.token_embedding.weight.device)
    with evaluation_mode(model):
        logits = model(tokens[:, :-1]).float()  # (B, T, V)
    losses = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")  # (B * T,)
    return losses.view(len(rows), -1).sum(1).cpu().double().numpy()  # Apple's GPUs have no float64
