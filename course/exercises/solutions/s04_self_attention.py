"""Answers to the exercises of section 4."""

import math

import torch
from torch import Tensor, nn


def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """Return how much each position attends to each: (..., T, D), (..., T, D) -> (..., T, T)."""
    T, D = q.shape[-2:]
    scores = q @ k.transpose(-2, -1) / math.sqrt(D)  # (..., T, T)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)  # (T, T)
    scores = scores.masked_fill(future, -torch.inf)
    return scores.softmax(dim=-1)


class Head(nn.Module):
    """One head of causal self-attention: (B, T, C) -> (B, T, D)."""

    def __init__(self, n_embd: int, head_size: int) -> None:
        super().__init__()
        self.query = nn.Linear(n_embd, head_size, bias=False)
        self.key = nn.Linear(n_embd, head_size, bias=False)
        self.value = nn.Linear(n_embd, head_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weights = attention_weights(self.query(x), self.key(x))  # (B, T, T)
        return weights @ self.value(x)  # (B, T, D)


LOSS_WITH_A_LEAKING_MASK = "lower"
