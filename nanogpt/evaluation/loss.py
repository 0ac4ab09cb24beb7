"""How good a model is, by a stated protocol.

Whole split: consecutive windows of `block_size` over a whole part of the text, mean negative log-likelihood over
every predicted token, that is each but the first, exactly once. No random batches: the same model gives the same
figure. Where that is too slow, a named subset of the windows, evenly spaced. Always in float32, dropout off.

nanoGPT's own protocol, random batches, is here for comparison alone. How far a figure can be trusted is in
`nanogpt.evaluation.intervals`.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from nanogpt.data.dataset import TokenIds
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT
from nanogpt.parallel.world import ALONE, World
from nanogpt.random_streams import stream
from nanogpt.text.tokenizer import Tokenizer

Watch = Callable[[int], object]
"""Told how many tokens were predicted since the last time."""

TOKENS_AT_ONCE = 8192
NANOGPT_BATCHES = 200
"""nanoGPT's `eval_iters`"""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A loss and what it means."""

    loss: float
    """nats a token"""
    bits_per_byte: float
    """bits for each byte of the text that was predicted; comparable between tokenizers"""
    tokens: int
    """predicted tokens"""
    protocol: str
    """which windows of what"""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """What a model lost in each window of a text, in the order of the text."""

    nats: NDArray[np.float64]
    """summed loss of each window's predicted tokens, (W,)"""
    tokens: NDArray[np.int64]
    """how many these are: `block_size`, and fewer in a last, shorter window, (W,)"""
    text_bytes: NDArray[np.int64]
    """bytes of their text, (W,)"""
    protocol: str
    """which windows of what"""

    def evaluation(self) -> Evaluation:
        """All windows together: a window counts by its tokens."""
        total, count = float(self.nats.sum()), int(self.tokens.sum())
        bits = total / math.log(2) / max(int(self.text_bytes.sum()), 1)
        return Evaluation(loss=total / count, bits_per_byte=bits, tokens=count, protocol=self.protocol)


@dataclass(frozen=True, kw_only=True)
class RandomEstimate:
    """The mean loss of random batches."""

    loss: float
    """nats a token"""
    standard_error: float
    """of that mean, from the spread of the batches"""
    protocol: str


def evaluate(
    model: GPT, ids: TokenIds, tokenizer: Tokenizer, max_tokens: int | None = None, world: World = ALONE
) -> Evaluation:
    """Mean loss of a model on token ids (T,), over all windows or a subset with at most about `max_tokens`.

    Raises UserError where there is nothing to predict.
    """
    return measure_windows(model, ids, tokenizer, max_tokens, world=world).evaluation()


def measure_windows(
    model: GPT,
    ids: TokenIds,
    tokenizer: Tokenizer,
    max_tokens: int | None = None,
    watch: Watch = lambda tokens: None,
    *,
    world: World = ALONE,
) -> Windows:
    """As `evaluate`, but window by window. Several processes share the work, and each has the whole result.

    What is read at once does not depend on how many they are, so neither does the result.
    """
    block_size = model.config.block_size
    if len(ids) < 2:
        raise UserError(f"{len(ids)} token(s) leave nothing to predict; give a longer text")
    whole = (len(ids) - 1) // block_size  # full windows; what is left is one shorter
    rest = len(ids) - 1 - whole * block_size
    chosen, protocol = np.arange(whole), f"whole split, {len(ids) - 1:,} tokens in consecutive windows of {block_size}"
    fits = whole + 1 if max_tokens is None else max(1, max_tokens // block_size)
    if max_tokens is not None and len(ids) > max_tokens and (fits < whole or (rest and whole)):
        chosen = np.linspace(0, whole - 1, fits).astype(np.int64)
        rest = 0
        protocol = f"{len(chosen):,} of {whole:,} windows of {block_size}, evenly spaced"
    count = len(chosen) + bool(rest)
    nats, size = np.zeros(count), tokenizer.token_bytes()
    text_bytes, tokens = np.empty(count, dtype=np.int64), np.full(count, block_size)
    if rest:
        tokens[-1] = rest
    done = 0
    for number, rows in enumerate(_rows(ids, chosen, rest, block_size)):
        here = slice(done, done + len(rows))
        if number % world.size == world.rank:
            nats[here] = _summed_losses(model, rows)
        text_bytes[here] = size[rows[:, 1:]].sum(1)
        done += len(rows)
        watch(rows[:, 1:].size)
    if world.rank > number % world.size:
        _summed_losses(model, rows)  # no turn in the last round, but the others may need this process' share of weights
    nats = world.sum(torch.from_numpy(nats)).numpy()  # to each window's loss the others add zero, which is exact
    return Windows(nats=nats, tokens=tokens, text_bytes=text_bytes, protocol=protocol)


def estimate_like_nanogpt(
    model: GPT, ids: TokenIds, batch_size: int, seed: int, watch: Watch = lambda tokens: None
) -> RandomEstimate:
    """nanoGPT's protocol: the mean of 200 batches of windows that start anywhere, drawn with replacement.

    karpathy/nanoGPT, train.py, `estimate_loss`. Its starts are drawn from torch's global generator, ours from `seed`.
    Raises UserError where the text is no longer than one window.
    """
    block_size = model.config.block_size
    if len(ids) <= block_size + 1:
        raise UserError(
            f"{len(ids)} tokens leave no choice of windows of {block_size} and their targets: give a longer text, or "
            f"use the whole-split protocol"
        )
    generator = np.random.default_rng(stream(seed, "nanogpt protocol"))
    starts = generator.integers(len(ids) - block_size, size=(NANOGPT_BATCHES, batch_size))
    means = np.empty(NANOGPT_BATCHES)
    for number, some in enumerate(starts):
        rows = ids[some[:, None] + np.arange(block_size + 1)]  # (B, T + 1)
        means[number] = _summed_losses(model, rows).sum() / rows[:, 1:].size
        watch(rows[:, 1:].size)
    return RandomEstimate(
        loss=float(means.mean()),
        standard_error=float(means.std(ddof=1)) / math.sqrt(NANOGPT_BATCHES),
        protocol=f"{NANOGPT_BATCHES} random batches of {batch_size} windows of {block_size}, as nanoGPT, seed {seed}",
    )


def _rows(ids: TokenIds, chosen: NDArray[np.int64], rest: int, block_size: int) -> Iterator[TokenIds]:
    """Windows and the token after each, some at a time (B, T + 1); the shorter one at the end by itself."""
    for some in np.array_split(chosen, math.ceil(len(chosen) * block_size / TOKENS_AT_ONCE) or 1):
        if len(some):
            yield ids[some[:, None] * block_size + np.arange(block_size + 1)]
    if rest:
        yield ids[None, len(ids) - 1 - rest :]  # (1, rest + 1)


@torch.no_grad()
def _summed_losses(model: GPT, rows: TokenIds) -> NDArray[np.float64]:
    """Each row's loss of predicting its tokens but the first from those before, (B, T + 1) -> nats (B,)."""
    training = model.training
    model.eval()
    try:
        device = model.token_embedding.weight.device
        tokens = torch.from_numpy(rows.astype(np.int64)).to(device)
        logits = model(tokens[:, :-1]).float()  # (B, T, V)
        losses = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")  # (B * T,)
        return losses.view(len(rows), -1).sum(1).cpu().double().numpy()  # Apple's GPUs have no float64
    finally:
        model.train(training)
