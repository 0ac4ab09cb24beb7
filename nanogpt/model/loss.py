"""Cross-entropy in chunks: logits in bfloat16 are never all converted to float32."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

CHUNK_LOGITS = 1 << 20
"""Logits in a chunk on a CPU: 4 MB in float32, which stay in its cache."""
GPU_CHUNK_LOGITS = 1 << 26
"""The same on a GPU: enough to keep it busy, and two copies in float32 take 0.5 GB."""


def cross_entropy_reference(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats: the plain version of `cross_entropy`."""
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats, a float32 number, of logits (B, T, V) and targets (B, T)."""
    loss: Tensor = _CrossEntropy.apply(logits.flatten(0, 1), targets.flatten())
    return loss


class _CrossEntropy(torch.autograd.Function):
    """The loss -log softmax(logits)[target] and its gradient softmax(logits) - onehot(target), mean over rows.

    Both are computed together in float32, chunk by chunk; the gradient is kept in the logits' format. Single operations
    would hold three more copies of the logits, the largest tensor where the vocabulary is large.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        total, gradient = logits.new_zeros((), dtype=torch.float32), torch.empty_like(logits)
        rows = max(1, (CHUNK_LOGITS if logits.device.type == "cpu" else GPU_CHUNK_LOGITS) // logits.size(1))
        for part, target, into in zip(logits.split(rows), targets.split(rows), gradient.split(rows)):
            log_probs = part.float().log_softmax(1)  # (rows, V)
            total += F.nll_loss(log_probs, target, reduction="sum")
            minus_one = log_probs.new_full((len(target), 1), -1)
            into.copy_(log_probs.exp_().scatter_add_(1, target[:, None], minus_one))
        ctx.save_for_backward(gradient)
        return total / len(logits)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * (grads[0] / len(gradient)), None
