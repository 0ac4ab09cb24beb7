"""Checks for models with blocks of your own, whose parameters no config describes."""

from torch import nn

from nanogpt.errors import UserError
from nanogpt.model.gpt import Block
from nanogpt.runs.plan import Plan


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
