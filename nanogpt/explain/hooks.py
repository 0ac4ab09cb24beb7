"""Hooks on a model's modules, set for one forward pass or one `with` block, and head ablation with them.

Hooks act on every call of the model: while one thread inspects a model, no other thread may use it.

Shapes: B batch, T time, C channels, H heads, D channels per head.
"""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT, Attention, Block, evaluation_mode

Head = tuple[int, int]
"""An attention head: layer and index in that layer, both from 0."""


def library_blocks(model: GPT) -> list[Block]:
    """Return the model's blocks; raise UserError for a custom class, which may have no heads."""
    blocks = [block for block in model.blocks if type(block) is Block]
    for part in (model, *model.blocks, *(block.attention for block in blocks)):
        if type(part) not in (GPT, Block, Attention):
            raise UserError(f"the model has a custom {type(part).__name__}: only the library's own can be inspected")
    return blocks


def check_heads(model: GPT, off: Collection[Head]) -> None:
    """Raise UserError for heads that the model does not have."""
    layers, heads = model.config.n_layer, model.config.n_head
    for head in off:
        if not (len(head) == 2 and 0 <= head[0] < layers and 0 <= head[1] < heads):
            raise UserError(f"there is no head {tuple(head)}: give layers 0 to {layers - 1} and heads 0 to {heads - 1}")


def check_ids(model: GPT, ids: Sequence[int]) -> None:
    """Raise UserError for token ids that are not in the vocabulary."""
    V = model.config.vocab_size
    wrong = [token for token in ids if not 0 <= token < V]
    if wrong:
        raise UserError(f"there is no token {wrong[0]}: the model's vocabulary has ids 0 to {V - 1}")


def as_input(model: GPT, ids: Sequence[int]) -> Tensor:
    """Return token ids as the model's input, (1, T); raise UserError for none, too many, or unknown ones."""
    block_size = model.config.block_size
    if not 0 < len(ids) <= block_size:
        raise UserError(f"{len(ids)} tokens do not fit the context: give 1 to {block_size} (block_size)")
    check_ids(model, ids)
    return torch.tensor([[int(token) for token in ids]], device=model.token_embedding.weight.device)  # (1, T)


@contextlib.contextmanager
def evaluating(model: GPT) -> Iterator[None]:
    """Run the block in evaluation mode and float32, without gradients; restore each module's mode afterwards."""
    device_type = model.token_embedding.weight.device.type
    with evaluation_mode(model), torch.no_grad(), torch.autocast(device_type, enabled=False):
        yield


@contextlib.contextmanager
def hooked(handles: Iterator[RemovableHandle]) -> Iterator[None]:
    """Set hooks by iterating over `handles`; remove them at the end, also after an error."""
    with contextlib.ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        yield


@contextlib.contextmanager
def ablate_heads(model: GPT, off: Collection[Head]) -> Iterator[None]:
    """Set the output of some heads to zero before the projection, also in generation inside the block.

    This is zero ablation (Michel et al. 2019, "Are sixteen heads really better than one?").

    Raises:
        UserError: A head does not exist, or the model has custom blocks.

    >>> run = nanogpt.load(folder)
    >>> with ablate_heads(run.model, [(0, 1)]):
    ...     text = run.generate("the cat", tokens=5)
    >>> len(text)
    12
    """
    check_heads(model, off)
    blocks = library_blocks(model)
    by_layer = {layer: sorted({head for where, head in off if where == layer}) for layer, _ in off}
    with hooked(
        blocks[layer].attention.proj.register_forward_pre_hook(partial(_zero_heads, model.config.n_head, heads))
        for layer, heads in by_layer.items()
    ):
        yield


def _zero_heads(n_head: int, heads: list[int], module: nn.Module, args: Any) -> Tensor:
    """Set the channels of some heads to zero: (B, T, H * D) -> the same shape."""
    y = args[0].unflatten(-1, (n_head, -1))  # (B, T, H, D)
    return y.index_fill(2, torch.tensor(heads, device=y.device), 0).flatten(2)


def output_layer_inputs(model: GPT, ids: Sequence[int]) -> Tensor:
    """Return what the output layer reads at each position, shape (T, C); call it inside `evaluating`."""
    found: list[Tensor] = []

    def keep(module: nn.Module, args: Any) -> Tensor:
        found.append(args[0][0])
        return args[0][:, :1]  # computes the logits of one position only

    with hooked(iter([model.lm_head.register_forward_pre_hook(keep)])):
        model(as_input(model, ids))
    return found[0]
