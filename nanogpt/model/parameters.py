"""Parameter counts of a model from its config alone, without torch and before anything is allocated."""

from dataclasses import dataclass

from nanogpt.config import ModelConfig

FLOAT = 4
"""Bytes of a float32 number"""


@dataclass(frozen=True)
class Parameters:
    """Number of trained parameters of a model."""

    matrices: int
    """inside the blocks: those that Muon updates"""
    rest: int
    """embeddings, output layer, biases, norm gains"""

    @property
    def total(self) -> int:
        """All of them."""
        return self.matrices + self.rest


def count_parameters(model: ModelConfig) -> Parameters:
    """Return the parameter counts of a model with the library's blocks; a tied weight counts once."""
    C, matrices = model.n_embd, _block_matrices(model)
    heads, up = matrices[0][0], matrices[2][0]  # rows of qkv and of up
    norm = C * (2 if model.norm == "layer" and model.bias else 1)
    vectors = 2 * norm + (up + 2 * C if model.bias else 0)
    vectors += (heads if model.qkv_bias else 0) + (2 * model.head_channels if model.qk_norm else 0)
    rest = model.n_layer * vectors + model.vocab_size * C * (1 if model.tie_embeddings else 2)
    rest += model.vocab_size if model.head_bias else 0
    rest += model.block_size * C if model.position == "learned" else 0
    rest += norm if model.norm_position == "pre" else 0
    return Parameters(model.n_layer * sum(rows * columns for rows, columns in matrices), rest)


def count_adapter_parameters(model: ModelConfig, rank: int) -> int:
    """Return the number of parameters of a model's adapters (`model.lora`): B (N, r) and A (r, K) for each matrix."""
    return model.n_layer * rank * sum(rows + columns for rows, columns in _block_matrices(model))


def _block_matrices(model: ModelConfig) -> list[tuple[int, int]]:
    """Return rows and columns of a block's matrices: qkv, proj, up, down."""
    C, D = model.n_embd, model.head_channels
    up = model.hidden * (2 if model.activation == "swiglu" else 1)
    return [((model.n_head + 2 * model.kv_heads) * D, C), (C, model.n_head * D), (up, C), (C, model.hidden)]


def table_bytes(model: ModelConfig) -> int:
    """Return the bytes of the position tables, which are not parameters."""
    if model.position == "rope":
        return 2 * model.block_size * model.head_channels * FLOAT  # cosines and sines
    return model.block_size * model.n_embd * FLOAT if model.position == "sinusoidal" else 0
