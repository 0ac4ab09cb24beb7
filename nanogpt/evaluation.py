"""How good a model is, by a stated protocol.

Whole split: consecutive windows of `block_size` over a whole part of the text, mean negative log-likelihood over
every predicted token, that is each but the first, exactly once. No random batches: the same model gives the same
figure. Where that is too slow, a named subset of the windows, evenly spaced. Always in float32, dropout off.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from nanogpt.data import TokenIds
from nanogpt.errors import UserError
from nanogpt.model import GPT
from nanogpt.tokenizer import Tokenizer

TOKENS_AT_ONCE = 8192


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


def evaluate(model: GPT, ids: TokenIds, tokenizer: Tokenizer, max_tokens: int | None = None) -> Evaluation:
    """Mean loss of a model on token ids (T,), over all windows or a subset with at most about `max_tokens`.

    Raises UserError where there is nothing to predict.
    """
    block_size = model.config.block_size
    if len(ids) < 2:
        raise UserError(f"{len(ids)} token(s) leave nothing to predict; give a longer text")
    whole = (len(ids) - 1) // block_size  # full windows; what is left is one shorter
    rest = len(ids) - 1 - whole * block_size
    chosen, protocol = np.arange(whole), f"whole split, {len(ids) - 1:,} tokens in consecutive windows of {block_size}"
    if max_tokens is not None and len(ids) > max_tokens and whole:
        chosen = np.linspace(0, whole - 1, max(1, max_tokens // block_size)).astype(np.int64)
        rest = 0
        protocol = f"{len(chosen):,} of {whole:,} windows of {block_size}, evenly spaced"
    total, count, size = 0.0, 0, tokenizer.token_bytes()
    total_bytes = 0
    for some in np.array_split(chosen, math.ceil(len(chosen) * block_size / TOKENS_AT_ONCE) or 1):
        if len(some):
            rows = ids[some[:, None] * block_size + np.arange(block_size + 1)]  # (B, T + 1)
            total += _summed_loss(model, rows)
            count += rows[:, 1:].size
            total_bytes += int(size[rows[:, 1:]].sum())
    if rest:
        row = ids[None, whole * block_size :]  # (1, rest + 1)
        total += _summed_loss(model, row)
        count += rest
        total_bytes += int(size[row[:, 1:]].sum())
    bits = total / math.log(2) / max(total_bytes, 1)
    return Evaluation(loss=total / count, bits_per_byte=bits, tokens=count, protocol=protocol)


@torch.no_grad()
def _summed_loss(model: GPT, rows: TokenIds) -> float:
    """Sum of the losses of predicting each row's tokens but its first from those before, (B, T + 1) -> nats."""
    training = model.training
    model.eval()
    try:
        device = model.token_embedding.weight.device
        tokens = torch.from_numpy(rows.astype(np.int64)).to(device)
        logits = model(tokens[:, :-1]).float()  # (B, T, V)
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum").item()
    finally:
        model.train(training)
