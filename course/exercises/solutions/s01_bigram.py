"""Answers to the exercises of section 1."""

import torch
from torch import Tensor


def get_batch(data: Tensor, batch_size: int, block_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw sequences from `data` (N,): inputs (B, T), and targets (B, T), each the token that follows."""
    starts = torch.randint(len(data) - block_size, (batch_size,), generator=generator).tolist()
    inputs = torch.stack([data[start : start + block_size] for start in starts])
    targets = torch.stack([data[start + 1 : start + block_size + 1] for start in starts])
    return inputs, targets


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of logits (B, T, V) for targets (B, T), a scalar."""
    logits = logits - logits.amax(dim=-1, keepdim=True)  # the same probabilities, without overflow
    log_sums = logits.exp().sum(dim=-1).log()  # (B, T)
    chosen = logits.gather(-1, targets[..., None]).squeeze(-1)  # (B, T)
    return (log_sums - chosen).mean()


LOSS_AT_SIZE_TWO = 6.2  # ln 65 + 2² / 2
