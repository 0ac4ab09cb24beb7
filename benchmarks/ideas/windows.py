"""Sliding windows: every other layer sees the newest part of the context alone.

Nearby tokens get layers of their own, and a product made for it spares time (Child et al. 2019; Gemma 2, Riviere et al.
2024). Here the window is a mask, which spares none: at equal steps it tells what windows do to the loss, at equal time
what they do as they are. Qwen3's configuration has windows for its uppermost layers alone, off by default.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.ideas.idea import Idea
from nanogpt.errors import UserError
from nanogpt.model.gpt import causal_mask
from nanogpt.training.trainer import Trainer


def slide(trainer: Trainer, share: int) -> None:
    """Let the layers 0, 2, 4 … see block_size / share tokens, themselves among them. The model takes no cache then."""
    config = trainer.model.config
    if config.mask_documents:
        raise UserError("mask_documents has a mask of its own: leave one of the two out")
    width = max(1, config.block_size // share)

    def before(block: nn.Module, words: tuple[Any, ...]) -> tuple[Any, ...]:
        x, turn, cache = words
        if cache is not None:
            raise UserError("a model with sliding windows is here to be measured: it generates no text")
        return x, turn, cache, window_mask(x.size(1), width, x.device).expand(x.size(0), 1, -1, -1)

    for block in trainer.model.blocks[::2]:
        block.register_forward_pre_hook(before)


def window_mask(T: int, width: int, device: torch.device) -> Tensor:
    """Which keys each position sees, (T, T): itself and those before it, `width` in all.

    >>> window_mask(3, 2, torch.device("cpu")).int().tolist()
    [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    """
    return causal_mask(T, T, device).triu(1 - width)


IDEAS = (
    Idea(name="sliding windows, half the block", in_qwen3=False, change=partial(slide, share=2)),
    Idea(name="sliding windows, a quarter of the block", in_qwen3=False, change=partial(slide, share=4)),
)
