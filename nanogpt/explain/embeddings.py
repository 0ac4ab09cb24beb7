"""Embeddings on a plane: which tokens, and which positions, a model keeps near to each other.

Principal components (Pearson 1901; Hotelling 1933): the two directions in which vectors differ most. A plane shows part
of C channels only; how much of their variance is told with it.

Shapes: N vectors, C channels, V vocabulary, T positions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from nanogpt.model.gpt import GPT


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Vectors as points of a plane."""

    points: Tensor
    """float32, on the CPU, around their mean: (N, 2)"""
    shares: tuple[float, float]
    """how much of the vectors' variance each direction explains, from 0 to 1"""


def token_map(model: GPT) -> Tensor:
    """A point for each token, (V, 2): nearer ones have more similar embeddings."""
    return token_plane(model).points


def position_map(model: GPT) -> Tensor | None:
    """A point for each position up to block_size, (T, 2). None with rope (see `position_plane`)."""
    plane = position_plane(model)
    return None if plane is None else plane.points


def token_plane(model: GPT) -> Plane:
    """The plane of the token embeddings; with tied embeddings they are the output layer's too."""
    return principal_plane(model.token_embedding.weight)


def position_plane(model: GPT) -> Plane | None:
    """The plane of the learned position vectors, or of the sinusoids.

    None with rope: it adds nothing to the stream but turns queries and keys inside each head, by fixed angles, so that
    a position has no vector of its own.
    """
    if model.config.position == "learned":
        return principal_plane(model.position_embedding.weight)
    return principal_plane(model.sinusoids) if model.config.position == "sinusoidal" else None


@torch.no_grad()
def principal_plane(vectors: Tensor) -> Plane:
    """The plane in which vectors (N, C) differ most.

    A direction may point either way: the one is taken in which its largest channel is positive. In float64, so that
    the same vectors give the same plane.

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
    total = float(variances.clamp_min(0).sum())
    shares = [float(one) / total if total else 0.0 for one in found]
    return Plane(points=points, shares=(shares[0], shares[1] if len(shares) > 1 else 0.0))
