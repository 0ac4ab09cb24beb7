"""The model families that other programs know, as Hugging Face Transformers stores them: `ARCHITECTURES` lists them.

Llama (Touvron et al. 2023) and those built like it: Mistral (Jiang et al. 2023), Qwen2 (Yang et al. 2024) and Qwen3
(Yang et al. 2025). And GPT-2 (Radford et al. 2019).

Each of our tensors is one or more of theirs, stacked by rows and perhaps transposed. Nothing is computed, so every
number keeps its bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from nanogpt.config import ModelConfig, load_preset
from nanogpt.errors import UserError


@dataclass(frozen=True)
class FileTensor:
    """A tensor in another program's file, which holds some rows of one of ours."""

    name: str
    shape: tuple[int, ...]
    """shape in the file"""
    transposed: bool = False
    """whether the file has the transpose of our matrix"""
    interleaved: int | None = None
    """head size D of queries or keys, if rows i and i + D/2 of each head are neighbours in the file"""

    @property
    def rows(self) -> int:
        """Number of our rows that it holds."""
        return self.shape[-1] if self.transposed else self.shape[0]

    def from_ours(self, rows: Tensor) -> Tensor:
        """Return the file's tensor, made of our rows."""
        if self.interleaved:
            rows = rows.unflatten(0, (-1, 2, self.interleaved // 2)).transpose(1, 2).flatten(0, 2)
        return (rows.T if self.transposed else rows).contiguous()

    def to_ours(self, tensor: Tensor) -> Tensor:
        """Return our rows of the file's tensor."""
        rows = tensor.T if self.transposed else tensor
        if self.interleaved:
            rows = rows.unflatten(0, (-1, self.interleaved // 2, 2)).transpose(1, 2).flatten(0, 2)
        return rows


TensorMap = Mapping[str, tuple[FileTensor, ...]]
"""From our tensor's name to the file's tensors, in the order of our rows"""


def export_tensors(ours: Mapping[str, Tensor], tensor_map: TensorMap) -> dict[str, Tensor]:
    """Return the file's tensors by name; a bias that our model lacks is zero there.

    >>> theirs = FileTensor("h.w", (2, 3), transposed=True)
    >>> export_tensors({"w": torch.arange(6.0).view(3, 2)}, {"w": (theirs,)})["h.w"]
    tensor([[0., 2., 4.],
            [1., 3., 5.]])
    """
    found: dict[str, Tensor] = {}
    for name, theirs in tensor_map.items():
        if name in ours:
            parts = ours[name].split([one.rows for one in theirs])
            found |= {one.name: one.from_ours(part) for one, part in zip(theirs, parts)}
        elif name.endswith("bias"):
            found |= {one.name: torch.zeros(one.shape) for one in theirs}
        else:
            raise UserError(f"the model has no {name}, which this format needs: only the library's blocks have it")
    if unknown := sorted(ours.keys() - tensor_map.keys()):
        raise UserError(f"this format cannot hold {', '.join(unknown)}: only the library's blocks can be exported")
    return found


def import_tensors(theirs: Mapping[str, Tensor], tensor_map: TensorMap) -> dict[str, Tensor]:
    """Return our tensors by name, in float32.

    >>> theirs = FileTensor("h.w", (2, 3), transposed=True)
    >>> import_tensors({"h.w": torch.arange(6.0).view(2, 3)}, {"w": (theirs,)})["w"].shape
    torch.Size([3, 2])
    """
    return {
        name: torch.cat([one.to_ours(theirs[one.name].float()) for one in found]) for name, found in tensor_map.items()
    }


@dataclass(frozen=True)
class Llama:
    """Llama or a family like it, which has separate matrices for queries, keys, values, gate and product."""

    name: str
    model_type: str
    model_class: str
    qk_norm: bool = False
    """whether it normalises queries and keys"""
    qkv_bias: bool = False
    """whether queries, keys and values have a bias"""
    whole_heads: bool = False
    """whether Transformers demands that n_embd is a multiple of n_head"""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """settings of config.json of which ours can express one value only"""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """what Transformers takes for a setting that config.json does not have, where that is not Llama's"""
    has_window: bool = False
    """whether attention sees only `sliding_window` positions, if config.json has them"""
    preset: ClassVar = "modern"

    def unsupported(self, model: ModelConfig) -> dict[str, str]:
        """Return the settings of a model that the family cannot express, each with the reason."""
        queries = f"it {'normalises' if self.qk_norm else 'does not normalise'} queries and keys"
        biases = "its queries, keys and values have biases" if self.qkv_bias else "it has no biases"
        return _reasons(
            norm=(model.norm != "rms", "it has RMSNorm"),
            norm_position=(model.norm_position != "pre", "it normalises before each sub-layer"),
            position=(model.position != "rope", "it has rotary positions"),
            activation=(model.activation != "swiglu", "its feed-forward network is SwiGLU"),
            qk_norm=(model.qk_norm != self.qk_norm, queries),
            qkv_bias=(model.qkv_bias != self.qkv_bias, biases),
            n_embd=(self.whole_heads and model.n_embd % model.n_head != 0, "it is a multiple of n_head"),
            bias=(model.bias, "it has no biases there"),
            head_bias=(model.head_bias, "it has no biases there"),
            mask_documents=(model.mask_documents, "its attention crosses document boundaries"),
        )

    def to_settings(self, model: ModelConfig) -> dict[str, Any]:
        """Return config.json's settings for a model, without the tokens."""
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
            "attention_dropout": 0.0,
            "tie_word_embeddings": model.tie_embeddings,
            **self.fixed,
        }

    def from_settings(self, tables: Mapping[str, Any]) -> ModelConfig:
        """Return the model that a config.json describes; raise UserError for what ours cannot express."""
        tables = {**self.defaults, **tables}
        rope = tables.get("rope_parameters") or {}
        none = dict.fromkeys(("rope_scaling", "quantization_config"))
        allowed = {"hidden_act": "silu", "partial_rotary_factor": 1, **none, **self.fixed}
        _require(self.name, tables, {key: (value,) for key, value in allowed.items()})
        _require(self.name, rope, {"rope_type": ("default",), "type": ("default",), "partial_rotary_factor": (1,)})
        if set(tables.get("layer_types") or ()) - {"full_attention"}:
            raise UserError("layer_types has other values than 'full_attention', which cannot be imported")
        length, window = tables["max_position_embeddings"], tables.get("sliding_window")
        if self.has_window and window is not None and window < length:
            raise UserError(
                f"sliding_window is {window:,}, but only attention to the whole context can be imported: set "
                f"max_position_embeddings, which is {length:,}, to {window:,} for a model with a shorter context"
            )
        return ModelConfig(
            vocab_size=tables["vocab_size"],
            block_size=length,
            n_layer=tables["num_hidden_layers"],
            n_head=tables["num_attention_heads"],
            n_kv_head=tables.get("num_key_value_heads"),
            n_embd=tables["hidden_size"],
            head_size=tables.get("head_dim"),
            mlp_hidden=tables["intermediate_size"],
            norm="rms",
            norm_eps=tables.get("rms_norm_eps", 1e-6),
            position="rope",
            rope_theta=float(rope.get("rope_theta", tables.get("rope_theta", 10_000.0))),
            activation="swiglu",
            qk_norm=self.qk_norm,
            qkv_bias=self.qkv_bias,
            bias=False,
            tie_embeddings=tables.get("tie_word_embeddings", False),
            attention_dropout=0.0,
            init=load_preset(self.preset).model.init,
        )

    def tensor_map(self, model: ModelConfig) -> TensorMap:
        """Return which tensors of the file hold each of our weights."""
        C, F, V, D = model.n_embd, model.hidden, model.vocab_size, model.head_channels
        queries, keys = model.n_head * D, model.kv_heads * D
        heads = {"self_attn.q_proj": queries, "self_attn.k_proj": keys, "self_attn.v_proj": keys}
        layers: dict[str, dict[str, tuple[int, ...]]] = {
            "attention_norm.weight": {"input_layernorm": (C,)},
            "attention.qkv.weight": {name: (rows, C) for name, rows in heads.items()},
            "attention.proj.weight": {"self_attn.o_proj": (C, queries)},
            "mlp_norm.weight": {"post_attention_layernorm": (C,)},
            "mlp.up.weight": {"mlp.gate_proj": (F, C), "mlp.up_proj": (F, C)},
            "mlp.down.weight": {"mlp.down_proj": (C, F)},
        }
        if self.qk_norm:
            layers |= {f"attention.{one}_norm.weight": {f"self_attn.{one}_norm": (D,)} for one in "qk"}
        if self.qkv_bias:
            layers["attention.qkv.bias"] = {name: (rows,) for name, rows in heads.items()}
        found: dict[str, tuple[FileTensor, ...]] = {
            "token_embedding.weight": (FileTensor("model.embed_tokens.weight", (V, C)),),
            "final_norm.weight": (FileTensor("model.norm.weight", (C,)),),
        }
        for layer in range(model.n_layer):
            for ours, theirs in layers.items():
                kind = ours.rpartition(".")[2]
                found[f"blocks.{layer}.{ours}"] = tuple(
                    FileTensor(f"model.layers.{layer}.{name}.{kind}", shape) for name, shape in theirs.items()
                )
        return found | _output_layer(model)


class GPT2:
    """GPT-2, whose file has the transposes of torch's linear weights."""

    name, model_type, model_class, preset = "GPT-2", "gpt2", "GPT2LMHeadModel", "gpt2"
    activations: ClassVar = {"relu": "relu", "gelu": "gelu", "gelu_tanh": "gelu_new"}
    """our names to theirs"""

    def unsupported(self, model: ModelConfig) -> dict[str, str]:
        """Return the settings of a model that GPT-2 cannot express, each with the reason; a missing bias becomes 0."""
        return _reasons(
            norm=(model.norm != "layer", "it has LayerNorm"),
            norm_position=(model.norm_position != "pre", "it normalises before each sub-layer"),
            position=(model.position != "learned", "its positions are learned"),
            activation=(model.activation not in self.activations, f"it has {', '.join(self.activations)}"),
            qk_norm=(model.qk_norm, "it does not normalise queries and keys"),
            head_bias=(model.head_bias, "its output layer has no bias"),
            n_kv_head=(model.kv_heads != model.n_head, "each of its heads has its own keys and values"),
            head_size=(model.head_channels * model.n_head != model.n_embd, "it is n_embd / n_head"),
            mask_documents=(model.mask_documents, "its attention crosses document boundaries"),
        )

    def to_settings(self, model: ModelConfig) -> dict[str, Any]:
        """Return config.json's settings for a model, without the tokens."""
        return {
            "vocab_size": model.vocab_size,
            "n_positions": model.block_size,
            "n_embd": model.n_embd,
            "n_layer": model.n_layer,
            "n_head": model.n_head,
            "n_inner": model.hidden,
            "activation_function": self.activations[model.activation],
            "layer_norm_epsilon": model.norm_eps,
            "tie_word_embeddings": model.tie_embeddings,
            "resid_pdrop": model.dropout,
            "attn_pdrop": model.dropout if model.attention_dropout is None else model.attention_dropout,
            "embd_pdrop": model.dropout if model.embedding_dropout is None else model.embedding_dropout,
        }

    def from_settings(self, tables: Mapping[str, Any]) -> ModelConfig:
        """Return the model that a config.json describes; raise UserError for what ours cannot express."""
        activations: dict[str, Any] = {theirs: ours for ours, theirs in self.activations.items()}
        activations["gelu_pytorch_tanh"] = "gelu_tanh"
        only: dict[str, Any] = {"scale_attn_weights": (True,), "scale_attn_by_inverse_layer_idx": (False,)}
        _require(self.name, tables, only | {"add_cross_attention": (False,), "activation_function": tuple(activations)})
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
            activation=activations[tables.get("activation_function", "gelu_new")],
            qkv_bias=True,
            bias=True,
            tie_embeddings=tables.get("tie_word_embeddings", True),
            dropout=tables.get("resid_pdrop", 0.1),
            attention_dropout=tables.get("attn_pdrop", 0.1),
            embedding_dropout=tables.get("embd_pdrop", 0.1),
            init=load_preset(self.preset).model.init,
        )

    def tensor_map(self, model: ModelConfig) -> TensorMap:
        """Return which tensors of the file hold each of our weights."""
        C, F, V = model.n_embd, model.hidden, model.vocab_size
        found: dict[str, tuple[FileTensor, ...]] = {
            "token_embedding.weight": (FileTensor("transformer.wte.weight", (V, C)),),
            "position_embedding.weight": (FileTensor("transformer.wpe.weight", (model.block_size, C)),),
            **self._norm("final_norm", "transformer.ln_f", C),
        }
        for layer in range(model.n_layer):
            ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
            found |= {
                **self._norm(f"{ours}.attention_norm", f"{theirs}.ln_1", C),
                **self._linear(f"{ours}.attention.qkv", f"{theirs}.attn.c_attn", C, 3 * C),
                **self._linear(f"{ours}.attention.proj", f"{theirs}.attn.c_proj", C, C),
                **self._norm(f"{ours}.mlp_norm", f"{theirs}.ln_2", C),
                **self._linear(f"{ours}.mlp.up", f"{theirs}.mlp.c_fc", C, F),
                **self._linear(f"{ours}.mlp.down", f"{theirs}.mlp.c_proj", F, C),
            }
        return found | _output_layer(model)

    @staticmethod
    def _norm(ours: str, theirs: str, size: int) -> dict[str, tuple[FileTensor, ...]]:
        return {f"{ours}.{kind}": (FileTensor(f"{theirs}.{kind}", (size,)),) for kind in ("weight", "bias")}

    @staticmethod
    def _linear(ours: str, theirs: str, into: int, out: int) -> dict[str, tuple[FileTensor, ...]]:
        return {
            f"{ours}.weight": (FileTensor(f"{theirs}.weight", (into, out), transposed=True),),
            f"{ours}.bias": (FileTensor(f"{theirs}.bias", (out,)),),
        }


Architecture = Llama | GPT2
"""An architecture: its `name`, `model_type` in config.json, `model_class` in Transformers, and our `preset` for it."""
NO_WINDOW = {"use_sliding_window": False}
ARCHITECTURES: tuple[Architecture, ...] = (
    Llama("Llama", "llama", "LlamaForCausalLM", whole_heads=True, fixed={"attention_bias": False, "mlp_bias": False}),
    Llama(  # only imported: without a window it is a Llama, which comes first here
        *("Mistral", "mistral", "MistralForCausalLM"),
        whole_heads=True,
        has_window=True,
        defaults={"num_key_value_heads": 8, "sliding_window": 4096},
    ),
    Llama(
        *("Qwen3", "qwen3", "Qwen3ForCausalLM"),
        qk_norm=True,
        fixed={"attention_bias": False} | NO_WINDOW,
        defaults={"num_key_value_heads": 32, "head_dim": 128},
    ),
    Llama("Qwen2", "qwen2", "Qwen2ForCausalLM", qkv_bias=True, fixed=NO_WINDOW, defaults={"num_key_value_heads": 32}),
    GPT2(),
)


def architecture_of(model: ModelConfig) -> Architecture:
    """Return the architecture that can express a model.

    Raises:
        UserError: None can; the message names the settings that the nearest one does not have.

    >>> architecture_of(load_preset("modern").model).name
    'Qwen3'
    """
    nearest = min(ARCHITECTURES, key=lambda one: len(one.unsupported(model)))
    check_expressible(nearest.name, nearest.unsupported(model))
    return nearest


def architecture_named(model_type: object) -> Architecture:
    """Return the architecture of a config.json's `model_type`; raise UserError for an unknown one."""
    for one in ARCHITECTURES:
        if model_type == one.model_type:
            return one
    known = ", ".join(one.model_type for one in ARCHITECTURES)
    raise UserError(f"model_type is {model_type!r}, but only {known} models can be imported")


def check_expressible(name: str, reasons: Mapping[str, str]) -> None:
    """Raise UserError if a format cannot express some settings of a model, each given with the reason."""
    if reasons:
        parts = "; ".join(f"{setting} ({reason})" for setting, reason in reasons.items())
        raise UserError(f"{name} cannot express this model's {parts}: train with other settings to export it")


def _require(name: str, tables: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise UserError if config.json has a value that ours cannot express."""
    for key, values in allowed.items():
        if key in tables and tables[key] not in values:
            raise UserError(
                f"{key} is {tables[key]!r}, but of {name} models only those with "
                f"{' or '.join(map(repr, values))} can be imported"
            )


def _reasons(**settings: tuple[bool, str]) -> dict[str, str]:
    return {setting: reason for setting, (unsupported, reason) in settings.items() if unsupported}


def _output_layer(model: ModelConfig) -> dict[str, tuple[FileTensor, ...]]:
    if model.tie_embeddings:
        return {}
    return {"lm_head.weight": (FileTensor("lm_head.weight", (model.vocab_size, model.n_embd)),)}
