"""RMS normalisation, with a backward pass written by hand for CPUs: torch's takes there two to three times as long."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RMSNorm(nn.RMSNorm):
    """x / sqrt(mean(x^2) + eps) times a gain, over the last dimension (Zhang and Sennrich 2019): any shape.

    torch's, with the gain in the input's number format: under mixed precision it would else leave its fused path.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and torch.is_grad_enabled():
            y: Tensor = _Normalise.apply(x, self.weight, self.eps)
            return y
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class _Normalise(torch.autograd.Function):
    """With r = 1 / sqrt(mean(x^2) + eps) and n = x r: y = n w, and by the chain rule, sums and means over C or rows,

    dw = sum(dy n),  dx = r (dy w - n mean(dy w n)).

    All of it is computed in float32, and nothing kept but the input and a number for each row.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.to(weight.dtype)
        root = (torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_() / x.size(-1) + eps).rsqrt_()  # (..., 1)
        ctx.save_for_backward(x, weight, root)
        return (wide * root).mul_(weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, root = ctx.saved_tensors
        C = x.size(-1)
        normalised, dy = x * root, grads[0].to(weight.dtype)
        products = (dy * normalised).view(-1, C)  # (rows, C)
        mean = (products @ (weight / C)).view(root.shape)
        dx = (dy * weight).sub_(normalised.mul_(mean)).mul_(root)
        return dx.to(x.dtype), products.sum(0), None
