"""Limits of a model that a run folder asks for: it may be a stranger's."""

import math
from pathlib import Path

import torch
from torch import nn

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT, Block
from nanogpt.model.parameters import count_parameters, table_bytes
from nanogpt.runs.weights import read_layout

BUFFER_LIMIT = 1 << 30
"""Bytes of the largest tables of positions that a model from a file may ask for."""
LARGER = 2
"""How much larger than its file a model may be, at most, to be made and then compared with it name by name"""


def check_size(config: ModelConfig, path: Path, block: type[nn.Module]) -> None:
    """Raise UserError for a model much larger than the file of its weights, before memory is taken for it."""
    wanted = count_parameters(config).total if block is Block else _count_parameters_of(block, config, path)
    found = sum(math.prod(shape) for shape, _ in read_layout(path).values())
    if wanted > LARGER * found:
        raise UserError(
            f"{path} does not match config.toml: it holds {found:,} numbers, and the config asks for {wanted:,}; "
            f"restore the config that the run was trained with"
        )
    if table_bytes(config) > BUFFER_LIMIT:
        raise UserError(
            f"the model next to {path} asks for tables of {config.block_size:,} positions: restore the config that the "
            f"run was trained with"
        )


def _count_parameters_of(block: type[nn.Module], config: ModelConfig, path: Path) -> int:
    """Return the number of parameters of a model with blocks of your own, without memory for them."""
    try:
        with torch.device("meta"):
            return sum(p.numel() for p in GPT(config, block=block).parameters())
    except (RuntimeError, OverflowError) as error:
        raise UserError(f"the config next to {path} asks for impossible sizes ({error}): restore it") from None
