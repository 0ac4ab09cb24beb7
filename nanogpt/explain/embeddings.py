"""Token and position embeddings on a plane, by principal component analysis (Pearson 1901; Hotelling 1933).

Shapes: N vectors, C channels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nanogpt.model.gpt import GPT


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Vectors projected onto a plane."""

    points: Tensor
    """coordinates around the mean, float32 on the CPU, (N, 2)"""
    shares: tuple[float, float]
    """share of the variance that each direction explains, from 0 to 1"""


def token_plane(model: GPT) -> Plane:
    """Project the token embeddings; with tied embeddings these are the output layer's weights too."""
    return principal_plane(model.token_embedding.weight)


def position_plane(model: GPT) -> Plane | None:
    """Project the learned position embeddings or the sinusoids; return None with RoPE, which adds no vector."""
    if model.config.position == "learned":
        return principal_plane(model.position_embedding.weight)
    return principal_plane(model.sinusoids) if model.config.position == "sinusoidal" else None


@torch.no_grad()
def principal_plane(vectors: Tensor) -> Plane:
    """Project vectors (N, C) onto the plane in which they vary most.

    The sign of a direction is arbitrary: its largest channel is made positive.

    >>> plane = principal_plane(torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, -1.0], [0.0, 1.0]]))
    >>> plane.points[0].tolist(), [round(share, 2) for share in plane.shares]
    ([3.0, 0.0], [0.9, 0.1])
    """
    x = vectors.cpu().double()
    x = x - x.mean(0)
    variances, directions = torch.linalg.eigh(x.mT @ x)  # (C,) rising, (C, C) in columns
    axes = directions[:, -2:].flip(1)  # (C, 2), or (C, 1) of a single channel
    largest = axes.abs().argmax(0)  # (2,)
    axes = axes * axes.gather(0, largest[None]).sign()
    points, found = torch.zeros(len(x), 2), variances[-2:].flip(0).clamp_min(0)
    points[:, : axes.size(1)] = (x @ axes).float()
    total = float(variances.clamp_min(0).sum()) or 1.0
    first, second = [*(found / total).tolist(), 0.0][:2]
    return Plane(points=points, shares=(first, second))
