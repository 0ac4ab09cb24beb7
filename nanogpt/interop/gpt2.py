"""GPT-2 (Radford et al. 2019), as Hugging Face keeps it: its linear layers' weights are the transposes of torch's."""

from collections.abc import Mapping
from typing import Any

from nanogpt.config import ModelConfig, load_preset
from nanogpt.interop.family import demand
from nanogpt.interop.places import Place, Table

NAME, MODEL_TYPE, ARCHITECTURE, PRESET = "GPT-2", "gpt2", "GPT2LMHeadModel", "gpt2"
ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "gelu_tanh": "gelu_new"}
"""Our names to theirs."""
READ_ACTIVATIONS = {theirs: ours for ours, theirs in ACTIVATIONS.items()} | {"gelu_pytorch_tanh": "gelu_tanh"}
FIXED = {
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "activation_function": tuple(READ_ACTIVATIONS),
}
"""What other values would compute otherwise."""


def unlike(model: ModelConfig) -> dict[str, str]:
    """Each part that GPT-2 does not have, with the reason. A bias that is missing is one of zeros there."""
    reasons = {
        "norm": (model.norm != "layer", "it has layer normalisation"),
        "norm_position": (model.norm_position != "pre", "it normalises before each sub-layer"),
        "position": (model.position != "learned", "its positions are learned vectors"),
        "activation": (model.activation not in ACTIVATIONS, f"it has {', '.join(ACTIVATIONS)}"),
        "qk_norm": (model.qk_norm, "it does not normalise queries and keys"),
        "head_bias": (model.head_bias, "its output layer has no bias"),
        "n_kv_head": (model.kv_heads != model.n_head, "each of its heads has keys and values of its own"),
        "head_size": (model.head_channels * model.n_head != model.n_embd, "it is n_embd / n_head"),
        "mask_documents": (model.mask_documents, "its attention looks back beyond documents"),
    }
    return {part: reason for part, (holds, reason) in reasons.items() if holds}


def settings(model: ModelConfig) -> dict[str, Any]:
    """Its config.json of such a model, without tokens."""
    return {
        "vocab_size": model.vocab_size,
        "n_positions": model.block_size,
        "n_embd": model.n_embd,
        "n_layer": model.n_layer,
        "n_head": model.n_head,
        "n_inner": model.hidden,
        "activation_function": ACTIVATIONS[model.activation],
        "layer_norm_epsilon": model.norm_eps,
        "tie_word_embeddings": model.tie_embeddings,
        "resid_pdrop": model.dropout,
        "attn_pdrop": model.dropout if model.attention_dropout is None else model.attention_dropout,
        "embd_pdrop": model.dropout if model.embedding_dropout is None else model.embedding_dropout,
    }


def read_settings(tables: Mapping[str, Any]) -> ModelConfig:
    """The model that a config.json asks for: the preset `gpt2` at its sizes."""
    demand(tables, FIXED, NAME)
    preset = load_preset("gpt2").model
    dropout = tables.get("resid_pdrop", 0.1)
    activation: Any = READ_ACTIVATIONS[tables.get("activation_function", "gelu_new")]
    return ModelConfig(
        vocab_size=tables["vocab_size"],
        block_size=tables.get("n_positions", 1024),
        n_layer=tables["n_layer"],
        n_head=tables["n_head"],
        n_embd=tables["n_embd"],
        mlp_hidden=tables.get("n_inner") or 4 * tables["n_embd"],
        norm="layer",
        norm_eps=tables.get("layer_norm_epsilon", 1e-5),
        position="learned",
        activation=activation,
        qkv_bias=True,
        bias=True,
        tie_embeddings=tables.get("tie_word_embeddings", True),
        dropout=dropout,
        attention_dropout=tables.get("attn_pdrop", 0.1),
        embedding_dropout=tables.get("embd_pdrop", 0.1),
        init=preset.init,
    )


def places(model: ModelConfig) -> Table:
    """Where its file keeps each weight."""
    C, F, V = model.n_embd, model.hidden, model.vocab_size
    table: dict[str, tuple[Place, ...]] = {
        "token_embedding.weight": (Place("transformer.wte.weight", (V, C)),),
        "position_embedding.weight": (Place("transformer.wpe.weight", (model.block_size, C)),),
        **_vector("final_norm", "transformer.ln_f", C),
    }
    for layer in range(model.n_layer):
        ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
        table |= {
            **_vector(f"{ours}.attention_norm", f"{theirs}.ln_1", C),
            **_linear(f"{ours}.attention.qkv", f"{theirs}.attn.c_attn", C, 3 * C),
            **_linear(f"{ours}.attention.proj", f"{theirs}.attn.c_proj", C, C),
            **_vector(f"{ours}.mlp_norm", f"{theirs}.ln_2", C),
            **_linear(f"{ours}.mlp.up", f"{theirs}.mlp.c_fc", C, F),
            **_linear(f"{ours}.mlp.down", f"{theirs}.mlp.c_proj", F, C),
        }
    if not model.tie_embeddings:
        table["lm_head.weight"] = (Place("lm_head.weight", (V, C)),)
    return table


def _vector(ours: str, theirs: str, size: int) -> dict[str, tuple[Place, ...]]:
    return {f"{ours}.{kind}": (Place(f"{theirs}.{kind}", (size,)),) for kind in ("weight", "bias")}


def _linear(ours: str, theirs: str, into: int, out: int) -> dict[str, tuple[Place, ...]]:
    return {
        f"{ours}.weight": (Place(f"{theirs}.weight", (into, out), transposed=True),),
        f"{ours}.bias": (Place(f"{theirs}.bias", (out,)),),
    }
