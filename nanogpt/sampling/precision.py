"""A copy of a model with its matrices in bfloat16 or int8: fewer bytes to read per token, or faster products.

For inference only. Activations, keys, values, sums, embeddings and norms stay in float32. `nanogpt eval --precision`
measures what it costs, `benchmarks.generate` what it gains.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT

FEW_ROWS = 8
"""Up to this many rows, a product takes as long as reading the weights; int8 weights are then used as they are."""
INT8_CHANNELS = 32
"""torch's int8 product reads this many weights at once, also beyond the end of a row whose length is no multiple."""


def lower_precision(model: GPT, precision: str) -> GPT:
    """Return the model for float32; for bfloat16 and int8 a copy that shares all but the weights of its linear layers.

    Raises:
        UserError: int8 was asked for and the model is not on a CPU.
    """
    if precision == "float32":
        return model
    if precision == "int8" and model.token_embedding.weight.device.type != "cpu":
        raise UserError("--precision int8 runs on CPUs only: choose float32 or bfloat16, or --device cpu")
    # deepcopy does not copy what is in its memo.
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    lowered = copy.deepcopy(model, shared)
    for module in list(lowered.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child) if precision == "int8" else BFloat16Linear(child))
    return lowered


class BFloat16Linear(nn.Module):
    """A linear layer with bfloat16 weights."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight.detach().bfloat16(), linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return x W' + b, (..., K) -> (..., N), in the input's number format."""
        y = F.linear(x.bfloat16(), self.weight).to(x.dtype)
        return y if self.bias is None else y + self.bias


class Int8Linear(nn.Module):
    """A linear layer with int8 weights and a scale for each row."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()  # (N, K)
        # The scale is rounded before the weights are divided by it, so that it adds no error of its own.
        self.scale = (weight.abs().amax(1) / 127).clamp_min(1e-30).bfloat16()  # (N,)
        self.weight = (weight / self.scale[:, None].float()).round().clamp(-127, 127).to(torch.int8)
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """Return x W' + b, (..., K) -> (..., N), in the input's number format."""
        rows = x.reshape(-1, x.size(-1)).bfloat16()  # (R, K)
        if len(rows) <= FEW_ROWS and x.size(-1) % INT8_CHANNELS == 0:
            y = torch._weight_int8pack_mm(rows, self.weight, self.scale)  # (R, N)
        else:
            y = F.linear(rows, self.weight.bfloat16()) * self.scale
        y = y.to(x.dtype).view(*x.shape[:-1], -1)
        return y if self.bias is None else y + self.bias
