"""Tensors in a GGUF file: their names, their number formats, and which models llama.cpp computes as we do."""

from types import ModuleType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.interop.architectures import Architecture, FileTensor, TensorMap, architecture_of, check_expressible

MAX_LAYERS = 512
"""LLAMA_MAX_LAYERS: with more, llama.cpp ends the process."""
Precision = Literal["f32", "f16", "q8_0"]
FILE_TYPES: dict[Precision, int] = {"f32": 0, "f16": 1, "q8_0": 7}
"""`general.file_type` (LLAMA_FTYPE)."""
LARGEST = {"f32": float("inf"), "f16": 65504.0, "q8_0": 127 * 65504.0}
"""The largest weight in each format; q8_0 stores bytes with a 16-bit scale per 32 weights."""
TOLERANCE: dict[str, dict[Precision, float]] = {
    **{name: {"f32": 5e-5, "f16": 2e-2, "q8_0": 0.3} for name in ("llama", "qwen2", "qwen3")},
    "gpt2": {"f32": 5e-3, "f16": 2e-2, "q8_0": 0.3},
}
"""Allowed difference of a logit by llama.cpp's architecture, as a share of the logits' spread (`allowed_difference`).

Both sides have the same weights, so only llama.cpp's arithmetic differs. With f32 it adds in another order, and in
GPT-2 it looks up GELU in a table of 16-bit numbers, which costs three digits. With f16 it also rounds what a matrix is
multiplied by to 16 bits, with q8_0 to bytes with one scale per 32. The largest measured, on trained and random models,
were 8e-6, 6e-3, 0.2 for llama, qwen2 and qwen3, and 2e-3, 6e-3, 0.22 for gpt2."""


def library() -> ModuleType:
    """Return the package `gguf`; raise UserError if it is not installed."""
    try:
        import gguf
    except ImportError:
        raise UserError("a GGUF file needs the package gguf: pip install 'nanogpt[gguf]'") from None
    return gguf


def llama_architecture(model: ModelConfig) -> Architecture:
    """Return the architecture as which llama.cpp computes a model; raise UserError, naming settings, if it does not."""
    architecture, reasons = architecture_of(model), {}
    if model.activation not in ("gelu_tanh", "swiglu"):
        reasons["activation"] = f"its GPT-2 has only gelu_tanh, and this model has {model.activation}"
    if architecture.model_type == "qwen2" and model.head_channels * model.n_head != model.n_embd:
        reasons["head_size"] = "in its Qwen2 it is n_embd / n_head"
    if model.n_layer > MAX_LAYERS:
        reasons["n_layer"] = f"it has at most {MAX_LAYERS} layers"
    check_expressible("llama.cpp", reasons)
    return architecture


def gguf_tensor_map(model: ModelConfig, architecture: Architecture) -> TensorMap:
    """Return which tensors of a GGUF file hold each of our weights, with shapes as in torch.

    llama.cpp rotates neighbouring channels of its `llama`, as the paper does, and the two halves of the others' heads.
    """
    gguf = library()
    number = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture.model_type)
    names = gguf.get_tensor_name_map(number, model.n_layer)

    def renamed(one: FileTensor) -> FileTensor:
        name = names.get_name(one.name, try_suffixes=(".weight", ".bias"))
        assert name is not None, one.name
        pairs = architecture.model_type == "llama" and one.name.endswith(("q_proj.weight", "k_proj.weight"))
        shape = one.shape[::-1] if one.transposed else one.shape
        return FileTensor(name, shape, interleaved=model.head_channels if pairs else None)

    return {ours: tuple(map(renamed, theirs)) for ours, theirs in architecture.tensor_map(model).items()}


def encode(name: str, weights: NDArray[np.float32], precision: Precision) -> tuple[NDArray[np.generic], int]:
    """Return a tensor in its number format, and the package's number of that format.

    Vectors, norms and positions stay float32, as in llama.cpp's own converter.
    """
    gguf = library()
    kept = weights.ndim < 2 or name.startswith("position_embd")
    kind = gguf.GGMLQuantizationType["F32" if kept else precision.upper()]
    block = gguf.GGML_QUANT_SIZES[kind][0]
    rows, largest = weights.shape[-1], LARGEST[precision]
    if rows % block:
        raise UserError(f"q8_0 needs rows of a multiple of {block}, and {name} has {rows}: choose --precision f16")
    if not kept and np.abs(weights).max() > largest:
        raise UserError(f"{name} has weights too large for {precision} ({largest:,.0f}): choose --precision f32")
    return gguf.quantize(weights, kind), kind
