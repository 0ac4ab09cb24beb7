"""One pass through a model that is looked at from outside: hooks for as long as it takes, and nothing of it stays.

The hooks are the model's, whoever calls it: while one thread looks into a model, no other may use it.

Shapes: B batch, T time, C channels, H heads, D channels of a head.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT, Attention, Block

Head = tuple[int, int]
"""A head of attention: its layer and its place in it, both from 0."""


def blocks_of(model: GPT) -> list[Block]:
    """The model's blocks, which must be the library's own. Raises UserError for others.

    What a block of one's own computes is not known here; it may well have no heads.
    """
    if type(model) is not GPT:
        raise UserError(f"the model is a {type(model).__name__}: only the library's own GPT can be looked into")
    blocks = [block for block in model.blocks if type(block) is Block]
    parts = [*model.blocks, *(block.attention for block in blocks)]
    strange = [part for part in parts if type(part) not in (Block, Attention)]
    if strange:
        raise UserError(
            f"the model has a part of another class, {type(strange[0]).__name__}: only blocks that are the library's "
            f"own Block, with its Attention, can be looked into"
        )
    return blocks


def check_heads(model: GPT, off: Collection[Head]) -> None:
    """Raise UserError for heads that the model has not."""
    layers, heads = model.config.n_layer, model.config.n_head
    for head in off:
        if not (len(head) == 2 and 0 <= head[0] < layers and 0 <= head[1] < heads):
            raise UserError(
                f"there is no head {tuple(head)}: give (layer, head), with layers 0 to {layers - 1} and heads 0 to "
                f"{heads - 1}"
            )


def check_ids(model: GPT, ids: Sequence[int]) -> None:
    """Raise UserError for token ids that the model has not."""
    V = model.config.vocab_size
    wrong = [token for token in ids if not 0 <= token < V]
    if wrong:
        raise UserError(f"there is no token {wrong[0]}: the model's vocabulary has ids 0 to {V - 1}")


def as_input(model: GPT, ids: Sequence[int]) -> Tensor:
    """Token ids as the model takes them, (1, T). Raises UserError where they are none, too many or unknown."""
    block_size = model.config.block_size
    if not 0 < len(ids) <= block_size:
        raise UserError(
            f"{len(ids)} tokens are no window of this model: give from 1 to {block_size} (its block_size), for example "
            f"the newest ones of a text"
        )
    check_ids(model, ids)
    return torch.tensor([[int(token) for token in ids]], device=model.token_embedding.weight.device)  # (1, T)


@contextlib.contextmanager
def at_rest(model: GPT) -> Iterator[None]:
    """Evaluation mode, float32, no gradients; afterwards each module is in the mode that it was in."""
    modes = [(module, module.training) for module in model.modules()]
    kind = model.token_embedding.weight.device.type
    model.eval()
    try:
        with torch.no_grad(), torch.autocast(kind, enabled=False):
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def hooked(handles: Iterator[RemovableHandle]) -> Iterator[None]:
    """Hooks that are set as `handles` is gone through, and removed whatever happens."""
    with contextlib.ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        yield


@contextlib.contextmanager
def switched_off(model: GPT, off: Collection[Head]) -> Iterator[None]:
    """Inside, the output of some heads is zero before the projection that adds heads up.

    Zero ablation (Michel et al. 2019, "Are sixteen heads really better than one?"). Also for generation, which calls
    the model as a whole where it has hooks. Raises UserError for heads that there are not, and for blocks that are not
    the library's own.

    >>> run = nanogpt.load(folder)
    >>> with switched_off(run.model, [(0, 1)]):
    ...     text = run.generate("the cat", tokens=5)
    >>> len(text)
    12
    """
    check_heads(model, off)
    blocks = blocks_of(model)
    by_layer = {layer: sorted({head for where, head in off if where == layer}) for layer, _ in off}
    with hooked(
        blocks[layer].attention.proj.register_forward_pre_hook(_silencer(model.config.n_head, heads))
        for layer, heads in by_layer.items()
    ):
        yield


def _silencer(n_head: int, heads: list[int]) -> Callable[[nn.Module, Any], Any]:
    """A hook that sets the channels of some heads to zero: (B, T, H * D) -> the same."""

    def silence(module: nn.Module, args: Any) -> Tensor:
        y = args[0].unflatten(-1, (n_head, -1))  # (B, T, H, D)
        return y.index_fill(2, torch.tensor(heads, device=y.device), 0).flatten(2)

    return silence


def before_output(model: GPT, ids: Sequence[int]) -> Tensor:
    """What the output layer reads at each position, (T, C): its product is as long as the vocabulary, and is spared.

    To be called `at_rest`.
    """
    found: list[Tensor] = []

    def keep(module: nn.Module, args: Any) -> Tensor:
        found.append(args[0][0])
        return args[0][:, :1]

    with hooked(iter([model.lm_head.register_forward_pre_hook(keep)])):
        model(as_input(model, ids))
    return found[0]
