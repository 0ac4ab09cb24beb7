"""Position encodings: the paper's sinusoids, and rotary embeddings. (Learned positions are an embedding in `gpt`.)"""

import torch
from torch import Tensor


def sinusoids(length: int, n_embd: int) -> Tensor:
    """Return the paper's encodings (Vaswani et al. 2017, section 3.5), sine and cosine in turn, (length, C)."""
    rates = 10_000.0 ** (-torch.arange(0, n_embd, 2) / n_embd)  # (ceil(C/2),)
    angles = torch.arange(length)[:, None] * rates  # (length, ceil(C/2))
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :n_embd]  # (length, C)


def rotations(length: int, head_size: int, theta: float) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of position times rate, one rate for each pair of channels, each (length, D/2)."""
    rates = theta ** (-torch.arange(0, head_size, 2) / head_size)  # (D/2,)
    angles = torch.arange(length)[:, None] * rates  # (length, D/2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate channel pairs (i, i + D/2) by their position's angle, (B, H, T, D) (Su et al. 2021, section 3.2.2).

    Pairs the two halves of the channels, as Qwen and Llama do; the paper pairs neighbours.

    Args:
        x: Queries or keys, (B, H, T, D).
        rotation: Cosines and sines, each (T, D/2).
    """
    cos, sin = (table.to(x.dtype) for table in rotation)  # otherwise mixed precision would return float32
    # Two products of whole rows: taking rows apart and joining them again takes half as long again.
    return x * torch.cat([cos, cos], -1) + x.roll(x.size(-1) // 2, -1) * torch.cat([-sin, sin], -1)  # (B, H, T, D)
