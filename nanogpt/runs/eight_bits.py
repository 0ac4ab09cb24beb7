"""Weights in 8 bits in a safetensors file: each matrix as int8, and beside it a float16 scale for each of its rows.

The matrix `name` (N, K) is kept as `name`, I8 (N, K), and `name:scale`, F16 (N,); vectors stay float32. Reading
multiplies: what comes out is float32, and nothing else has to know. The product of an int8 and a float16 has at most
18 bits, so it is the same number everywhere, and rounding it to 8 bits again changes nothing.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nanogpt.errors import UserError

TOP = 127
"""The largest value of an 8-bit weight; -128 is not used, so that both signs reach equally far."""
MATRIX = 2
"""Dimensions of what is kept in 8 bits."""
SCALE = ":scale"
"""What follows the name of a matrix in that of its scales."""

Layout = Mapping[str, tuple[tuple[int, ...], str]]
"""Name to shape and number format, as a safetensors header gives it."""


def quantise(weight: NDArray[np.float32], name: str = "a matrix") -> tuple[NDArray[np.float16], NDArray[np.int8]]:
    """Scales (N,) and values (N, K) of a matrix (N, K): values times scales are nearly it.

    The scale is rounded up, so that the largest of a row is not cut, and only then divided by: it adds no error of its
    own. Raises UserError for a row that is larger than a float16 can scale.

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
    """Float32 weights as they are kept in 8 bits. Raises UserError as `quantise`.

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
    """Weights as `narrow` gave them, in float32; others as they are.

    >>> widen({"up": torch.tensor([[1, -2]], dtype=torch.int8), "up:scale": torch.tensor([0.5]).half()})
    {'up': tensor([[ 0.5000, -1.0000]])}
    """
    scales = {name.removesuffix(SCALE): tensor for name, tensor in tensors.items() if name.endswith(SCALE)}
    return {
        name: tensor.float() * scales[name].float()[:, None] if name in scales else tensor
        for name, tensor in tensors.items()
        if not name.endswith(SCALE)
    }


def wide_layout(layout: Layout) -> dict[str, tuple[tuple[int, ...], str]]:
    """The layout of what `widen` makes of a file. What does not belong together stays, and fits no config.

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
