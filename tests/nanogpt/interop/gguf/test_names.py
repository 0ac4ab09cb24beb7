"""Names of weights in a GGUF file, and which models llama.cpp computes as ours."""

import sys

import pytest
from tiny import refuses, tiny_config

from nanogpt.interop.gguf.names import family_for_llama, library, places

pytest.importorskip("gguf", reason="needs the package gguf: pip install 'nanogpt[gguf]'")

GPT2 = {"n_head": 3, "n_embd": 15, "head_size": None}


def table(preset: str, **settings):
    model = tiny_config(preset, **settings).model
    return places(model, family_for_llama(model))


def test_every_weight_has_a_name_of_llama_cpp():
    modern, gpt2 = table("modern", tie_embeddings=False), table("gpt2", **GPT2)
    assert [place.name for place in modern["blocks.1.attention.qkv.weight"]] == [
        "blk.1.attn_q.weight",
        "blk.1.attn_k.weight",
        "blk.1.attn_v.weight",
    ]
    assert [place.name for place in modern["blocks.0.mlp.up.weight"]] == [
        "blk.0.ffn_gate.weight",
        "blk.0.ffn_up.weight",
    ]
    assert modern["lm_head.weight"][0].name == "output.weight"
    assert gpt2["blocks.1.attention.qkv.bias"][0].name == "blk.1.attn_qkv.bias"
    assert gpt2["position_embedding.weight"][0].name == "position_embd.weight"


def test_the_matrices_of_gpt2_are_not_transposed():
    (place,) = table("gpt2", mlp_hidden=17, **GPT2)["blocks.0.mlp.up.weight"]
    assert place.shape == (17, 15)
    assert not place.transposed


@pytest.mark.parametrize(
    ("preset", "settings", "named"),
    [
        ("gpt2", GPT2 | {"activation": "relu"}, "activation"),
        ("gpt2", GPT2 | {"activation": "gelu"}, "activation"),
        ("gpt2", GPT2 | {"head_bias": True}, "head_bias"),
        ("gpt2", GPT2 | {"norm_position": "post"}, "norm_position"),
        ("gpt2", GPT2 | {"position": "sinusoidal"}, "position"),
        ("gpt2", GPT2 | {"head_size": 7}, "head_size"),
        ("gpt2", GPT2 | {"n_kv_head": 1}, "n_kv_head"),
        ("modern", {"mask_documents": True, "document_token": 3}, "mask_documents"),
        ("modern", {"qkv_bias": True}, "qkv_bias"),
        ("modern", {"bias": True}, "bias"),
        ("modern", {"head_bias": True}, "head_bias"),
        ("modern", {"qk_norm": False}, "qk_norm"),
        ("modern", {"norm_position": "post"}, "norm_position"),
        ("modern", {"n_layer": 513}, "n_layer"),
    ],
)
def test_what_llama_cpp_computes_otherwise_is_refused_by_name(preset, settings, named):
    refuses(lambda: family_for_llama(tiny_config(preset, **settings).model), "cannot express", f"{named} (")


def test_without_the_package_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    refuses(library, "pip install 'nanogpt[gguf]'")
