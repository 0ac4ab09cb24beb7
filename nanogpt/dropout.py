"""Dropout whose masks are a function of (seed, step, sample), whatever the batch around the sample is.

torch draws masks from one sequence of random numbers, so that a sample's mask depends on the batch, the micro-step and
the process it falls into. Here each element's fate is a hash of its sample's key and its own place: a run goes on with
the same masks in another split of its batches. On a CPU it is also faster than drawing them in sequence.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nanogpt.streams import stream

# Odd multipliers of MurmurHash3's finaliser (Appleby 2011), as signed 32-bit numbers.
MULTIPLIERS = (0x85EBCA6B - (1 << 32), 0xC2B2AE35 - (1 << 32))


class Dropout(nn.Module):
    """Set a share of the elements to zero in training, and scale the others by 1 / (1 - share): any shape (B, ...).

    Srivastava et al. 2014. Without keys (`seed_dropout`) it is torch's own dropout, for a loop of one's own.
    """

    keys: Tensor | None

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("keys", None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not self.share:
            return x
        if self.keys is None:
            return F.dropout(x, self.share)
        # The hash is uniform over all 32-bit numbers, of which this many are below the limit.
        limit = int((0.5 - self.share) * 2**32)
        kept = (hash_elements(self.keys, x[0].numel()) < limit).view(x.shape)
        return x * kept * (1 / (1 - self.share))

    def extra_repr(self) -> str:
        return f"{self.share}"


def seed_dropout(model: nn.Module, seed: int, step: int, samples: Sequence[int]) -> None:
    """Give every `Dropout` of a model the keys of a batch: one for each sample, numbered within its step."""
    rows = torch.tensor([_signed(stream(seed, "dropout", step, sample)) for sample in samples], dtype=torch.int32)
    layers = [module for module in model.modules() if isinstance(module, Dropout) and module.share]
    for place, layer in enumerate(layers):
        keys = rows ^ _signed(stream(place, "dropout place"))  # (B,)
        if layer.keys is None or layer.keys.shape != keys.shape:
            layer.keys = keys.to(next(model.parameters()).device)
        else:
            layer.keys.copy_(keys)  # in place: a compiled step goes on reading the same tensor


def hash_elements(keys: Tensor, count: int) -> Tensor:
    """A 32-bit number for each of `count` elements of each row, from the rows' keys (B,) -> (B, count) of int32.

    Products and shifts wrap around; the last product carries every bit of key and place into the highest bits, which
    decide a comparison.
    """
    places = _mix(torch.arange(1, count + 1, dtype=torch.int32, device=keys.device))  # (count,)
    return _mix(keys[:, None] ^ (places ^ (places >> 16)))  # (B, count)


def _mix(number: Tensor) -> Tensor:
    first, second = MULTIPLIERS
    number = number * first
    return (number ^ (number >> 15)) * second


def _signed(number: int) -> int:
    """The lowest 32 bits as a signed number."""
    return (number & 0xFFFFFFFF) - (1 << 31)
