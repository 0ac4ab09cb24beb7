"""Answers to the exercises of section 3."""

import torch
from torch import Tensor, nn


def sinusoids(length: int, n_embd: int) -> Tensor:
    """Return the sinusoids of positions 0 to T - 1: (T, C)."""
    exponents = torch.arange(0, n_embd, 2) / n_embd  # (C / 2,)
    angles = torch.arange(length)[:, None] / 10_000.0**exponents  # (T, C / 2)
    waves = torch.empty(length, n_embd)
    waves[:, 0::2] = angles.sin()
    waves[:, 1::2] = angles.cos()
    return waves


class PositionedEmbedding(nn.Module):
    """Token ids to the sum of token and position vectors: (B, T) -> (B, T, C)."""

    def __init__(self, vocab_size: int, block_size: int, n_embd: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, n_embd)
        self.positions = nn.Embedding(block_size, n_embd)

    def forward(self, idx: Tensor) -> Tensor:
        T = idx.shape[1]
        positions = torch.arange(T)  # (T,)
        return self.tokens(idx) + self.positions(positions)  # (B, T, C) + (T, C) -> (B, T, C)


LAST_POSITION_AFTER_A_SWAP = "the same"
