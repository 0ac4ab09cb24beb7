"""How a position is told to the model: the paper's sinusoids, or a rotation of queries and keys.

The third way, learned vectors, is an embedding like that of the tokens. Shapes: B batch, T time, C channels, H heads,
D channels of a head.
"""

import torch
from torch import Tensor


def sinusoids(length: int, n_embd: int) -> Tensor:
    """The paper's position encoding (Vaswani et al. 2017, 3.5), sine and cosine in turn: (length, C)."""
    rates = 10_000.0 ** (-torch.arange(0, n_embd, 2) / n_embd)  # (ceil(C/2),)
    angles = torch.arange(length)[:, None] * rates  # (length, ceil(C/2))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :n_embd]  # (length, C)


def rotations(length: int, size: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines of position times rate, one rate a channel pair: each (length, D/2)."""
    rates = theta ** (-torch.arange(0, size, 2) / size)  # (D/2,)
    angles = torch.arange(length)[:, None] * rates  # (length, D/2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn channel pairs (i, i + D/2) by their position's angle: (B, H, T, D) -> the same (Su et al. 2021, 3.2.2).

    `turn` is (cos, sin), each (T, D/2). Pairing the halves, as Qwen and Llama do, where the paper pairs neighbours.
    """
    cos, sin = (table.to(x.dtype) for table in turn)  # under mixed precision x would else grow into float32
    # As two products of whole rows: halves of rows, and putting them together again, take half as long again.
    return x * torch.cat([cos, cos], -1) + x.roll(x.size(-1) // 2, -1) * torch.cat([-sin, sin], -1)  # (B, H, T, D)
