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
from numpy.typing import NDArray
from torch import Tensor

from nanogpt.errors import UserError

TOP = 127
"""The largest value of an 8-bit weight; -128 is not used, so that both signs reach equally far."""
ALIGNED = 4
MATRIX = 2
"""Dimensions of what is kept in 8 bits."""


@dataclass(frozen=True)
class Place:
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


def place_all(shapes: Mapping[str, Sequence[int]]) -> tuple[list[Place], int]:
    """Where tensors of these shapes go, one after another, and how many bytes they are together.

    >>> [place.offset for place in place_all({"a": (3, 5), "b": (7,)})[0]]
    [0, 24]
    """
    places: list[Place] = []
    end = 0
    for name, shape in shapes.items():
        places.append(Place(name, tuple(shape), end))
        end += -(-places[-1].size // ALIGNED) * ALIGNED
    return places, end


def pack(tensors: Mapping[str, Tensor]) -> tuple[list[Place], bytes]:
    """Vectors and matrices as bytes, and where each is. Raises UserError, naming it, for what is not finite."""
    places, length = place_all({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    packed = bytearray(length)
    for place in places:
        tensor = tensors[place.name].detach().cpu().float()
        if not tensor.isfinite().all():
            raise UserError(f"{place.name} holds what is not a number: the training diverged; train it again")
        packed[place.offset : place.offset + place.size] = _bytes(place.name, tensor)
    return places, bytes(packed)


def unpack(places: Sequence[Place], packed: bytes) -> dict[str, Tensor]:
    """What `pack` wrote, in float32. Raises UserError for scales or vectors that are not finite."""
    found = {}
    for place in places:
        if len(place.shape) == MATRIX:
            scales = np.frombuffer(packed, "<f2", place.shape[0], place.offset)  # (N,)
            values = np.frombuffer(packed, np.int8, math.prod(place.shape), place.offset + scales.nbytes)
            weight = values.reshape(place.shape).astype(np.float32) * scales[:, None].astype(np.float32)  # (N, K)
        else:
            weight = np.frombuffer(packed, "<f4", math.prod(place.shape), place.offset).astype(np.float32)
        if not np.isfinite(weight).all():
            raise UserError(f"{place.name} holds what is not a number: the page is damaged, export it again")
        found[place.name] = torch.from_numpy(weight)
    return found


def quantise(weight: NDArray[np.float32], name: str = "a matrix") -> tuple[NDArray[np.float16], NDArray[np.int8]]:
    """Scales (N,) and values (N, K) of a matrix (N, K): values times scales are nearly it.

    The scale is rounded up, so that the largest of a row is not cut, and only then divided by: it adds no error of its
    own. Raises UserError for a row that is larger than a float16 can scale.

    >>> scales, values = quantise(np.array([[1.27, -0.5, 0.004]], dtype=np.float32))
    >>> values.tolist(), round(float(scales[0]), 3)
    ([[127, -50, 0]], 0.01)
    """
    largest = np.abs(weight).max(axis=1) / TOP  # (N,)
    if largest.max(initial=0.0) > np.finfo(np.float16).max:
        raise UserError(f"{name} has weights too large for 8 bits: the training diverged; train it again")
    scales = largest.astype(np.float16)
    scales = np.where(scales < largest, np.nextafter(scales, np.float16(np.inf)), scales)
    divisors = np.maximum(scales, np.finfo(np.float16).smallest_subnormal).astype(np.float32)  # a row of zeros has 0
    values = np.rint(weight / divisors[:, None]).clip(-TOP, TOP).astype(np.int8)  # (N, K)
    return scales, values


def _bytes(name: str, tensor: Tensor) -> bytes:
    if tensor.dim() != MATRIX:
        return tensor.numpy().astype("<f4").tobytes()
    scales, values = quantise(tensor.numpy(), name)
    return scales.astype("<f2").tobytes() + values.tobytes()
