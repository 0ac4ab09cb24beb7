"""Names and number formats of the tensors in a GGUF file, and which models llama.cpp computes as we do."""

import numpy as np
import pytest
import torch
from tiny import refuses, tiny_config

from nanogpt.interop.gguf.tensors import encode, gguf_tensor_map, llama_architecture

gguf = pytest.importorskip("gguf", reason="needs the package gguf: pip install 'nanogpt[gguf]'")

GPT2 = {"n_head": 3, "n_embd": 15, "head_size": None}


def tensors(preset: str, ours: str, **settings):
    model = tiny_config(preset, **settings).model
    return gguf_tensor_map(model, llama_architecture(model))[ours]


@pytest.mark.parametrize(
    ("preset", "settings", "ours", "theirs"),
    [
        ("modern", {}, "blocks.1.attention.qkv.weight", ["blk.1.attn_q", "blk.1.attn_k", "blk.1.attn_v"]),
        ("modern", {}, "blocks.0.mlp.up.weight", ["blk.0.ffn_gate", "blk.0.ffn_up"]),
        ("modern", {"tie_embeddings": False}, "lm_head.weight", ["output"]),
        ("gpt2", GPT2, "blocks.1.attention.qkv.weight", ["blk.1.attn_qkv"]),
        ("gpt2", GPT2, "position_embedding.weight", ["position_embd"]),
    ],
)
def test_tensor_names(preset, settings, ours, theirs):
    assert [one.name for one in tensors(preset, ours, **settings)] == [f"{name}.weight" for name in theirs]


def test_the_matrices_of_gpt2_are_not_transposed():
    (one,) = tensors("gpt2", "blocks.0.mlp.up.weight", mlp_hidden=17, **GPT2)
    assert (one.shape, one.transposed) == ((17, 15), False)


@pytest.mark.parametrize(
    ("preset", "settings", "named"),
    [
        ("gpt2", GPT2 | {"activation": "relu"}, "activation"),
        ("gpt2", GPT2 | {"activation": "gelu"}, "activation"),
        ("gpt2", GPT2 | {"head_bias": True}, "head_bias"),
        ("modern", {"qkv_bias": True}, "qkv_bias"),
        ("modern", {"qk_norm": False, "qkv_bias": True}, "head_size"),
        ("modern", {"n_layer": 513}, "n_layer"),
    ],
)
def test_what_llama_cpp_computes_differently_is_refused_by_name(preset, settings, named):
    refuses(lambda: llama_architecture(tiny_config(preset, **settings).model), f"{named} (")


def test_llamas_queries_and_keys_have_the_two_halves_of_a_head_in_turn():
    q, k, v = tensors("modern", "blocks.0.attention.qkv.weight", qk_norm=False, n_embd=15, n_kv_head=1)
    rows = torch.arange(30.0)[:, None].expand(30, 15)
    assert q.from_ours(rows)[:, 0].tolist() == [
        10 * head + i + half for head in range(3) for i in range(5) for half in (0, 5)
    ]
    assert k.from_ours(rows[:10])[:4, 3].tolist() == [0, 5, 1, 6]
    assert torch.equal(q.to_ours(q.from_ours(rows)), rows)
    assert torch.equal(v.from_ours(rows[:10]), rows[:10])


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


def test_what_a_format_cannot_hold_is_refused():
    refuses(lambda: encode("blk.0.ffn_down.weight", drawn(5, 40), "q8_0"), "blk.0.ffn_down.weight", "40", "32", "f16")
    weights = drawn(3, 32)
    weights[1, 2] = 65520.0
    refuses(lambda: encode("token_embd.weight", weights, "f16"), "token_embd.weight", "f32")
    assert np.isfinite(gguf.dequantize(*encode("token_embd.weight", weights, "q8_0"))).all()
