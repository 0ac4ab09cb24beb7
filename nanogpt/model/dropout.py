"""Dropout whose masks are a function of (seed, step, sample), whatever batch the sample is in.

torch draws masks from one sequence of numbers: a sample's mask then depends on its batch, micro-step and process.
Here a mask's bits are hashed from (sample, element), so a run continues with the same masks however its batches are
split. The backward pass hashes a mask again instead of storing it, and a mask is applied to the bits of the numbers: on
a CPU both take a fraction of the time of drawing a mask and multiplying by it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nanogpt.random_streams import stream

# Odd multipliers of MurmurHash3's finaliser (Appleby 2011), as signed 32-bit numbers.
MULTIPLIERS = (0x85EBCA6B - (1 << 32), 0xC2B2AE35 - (1 << 32))
LEVELS = 1 << 15
"""Values of a mask's hash: the dropped share is exact to 1 / LEVELS, 0.003 %."""


class Dropout(nn.Module):
    """Set a share p of the elements to zero in training and scale the rest by 1 / (1 - p): any shape (B, ..., C).

    Srivastava et al. 2014, "Dropout". Without keys (`seed_dropout`), as in a training loop of your own, masks come from
    torch's random numbers.
    """

    keys: Tensor | None

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.register_buffer("keys", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x with dropped elements, in training."""
        if not self.training or not self.p:
            return x
        y: Tensor = _Dropout.apply(x, self.sample_keys(x), self.p)
        return y

    def sample_keys(self, x: Tensor) -> Tensor:
        """Return a key for each sample of x, (B, ...) -> (B,) of int32."""
        if self.keys is not None:
            return self.keys
        return torch.randint(-(1 << 31), 1 << 31, x.shape[:1], dtype=torch.int32, device=x.device)

    def extra_repr(self) -> str:
        """Return what torch prints of this layer."""
        return f"p={self.p}"


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, keys: Tensor, p: float) -> Tensor:
        ctx.save_for_backward(keys)
        ctx.p = p
        return _drop(x, keys, p)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (keys,) = ctx.saved_tensors
        return _drop(grads[0], keys, ctx.p), None, None


def _drop(x: Tensor, keys: Tensor, p: float) -> Tensor:
    return mask_out(x, element_bits(x, keys, p)).mul_(1 / (1 - p))


def element_bits(x: Tensor, keys: Tensor, p: float) -> Tensor:
    """Return the mask of x, (B, ..., C) of int16: all bits set where an element stays, none where it is dropped."""
    rows = hash_elements(keys, x[0, ..., 0].numel())  # (B, the product of the sizes between)
    return keep_bits(rows, x.size(-1), p).view(x.shape)


def dropout_reference(x: Tensor, keys: Tensor, p: float) -> Tensor:
    """Return x times a mask of zeros and 1 / (1 - p): the plain version of `Dropout`, (B, ..., C)."""
    return x * element_bits(x, keys, p).ne(0) / (1 - p)


def seed_dropout(model: nn.Module, seed: int, step: int, samples: Sequence[int]) -> None:
    """Set the keys of every `Dropout` in a model for a batch of samples, numbered within their step."""
    rows = torch.tensor([_signed(stream(seed, "dropout", step, sample)) for sample in samples], dtype=torch.int32)
    layers = [module for module in model.modules() if isinstance(module, Dropout) and module.p]
    rows = rows.to(next(model.parameters()).device)  # once: each layer's keys are made from them there
    for number, layer in enumerate(layers):
        keys = rows ^ _signed(stream(number, "dropout place"))  # (B,)
        if layer.keys is None or layer.keys.shape != keys.shape:
            layer.keys = keys
        else:
            layer.keys.copy_(keys)  # in place: a compiled step reads the same tensor


def keep_bits(rows: Tensor, count: int, p: float) -> Tensor:
    """Return a mask of `count` elements for each row, from the rows' keys (...) to (..., count) of int16.

    All bits of an element that stays are set, none of one that is dropped. A 32-bit hash serves two elements.
    """
    hashes = hash_elements(rows.flatten(), -(-count // 2)).view(torch.int16)[:, :count]  # (R, count)
    bits = hashes.bitwise_right_shift_(1).sub_(round((0.5 - p) * LEVELS)).bitwise_right_shift_(15)  # the sign
    return bits.view(*rows.shape, count)


def mask_out(x: Tensor, bits: Tensor) -> Tensor:
    """Return x where all bits are set, else 0; both of one shape.

    On integers: torch's operations on booleans take many times as long on CPUs.
    """
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return (x.view(integer) & bits.to(integer)).view(x.dtype)


def hash_elements(keys: Tensor, count: int) -> Tensor:
    """Return a 32-bit hash for each of `count` elements of each row, from the rows' keys (R,) to (R, count) of int32.

    Products and shifts wrap around. The last product carries every bit of key and position into the highest bits of
    each half.
    """
    positions = _mix(torch.arange(1, count + 1, dtype=torch.int32, device=keys.device))  # (count,)
    return _mix(keys[:, None] ^ (positions ^ (positions >> 16)))  # (R, count)


def _mix(number: Tensor) -> Tensor:
    """Scramble the bits of a tensor in place."""
    first, second = MULTIPLIERS
    number.mul_(first)
    return number.bitwise_xor_(number >> 15).mul_(second)


def _signed(number: int) -> int:
    """Return the lowest 32 bits as a signed number."""
    return (number & 0xFFFFFFFF) - (1 << 31)
