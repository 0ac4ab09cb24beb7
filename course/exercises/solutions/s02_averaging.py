"""Answers to the exercises of section 2."""

import torch
from torch import Tensor


def running_mean(x: Tensor) -> Tensor:
    """Return the mean of the past: (B, T, C) -> (B, T, C)."""
    means = [x[:, : t + 1].mean(dim=1) for t in range(x.shape[1])]  # T times (B, C)
    return torch.stack(means, dim=1)  # (B, T, C)


def masked_weights(scores: Tensor) -> Tensor:
    """Turn scores into causal weights: (..., T, T) -> (..., T, T), each row sums to 1, 0 above the diagonal."""
    T = scores.shape[-1]
    future = torch.ones(T, T, dtype=torch.bool).triu(1)  # (T, T)
    return scores.masked_fill(future, -torch.inf).softmax(dim=-1)


SHARE_OF_THE_FUTURE = 0.875  # eight equal scores, seven of them in the future
