"""How many numbers a model has, told from its config alone: before any of them is allocated, and without torch."""

from dataclasses import dataclass

from nanogpt.config import ModelConfig

FLOAT = 4
"""Bytes of a number."""


@dataclass(frozen=True)
class Parameters:
    """Trained numbers of a model."""

    matrices: int
    """inside the blocks: Muon's, where that is the optimizer"""
    rest: int
    """embeddings, output layer, biases, gains of norms"""

    @property
    def total(self) -> int:
        """All of them."""
        return self.matrices + self.rest


def count_parameters(model: ModelConfig) -> Parameters:
    """Of a model with the library's blocks; a weight that two layers share counts once."""
    C, queries, heads = (
        model.n_embd,
        model.n_head * model.head_channels,
        (model.n_head + 2 * model.kv_heads) * model.head_channels,
    )
    up = model.hidden * (2 if model.activation == "swiglu" else 1)
    norm = C * (2 if model.norm == "layer" and model.bias else 1)
    matrices = C * heads + queries * C + C * up + model.hidden * C
    vectors = 2 * norm + (up + 2 * C if model.bias else 0)
    vectors += (heads if model.qkv_bias else 0) + (2 * model.head_channels if model.qk_norm else 0)
    rest = model.n_layer * vectors + model.vocab_size * C * (1 if model.tie_embeddings else 2)
    rest += model.vocab_size if model.head_bias else 0
    rest += model.block_size * C if model.position == "learned" else 0
    rest += norm if model.norm_position == "pre" else 0
    return Parameters(model.n_layer * matrices, rest)


def adapter_numbers(model: ModelConfig, rank: int) -> int:
    """Trained numbers of adapters beside a model's matrices (`nanogpt.model.lora`): `rank` rows and columns of each."""
    C, queries = model.n_embd, model.n_head * model.head_channels
    heads = (model.n_head + 2 * model.kv_heads) * model.head_channels
    up = model.hidden * (2 if model.activation == "swiglu" else 1)
    return model.n_layer * rank * ((C + heads) + (queries + C) + (C + up) + (model.hidden + C))


def table_bytes(model: ModelConfig) -> int:
    """Of the tables of positions, which are no parameters."""
    if model.position == "rope":
        return 2 * model.block_size * (model.head_channels // 2) * FLOAT  # cosines and sines
    return model.block_size * model.n_embd * FLOAT if model.position == "sinusoidal" else 0
