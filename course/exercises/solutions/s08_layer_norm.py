"""Answers to the exercises of section 8."""

import torch
from torch import Tensor, nn


class LayerNorm(nn.Module):
    """Mean 0 and variance 1 at each position, then gain and shift per channel: (..., C) -> (..., C)."""

    def __init__(self, n_embd: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(n_embd))
        self.shift = nn.Parameter(torch.zeros(n_embd))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=-1, keepdim=True)
        variance = x.var(dim=-1, keepdim=True, unbiased=False)
        normalised = (x - mean) / torch.sqrt(variance + self.epsilon)
        return normalised * self.gain + self.shift


class PreNormBlock(nn.Module):
    """Each part reads a normalised copy of the stream and adds to it: (B, T, C) -> (B, T, C)."""

    def __init__(self, attention: nn.Module, feed_forward: nn.Module, n_embd: int) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward
        self.norm_attention = LayerNorm(n_embd)
        self.norm_feed_forward = LayerNorm(n_embd)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x))
        return x + self.feed_forward(self.norm_feed_forward(x))


MOVED_BY_THE_WRONG_AXIS = "all"
