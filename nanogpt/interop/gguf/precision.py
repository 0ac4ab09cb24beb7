"""Number formats of the weights in a file, and how near llama.cpp's logits come to ours on the same weights."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nanogpt.errors import UserError
from nanogpt.interop.gguf.names import library

Precision = Literal["f32", "f16", "q8_0"]
FILE_TYPES: dict[Precision, int] = {"f32": 0, "f16": 1, "q8_0": 7}
"""`general.file_type` (LLAMA_FTYPE)."""
LARGEST = {"f32": float("inf"), "f16": 65504.0, "q8_0": 127 * 65504.0}
"""The largest weight that a format holds. Those of q8_0 are bytes times a scale of 16 bits, one for 32 weights."""
TOLERANCE: dict[str, dict[Precision, float]] = {
    "qwen3": {"f32": 5e-5, "f16": 2e-2, "q8_0": 0.3},
    "gpt2": {"f32": 5e-3, "f16": 2e-2, "q8_0": 0.3},
}
"""By llama.cpp's architecture: the largest difference of a logit, as a share (`opened.allowed_difference`).

Both sides have the very same weights, so what is left is how llama.cpp multiplies them. With f32 it adds up in another
order; in GPT-2 it also looks up GELU in a table of 16-bit numbers, which costs three digits. With f16 it rounds what a
matrix is multiplied with to 16 bits too, with q8_0 to bytes with a scale for 32 of them.

Measured on trained models (3 of 300 steps) and on random ones (1 to 8 layers, 12 to 128 channels, weights as large as
those of a fresh model and twice that), the largest were 8e-6, 5e-3, 0.14 of qwen3 and 2e-3, 6e-3, 0.22 of gpt2."""


def encode(name: str, weights: NDArray[np.float32], precision: Precision) -> tuple[NDArray[np.generic], int]:
    """A tensor of the file in its number format, and the package's number of that format.

    Vectors, norms and positions stay float32, as in llama.cpp's own converter. Raises UserError where a matrix has
    rows that q8_0 cannot divide, or a weight that is too large.
    """
    gguf = library()
    kept = weights.ndim < 2 or name.startswith("position_embd")
    kind = gguf.GGMLQuantizationType["F32" if kept else precision.upper()]
    block = gguf.GGML_QUANT_SIZES[kind][0]
    if weights.shape[-1] % block:
        raise UserError(
            f"q8_0 has one scale for {block} weights of a row, and the rows of {name} have {weights.shape[-1]}, which "
            f"is no multiple of {block}: choose --precision f16"
        )
    if not kept and np.abs(weights).max() > LARGEST[precision]:
        raise UserError(f"{name} has weights larger than {precision} holds ({LARGEST[precision]:,.0f}): choose f32")
    return gguf.quantize(weights, kind), kind
