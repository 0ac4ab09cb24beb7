"""Weights stored in 8 bits in a safetensors file: each matrix as int8 with a float16 scale for each row.

The matrix `name` (N, K) is stored as `name`, I8 (N, K), and `name:scale`, F16 (N,); vectors stay float32. The product
of an int8 and a float16 has at most 18 bits: it is the same number everywhere.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from nanogpt.errors import UserError

TOP = 127
"""Largest 8-bit weight; -128 is not used, so that both signs have the same range."""
MATRIX = 2
"""Dimensions of a tensor that is stored in 8 bits."""
SCALE = ":scale"
"""Suffix of the name of a matrix's scales"""

Layout = Mapping[str, tuple[tuple[int, ...], str]]
"""Name to shape and number format, as a safetensors header gives it."""


def quantise(weight: NDArray[np.float32], name: str = "a matrix") -> tuple[NDArray[np.float16], NDArray[np.int8]]:
    """Return scales (N,) and values (N, K) whose product is nearly the matrix (N, K).

    A scale is rounded up before the division. Raises UserError for a row too large for a float16 scale.

    >>> import numpy as np
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


def narrow(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return float32 weights as they are stored in 8 bits. Raises UserError as `quantise` does.

    >>> {name: str(t.dtype) for name, t in narrow({"up": torch.ones(2, 3), "gain": torch.ones(3)}).items()}
    {'up': 'torch.int8', 'up:scale': 'torch.float16', 'gain': 'torch.float32'}
    """
    found = {}
    for name, tensor in tensors.items():
        if tensor.dim() == MATRIX:
            scales, values = quantise(tensor.numpy(), name)
            found[name], found[name + SCALE] = torch.from_numpy(values), torch.from_numpy(scales)
        else:
            found[name] = tensor
    return found


def widen(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the float32 weights of what `narrow` returned; other tensors stay as they are.

    >>> widen({"up": torch.tensor([[1, -2]], dtype=torch.int8), "up:scale": torch.tensor([0.5]).half()})
    {'up': tensor([[ 0.5000, -1.0000]])}
    """
    scales = {name.removesuffix(SCALE): tensor for name, tensor in tensors.items() if name.endswith(SCALE)}
    return {
        name: tensor.float() * scales[name].float()[:, None] if name in scales else tensor
        for name, tensor in tensors.items()
        if not name.endswith(SCALE)
    }


def load_wide(path: Path) -> dict[str, Tensor]:
    """Return the float32 weights in a file."""
    return widen(load_file(path))


def wide_layout(layout: Layout) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return a file's layout after `widen`. Entries that don't belong together stay, and match no config.

    >>> wide_layout({"up": ((2, 3), "I8"), "up:scale": ((2,), "F16"), "gain": ((3,), "F32")})
    {'up': ((2, 3), 'F32'), 'gain': ((3,), 'F32')}
    >>> wide_layout({"up": ((2, 3), "I8"), "up:scale": ((3,), "F16")})
    {'up': ((2, 3), 'I8'), 'up:scale': ((3,), 'F16')}
    """
    found = dict(layout)
    for name, (shape, kind) in layout.items():
        if kind == "I8" and len(shape) == MATRIX and layout.get(name + SCALE) == ((shape[0],), "F16"):
            found[name] = (shape, "F32")
            del found[name + SCALE]
    return found
