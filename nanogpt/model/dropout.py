"""Dropout whose masks are a function of (seed, step, sample), whatever the batch around the sample is.

torch draws masks from one sequence of random numbers, so that a sample's mask depends on the batch, the micro-step and
the process it falls into. Here each element's fate is a hash of its sample's key and its own place: a run goes on with
the same masks in another split of its batches. A mask is hashed again in the backward pass instead of being kept, and
is laid over the bits of the numbers: on a CPU both take a fraction of the time of drawing, and of multiplying by, it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nanogpt.random_streams import stream

# Odd multipliers of MurmurHash3's finaliser (Appleby 2011), as signed 32-bit numbers.
MULTIPLIERS = (0x85EBCA6B - (1 << 32), 0xC2B2AE35 - (1 << 32))
FATES = 1 << 15
"""A fate is one of so many numbers: the share that is dropped is exact to 1 / FATES, 0.003 %."""


class Dropout(nn.Module):
    """Set a share of the elements to zero in training, and scale the others by 1 / (1 - share): any shape (B, ..., C).

    Srivastava et al. 2014. Without keys (`seed_dropout`), as in a loop of one's own, they are torch's random numbers.
    """

    keys: Tensor | None

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("keys", None, persistent=False)

    @property
    def is_on(self) -> bool:
        """Whether anything is dropped now."""
        return self.training and self.share > 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.is_on:
            return x
        y: Tensor = _Drop.apply(x, self.sample_keys(x), self.share)
        return y

    def sample_keys(self, x: Tensor) -> Tensor:
        """A key for each of the samples of x (B, ...): (B,) of int32."""
        if self.keys is not None:
            return self.keys
        return torch.randint(-(1 << 31), 1 << 31, x.shape[:1], dtype=torch.int32, device=x.device)

    def extra_repr(self) -> str:
        return f"{self.share}"


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, keys: Tensor, share: float) -> Tensor:
        ctx.save_for_backward(keys)
        ctx.share = share
        return _drop(x, keys, share)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (keys,) = ctx.saved_tensors
        return _drop(grads[0], keys, ctx.share), None, None


def _drop(x: Tensor, keys: Tensor, share: float) -> Tensor:
    rows = hash_elements(keys, x[0, ..., 0].numel())  # (B, the product of the sizes between)
    return mask_out(x, keep_bits(rows, x.size(-1), share).view(x.shape)).mul_(1 / (1 - share))


def seed_dropout(model: nn.Module, seed: int, step: int, samples: Sequence[int]) -> None:
    """Give every `Dropout` of a model the keys of a batch: one for each sample, numbered within its step."""
    rows = torch.tensor([_signed(stream(seed, "dropout", step, sample)) for sample in samples], dtype=torch.int32)
    layers = [module for module in model.modules() if isinstance(module, Dropout) and module.share]
    rows = rows.to(next(model.parameters()).device)  # once: each layer's are made of them there
    for place, layer in enumerate(layers):
        keys = rows ^ _signed(stream(place, "dropout place"))  # (B,)
        if layer.keys is None or layer.keys.shape != keys.shape:
            layer.keys = keys
        else:
            layer.keys.copy_(keys)  # in place: a compiled step goes on reading the same tensor


def keep_bits(rows: Tensor, count: int, share: float) -> Tensor:
    """Which of `count` elements of each row stay: from the rows' keys (...) a mask (..., count) of int16.

    All bits of an element that stays are set, none of one that is dropped. A 32-bit hash serves two elements.
    """
    fates = hash_elements(rows.flatten(), -(-count // 2)).view(torch.int16)[:, :count]  # (R, count)
    bits = fates.bitwise_right_shift_(1).sub_(round((0.5 - share) * FATES)).bitwise_right_shift_(15)  # the sign
    return bits.view(*rows.shape, count)


def mask_out(x: Tensor, bits: Tensor) -> Tensor:
    """x where all bits are set, else 0: two of the same shape -> the same.

    No product and no boolean: on CPUs torch takes many times as long with booleans.
    """
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return (x.view(integer) & bits.to(integer)).view(x.dtype)


def hash_elements(keys: Tensor, count: int) -> Tensor:
    """A 32-bit number for each of `count` elements of each row, from the rows' keys (R,) -> (R, count) of int32.

    Products and shifts wrap around; the last product carries every bit of key and place into the highest bits of each
    half.
    """
    places = _mix(torch.arange(1, count + 1, dtype=torch.int32, device=keys.device))  # (count,)
    return _mix(keys[:, None] ^ (places ^ (places >> 16)))  # (R, count)


def _mix(number: Tensor) -> Tensor:
    """Of a tensor that nobody else reads."""
    first, second = MULTIPLIERS
    number.mul_(first)
    return number.bitwise_xor_(number >> 15).mul_(second)


def _signed(number: int) -> int:
    """The lowest 32 bits as a signed number."""
    return (number & 0xFFFFFFFF) - (1 << 31)
