"""Answers to the exercises of section 7."""

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Attention, then feed-forward, each added to the stream: (B, T, C) -> (B, T, C)."""

    def __init__(self, attention: nn.Module, feed_forward: nn.Module) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = feed_forward

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(x)
        return x + self.feed_forward(x)


def gradient_norms(body: nn.Sequential, x: Tensor) -> list[float]:
    """Return each block's gradient norm, from the lowest up, for the loss `body(x).square().mean()`."""
    body.zero_grad()
    loss = body(x).square().mean()
    loss.backward()
    norms = []
    for block in body:
        gradients = [p.grad.flatten() for p in block.parameters() if p.grad is not None]
        norms.append(torch.cat(gradients).norm().item())
    return norms


SMALLER_WITHOUT_RESIDUAL = "over a thousand times"
