"""Checks for models with blocks of your own, whose parameters no config describes."""

import math
from pathlib import Path

import torch
from torch import nn

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT, Block
from nanogpt.runs.plan import Plan
from nanogpt.runs.weights import read_layout


def check_block(plan: Plan, block: type[nn.Module]) -> None:
    """Raise UserError unless the run was trained with this class of blocks."""
    name = None if block is Block else block.__qualname__
    if name != plan.block:
        trained, given = (one or "of the library" for one in (plan.block, name))
        raise UserError(
            f"this run was trained with the blocks {trained}, not {given}: open it from Python with its own, "
            f"nanogpt.load(path, block=...)"
        )


def check_savable(model: nn.Module) -> None:
    """Raise UserError where a block of your own has a persistent buffer, which no checkpoint would hold."""
    saved = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name in model.state_dict():
        if name not in saved:
            raise UserError(
                f"the buffer {name} would not be saved, as checkpoints hold parameters only: make it an nn.Parameter "
                f"with requires_grad=False, or register it with persistent=False"
            )


def check_size(config: ModelConfig, path: Path, block: type[nn.Module]) -> None:
    """Raise UserError where a model is larger than the file of its weights, before it is allocated."""
    try:
        with torch.device("meta"):
            wanted = sum(p.numel() for p in GPT(config, block=block).parameters())
    except (RuntimeError, OverflowError) as error:
        raise UserError(f"the config next to {path} asks for impossible sizes ({error}): restore it") from None
    found = sum(math.prod(shape) for shape, _ in read_layout(path).values())
    if wanted > found:
        raise UserError(
            f"{path} does not match config.toml: it holds {found:,} numbers, and the config asks for {wanted:,}; "
            f"restore the config that the run was trained with"
        )
