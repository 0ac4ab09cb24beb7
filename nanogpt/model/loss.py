"""Cross-entropy that never holds the logits in float32 as a whole."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

PIECE_LOGITS = 1 << 20
"""Logits that a CPU works on at once: 4 MB in float32, which stay in a cache."""
GPU_PIECE_LOGITS = 1 << 26
"""The same of a GPU: enough to keep it busy, and two copies in float32 take 0.5 GB, however many there are."""


def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats, of logits (B, T, V) and targets (B, T): a number in float32."""
    loss: Tensor = _CrossEntropy.apply(logits.flatten(0, 1), targets.flatten())
    return loss


class _CrossEntropy(torch.autograd.Function):
    """-log softmax(logits)[target], and its gradient softmax(logits) - onehot(target), mean over rows.

    Both are computed together in float32, some rows at a time, and the gradient is kept in the logits' format. As
    single operations they would hold three more copies of the logits, of which there are as many as the vocabulary is
    large.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        total, gradient = logits.new_zeros((), dtype=torch.float32), torch.empty_like(logits)
        rows = max(1, (PIECE_LOGITS if logits.device.type == "cpu" else GPU_PIECE_LOGITS) // logits.size(1))
        for part, wanted, into in zip(logits.split(rows), targets.split(rows), gradient.split(rows)):
            log_shares = part.float().log_softmax(1)  # (rows, V)
            total += F.nll_loss(log_shares, wanted, reduction="sum")
            minus_one = log_shares.new_full((len(wanted), 1), -1)
            into.copy_(log_shares.exp_().scatter_add_(1, wanted[:, None], minus_one))
        ctx.save_for_backward(gradient)
        return total / len(logits)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * (grads[0] / len(gradient)), None
