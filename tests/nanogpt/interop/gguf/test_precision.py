"""Number formats of the weights."""

import numpy as np
import pytest
import torch
from tiny import refuses

from nanogpt.interop.gguf.precision import encode

gguf = pytest.importorskip("gguf", reason="needs the package gguf: pip install 'nanogpt[gguf]'")


def drawn(*shape: int) -> np.ndarray:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3)).numpy()


@pytest.mark.parametrize(("precision", "error"), [("f32", 0.0), ("f16", 2**-11), ("q8_0", 1 / 254 + 2**-11)])
def test_matrices_are_rounded_as_the_format_says(precision, error):
    weights = drawn(5, 64)
    data, kind = encode("blk.0.ffn_up.weight", weights, precision)
    assert kind.name == precision.upper()
    found = gguf.dequantize(data, kind)
    scale = np.abs(weights) if precision == "f16" else np.abs(weights).reshape(5, 2, 32).max(-1).repeat(32, -1)
    assert (np.abs(found - weights) <= error * scale).all()
    assert (found == weights).all() == (precision == "f32")


@pytest.mark.parametrize("precision", ["f16", "q8_0"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [("blk.0.attn_norm.weight", (7,)), ("blk.0.ffn_up.bias", (7,)), ("position_embd.weight", (11, 7))],
)
def test_vectors_and_positions_stay_float32(precision, name, shape):
    weights = drawn(*shape)
    data, kind = encode(name, weights, precision)
    assert kind.name == "F32"
    assert (data == weights).all()


def test_rows_that_q8_0_cannot_divide_are_refused():
    message = refuses(
        lambda: encode("blk.0.ffn_down.weight", drawn(5, 40), "q8_0"), "blk.0.ffn_down.weight", "40", "32"
    )
    assert "--precision f16" in message


def test_a_weight_that_a_format_cannot_hold_is_refused():
    weights = drawn(3, 32)
    weights[1, 2] = 65520.0
    refuses(lambda: encode("token_embd.weight", weights, "f16"), "token_embd.weight", "f32")
    assert np.isfinite(gguf.dequantize(*encode("token_embd.weight", weights, "q8_0"))).all()
