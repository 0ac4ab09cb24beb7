"""Weights as bytes: matrices in 8 bits with a scale a row, vectors as they are.

A matrix' bytes are its scales (float16, one a row), then its values (int8, row by row); a vector's are float32. All
little-endian. Every tensor begins at a multiple of 4. The product of an int8 and a float16 has at most 18 bits, so
whoever multiplies them in float32 gets the same number: the page and Python compute with the same weights.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nanogpt.errors import UserError
from nanogpt.runs.eight_bits import MATRIX, quantise

ALIGNED = 4


@dataclass(frozen=True)
class Slot:
    """Where a tensor is among the bytes."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """In bytes."""
        numbers = math.prod(self.shape)
        return 2 * self.shape[0] + numbers if len(self.shape) == MATRIX else 4 * numbers

    def to_dict(self) -> dict[str, Any]:
        """As the page's header has it."""
        return {"name": self.name, "shape": list(self.shape), "offset": self.offset}


def lay_out(shapes: Mapping[str, Sequence[int]]) -> tuple[list[Slot], int]:
    """Where tensors of these shapes go, one after another, and how many bytes they are together.

    >>> [slot.offset for slot in lay_out({"a": (3, 5), "b": (7,)})[0]]
    [0, 24]
    """
    slots: list[Slot] = []
    end = 0
    for name, shape in shapes.items():
        slots.append(Slot(name, tuple(shape), end))
        end += -(-slots[-1].size // ALIGNED) * ALIGNED
    return slots, end


def pack(tensors: Mapping[str, Tensor]) -> tuple[list[Slot], bytes]:
    """Vectors and matrices as bytes, and where each is. Raises UserError, naming it, for what is not finite."""
    slots, length = lay_out({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    packed = bytearray(length)
    for slot in slots:
        tensor = tensors[slot.name].detach().cpu().float()
        if not tensor.isfinite().all():
            raise UserError(f"{slot.name} holds what is not a number: the training diverged; train it again")
        packed[slot.offset : slot.offset + slot.size] = _bytes(slot.name, tensor)
    return slots, bytes(packed)


def unpack(slots: Sequence[Slot], packed: bytes) -> dict[str, Tensor]:
    """What `pack` wrote, in float32. Raises UserError for scales or vectors that are not finite."""
    found = {}
    for slot in slots:
        if len(slot.shape) == MATRIX:
            scales = np.frombuffer(packed, "<f2", slot.shape[0], slot.offset)  # (N,)
            values = np.frombuffer(packed, np.int8, math.prod(slot.shape), slot.offset + scales.nbytes)
            weight = values.reshape(slot.shape).astype(np.float32) * scales[:, None].astype(np.float32)  # (N, K)
        else:
            weight = np.frombuffer(packed, "<f4", math.prod(slot.shape), slot.offset).astype(np.float32)
        if not np.isfinite(weight).all():
            raise UserError(f"{slot.name} holds what is not a number: the page is damaged, export it again")
        found[slot.name] = torch.from_numpy(weight)
    return found


def _bytes(name: str, tensor: Tensor) -> bytes:
    if tensor.dim() != MATRIX:
        return tensor.numpy().astype("<f4").tobytes()
    scales, values = quantise(tensor.numpy(), name)
    return scales.astype("<f2").tobytes() + values.tobytes()
