"""Qwen3 (Yang et al. 2025), as Hugging Face keeps it: separate matrices for queries, keys, values, gate and product."""

from collections.abc import Mapping
from typing import Any

from nanogpt.config import ModelConfig, load_preset
from nanogpt.errors import UserError
from nanogpt.interop.family import demand
from nanogpt.interop.places import Place, Table

NAME, MODEL_TYPE, ARCHITECTURE, PRESET = "Qwen3", "qwen3", "Qwen3ForCausalLM", "modern"
FIXED = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "use_sliding_window": (False,),
    "rope_scaling": (None,),
}
"""What other values would compute otherwise."""


def unlike(model: ModelConfig) -> dict[str, str]:
    """Each part that Qwen3 does not have, with the reason."""
    reasons = {
        "norm": (model.norm != "rms", "it has RMS normalisation"),
        "norm_position": (model.norm_position != "pre", "it normalises before each sub-layer"),
        "position": (model.position != "rope", "it turns queries and keys"),
        "activation": (model.activation != "swiglu", "its feed-forward network is gated"),
        "qk_norm": (not model.qk_norm, "it normalises queries and keys"),
        "qkv_bias": (model.qkv_bias, "it has no biases"),
        "bias": (model.bias, "it has no biases"),
        "head_bias": (model.head_bias, "it has no biases"),
        "mask_documents": (model.mask_documents, "its attention looks back beyond documents"),
    }
    return {part: reason for part, (holds, reason) in reasons.items() if holds}


def settings(model: ModelConfig) -> dict[str, Any]:
    """Its config.json of such a model, without tokens."""
    return {
        "vocab_size": model.vocab_size,
        "max_position_embeddings": model.block_size,
        "hidden_size": model.n_embd,
        "intermediate_size": model.hidden,
        "num_hidden_layers": model.n_layer,
        "num_attention_heads": model.n_head,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_channels,
        "hidden_act": "silu",
        "rms_norm_eps": model.norm_eps,
        "rope_theta": model.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta},
        "attention_bias": False,
        "attention_dropout": 0.0,
        "use_sliding_window": False,
        "tie_word_embeddings": model.tie_embeddings,
    }


def read_settings(tables: Mapping[str, Any]) -> ModelConfig:
    """The model that a config.json asks for: the preset `modern` at its sizes."""
    demand(tables, FIXED, NAME)
    turns = tables.get("rope_parameters") or {}
    if turns.get("rope_type", "default") != "default":
        raise UserError(f"config.json: rope_type is {turns['rope_type']!r}, and only 'default' can be read")
    if set(tables.get("layer_types") or ()) - {"full_attention"}:
        raise UserError("config.json: layer_types has others than 'full_attention', which cannot be read")
    return ModelConfig(
        vocab_size=tables["vocab_size"],
        block_size=tables["max_position_embeddings"],
        n_layer=tables["num_hidden_layers"],
        n_head=tables["num_attention_heads"],
        n_kv_head=tables.get("num_key_value_heads"),
        n_embd=tables["hidden_size"],
        head_size=tables.get("head_dim", 128),
        mlp_hidden=tables["intermediate_size"],
        norm="rms",
        norm_eps=tables.get("rms_norm_eps", 1e-6),
        position="rope",
        rope_theta=float(turns.get("rope_theta", tables.get("rope_theta", 10_000.0))),
        activation="swiglu",
        qk_norm=True,
        bias=False,
        tie_embeddings=tables.get("tie_word_embeddings", False),
        attention_dropout=0.0,
        init=load_preset("modern").model.init,
    )


def places(model: ModelConfig) -> Table:
    """Where its file keeps each weight."""
    C, F, V, D = model.n_embd, model.hidden, model.vocab_size, model.head_channels
    queries, keys = model.n_head * D, model.kv_heads * D
    table: dict[str, tuple[Place, ...]] = {
        "token_embedding.weight": (Place("model.embed_tokens.weight", (V, C)),),
        "final_norm.weight": (Place("model.norm.weight", (C,)),),
    }
    for layer in range(model.n_layer):
        ours, theirs = f"blocks.{layer}", f"model.layers.{layer}"
        attention, mlp = f"{theirs}.self_attn", f"{theirs}.mlp"
        table |= {
            f"{ours}.attention_norm.weight": (Place(f"{theirs}.input_layernorm.weight", (C,)),),
            f"{ours}.attention.qkv.weight": (
                Place(f"{attention}.q_proj.weight", (queries, C)),
                Place(f"{attention}.k_proj.weight", (keys, C)),
                Place(f"{attention}.v_proj.weight", (keys, C)),
            ),
            f"{ours}.attention.q_norm.weight": (Place(f"{attention}.q_norm.weight", (D,)),),
            f"{ours}.attention.k_norm.weight": (Place(f"{attention}.k_norm.weight", (D,)),),
            f"{ours}.attention.proj.weight": (Place(f"{attention}.o_proj.weight", (C, queries)),),
            f"{ours}.mlp_norm.weight": (Place(f"{theirs}.post_attention_layernorm.weight", (C,)),),
            f"{ours}.mlp.up.weight": (
                Place(f"{mlp}.gate_proj.weight", (F, C)),
                Place(f"{mlp}.up_proj.weight", (F, C)),
            ),
            f"{ours}.mlp.down.weight": (Place(f"{mlp}.down_proj.weight", (C, F)),),
        }
    if not model.tie_embeddings:
        table["lm_head.weight"] = (Place("lm_head.weight", (V, C)),)
    return table
