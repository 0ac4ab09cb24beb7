"""Weights as bytes: matrices in 8 bits with one scale per row, vectors in float32.

A matrix is its scales (float16, one per row), then its values (int8, row by row). All is little-endian, and each tensor
starts at a multiple of 4. float32 holds an int8 times a float16 exactly: the page and Python have the same weights.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nanogpt.errors import UserError
from nanogpt.runs.eight_bits import MATRIX, quantise

ALIGNMENT = 4


@dataclass(frozen=True)
class Slot:
    """The location of a tensor in the bytes."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        numbers = math.prod(self.shape)
        return 2 * self.shape[0] + numbers if len(self.shape) == MATRIX else 4 * numbers

    def to_dict(self) -> dict[str, Any]:
        """Return the entry in the page's data."""
        return asdict(self) | {"shape": list(self.shape)}


def lay_out(shapes: Mapping[str, Sequence[int]]) -> tuple[list[Slot], int]:
    """Return where tensors of these shapes go, one after another, and their total size in bytes.

    >>> [slot.offset for slot in lay_out({"a": (3, 5), "b": (7,)})[0]]
    [0, 24]
    """
    slots: list[Slot] = []
    end = 0
    for name, shape in shapes.items():
        slots.append(Slot(name, tuple(shape), end))
        end += -(-slots[-1].size // ALIGNMENT) * ALIGNMENT
    return slots, end


def pack(tensors: Mapping[str, Tensor]) -> tuple[list[Slot], bytes]:
    """Return where each tensor is, and the bytes; raise UserError for a tensor that is not finite."""
    slots, length = lay_out({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    packed = bytearray(length)
    for slot in slots:
        tensor = tensors[slot.name].detach().cpu().float()
        if not tensor.isfinite().all():
            raise UserError(f"{slot.name} has weights that are not finite: the training diverged; train it again")
        if tensor.dim() == MATRIX:
            scales, values = quantise(tensor.numpy(), slot.name)
            data = scales.astype("<f2").tobytes() + values.tobytes()
        else:
            data = tensor.numpy().astype("<f4").tobytes()
        packed[slot.offset : slot.offset + slot.size] = data
    return slots, bytes(packed)


def unpack(slots: Sequence[Slot], packed: bytes) -> dict[str, Tensor]:
    """Return the tensors that `pack` wrote, in float32; raise UserError for numbers that are not finite."""
    found = {}
    for slot in slots:
        if len(slot.shape) == MATRIX:
            scales = np.frombuffer(packed, "<f2", slot.shape[0], slot.offset)  # (N,)
            values = np.frombuffer(packed, np.int8, math.prod(slot.shape), slot.offset + scales.nbytes)
            weight = values.reshape(slot.shape).astype(np.float32) * scales[:, None].astype(np.float32)  # (N, K)
        else:
            weight = np.frombuffer(packed, "<f4", math.prod(slot.shape), slot.offset).astype(np.float32)
        if not np.isfinite(weight).all():
            raise UserError(f"{slot.name} has weights that are not finite: the page is damaged, export it again")
        found[slot.name] = torch.from_numpy(weight)
    return found
