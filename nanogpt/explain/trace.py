"""What a model computed on a text: attention, the residual stream, logits.

Shapes: L layers, B batch, T time, C channels, H heads, D channels of a head, V vocabulary.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from nanogpt.errors import UserError
from nanogpt.explain.passes import Head, as_input, at_rest, blocks_of, check_heads, hooked, switched_off
from nanogpt.model.gpt import GPT, Attention, Block, causal_mask
from nanogpt.model.positions import rotate

Turn = tuple[Tensor, Tensor] | None

MOST_NUMBERS = 6 * 6 * 1024**2
"""In one table of a trace: the attention of 6 layers of 6 heads at 1,024 tokens, 150 MB."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What a model computed on a window of tokens. All numbers are float32, on the CPU."""

    ids: tuple[int, ...]
    """the tokens, (T,)"""
    attention: Tensor
    """how much each position looks at each: (L, H, T, T), the one that looks before the one that is seen; each row adds
    up to 1, and is zero in the future. Of a head that is switched off too: where it would have looked"""
    stream: Tensor
    """the residual stream after the embeddings and after each block, (L + 1, T, C)"""
    logits: Tensor
    """of the token after each position, (T, V)"""
    off: tuple[Head, ...] = ()
    """heads that were switched off"""
    skipped: int = 0
    """tokens of the text before these, for which there was no room"""


def trace(model: GPT, ids: Sequence[int], off: Collection[Head] = ()) -> Trace:
    """What the model computes on token ids (T,), T at most block_size, which stand at positions 0 to T - 1.

    The output of the heads in `off`, (layer, head), is zero before the projection (zero ablation, Michel et al. 2019,
    "Are sixteen heads really better than one?"). Raises UserError for ids or heads that there are not, for more tokens
    than `longest`, and for a model with blocks that are not the library's own.

    >>> model = nanogpt.load(folder).model
    >>> found = trace(model, [3, 1, 4, 1, 5])
    >>> found.attention.shape, found.stream.shape
    (torch.Size([2, 2, 5, 5]), torch.Size([3, 5, 32]))
    >>> found.attention[0, 0, 0]  # the first position has only itself to look at
    tensor([1., 0., 0., 0., 0.])
    """
    blocks, idx = blocks_of(model), as_input(model, ids)
    L, H, T = len(blocks), model.config.n_head, len(ids)
    check_room(model, T)
    check_heads(model, off)
    switched = tuple(sorted({(layer, head) for layer, head in off}))
    attention = torch.empty(L, H, T, T)
    stream = torch.empty(L + 1, T, model.config.n_embd)
    with at_rest(model), switched_off(model, off), hooked(_watch(blocks, attention, stream)):
        logits = model(idx)[0].float().cpu()
    return Trace(ids=tuple(idx[0].tolist()), attention=attention, stream=stream, logits=logits, off=switched)


def _watch(blocks: Sequence[Block], attention: Tensor, stream: Tensor) -> Iterator[RemovableHandle]:
    """Set hooks that fill attention (L, H, T, T) and stream (L + 1, T, C) as the model passes."""
    for layer, block in enumerate(blocks):
        yield block.attention.register_forward_hook(partial(_keep_attention, attention[layer]))
        yield block.register_forward_hook(partial(_keep_stream, stream[layer : layer + 2]))


def _keep_attention(into: Tensor, module: Attention, args: Any, output: Tensor) -> None:
    x, turn, _, seen = args
    into.copy_(attention_weights(module, x, turn, seen)[0])  # (H, T, T)


def _keep_stream(into: Tensor, module: nn.Module, args: Any, output: Tensor) -> None:
    into.copy_(torch.cat([args[0], output]))  # (2, T, C), before the block and after it


def longest(model: GPT) -> int:
    """How many tokens a trace of this model can hold: block_size, or fewer where its tables grew beyond all bounds."""
    config = model.config
    by_attention = math.isqrt(MOST_NUMBERS // (config.n_layer * config.n_head))
    widest = max(config.vocab_size, (config.n_layer + 1) * config.n_embd)
    return max(1, min(config.block_size, by_attention, MOST_NUMBERS // widest))


def check_room(model: GPT, T: int) -> None:
    """Raise UserError where a trace of T tokens would take more memory than is bearable."""
    config, most = model.config, longest(model)
    if most < T:
        raise UserError(
            f"a trace of {T:,} tokens through {config.n_layer} layers of {config.n_head} heads and a vocabulary of "
            f"{config.vocab_size:,} would hold a table of more than {MOST_NUMBERS:,} numbers "
            f"({MOST_NUMBERS * 4 / 1e6:.0f} MB): give a text of at most {most:,} tokens"
        )


def queries_keys_values(attention: Attention, x: Tensor, turn: Turn) -> tuple[Tensor, Tensor, Tensor]:
    """What each head asks with, is found by, and has to say, of normalised x (B, T, C): three (B, H, T, D).

    Heads that share keys and values have the same ones.
    """
    H, K = attention.n_head, attention.kv_heads
    heads = attention.qkv(x).unflatten(-1, (-1, attention.size)).transpose(1, 2)  # (B, H + 2K, T, D)
    q, k, v = heads.split([H, K, K], dim=1)  # (B, H, T, D), 2 x (B, K, T, D)
    q, k = attention.q_norm(q), attention.k_norm(k)
    if turn is not None:
        q, k = rotate(q, turn), rotate(k, turn)
    return q, k.repeat_interleave(H // K, dim=1), v.repeat_interleave(H // K, dim=1)


def attention_weights(attention: Attention, x: Tensor, turn: Turn, seen: Tensor | None) -> Tensor:
    """softmax(q k' / sqrt(D)), which torch's fused function never writes down: (B, T, C) -> (B, H, T, T).

    Vaswani et al. 2017, equation 1. Where not all that came before is to be seen, `seen` (B, 1, T, T) says what is.
    """
    q, k, _ = queries_keys_values(attention, x, turn)
    T = q.size(2)
    seen = causal_mask(T, T, q.device) if seen is None else seen
    scores = (q @ k.mT).float() * q.size(-1) ** -0.5  # (B, H, T, T)
    return scores.masked_fill_(~seen, -torch.inf).softmax(-1)


def writes(model: GPT, found: Trace, layer: int) -> Tensor:
    """What each head of a layer adds to the attention's output at each position: (H, T, C).

    Its weights times its values, through its columns of the projection. Their sum and the projection's bias are the
    output of the layer's attention; a head that was switched off writes zeros. Raises UserError for a layer that there
    is not.
    """
    blocks = blocks_of(model)
    if not 0 <= layer < len(blocks):
        raise UserError(f"there is no layer {layer}: give 0 to {len(blocks) - 1}")
    block, T = blocks[layer], len(found.ids)
    attention, like = block.attention, model.token_embedding.weight
    with at_rest(model):
        x = found.stream[layer][None].to(like)  # (1, T, C)
        x = block.attention_norm(x) if block.pre_norm else x
        v = queries_keys_values(attention, x, None)[2][0]  # (H, T, D); values are not turned
        y = found.attention[layer].to(v) @ v  # (H, T, D)
        for where, head in found.off:
            if where == layer:
                y[head] = 0
        # One head at a time in the place of all: the projection may be of another kind than a matrix at hand.
        alone = y.new_zeros(attention.n_head, T, attention.n_head, attention.size)  # (H, T, H, D)
        alone.diagonal(dim1=0, dim2=2).copy_(y.permute(1, 2, 0))  # (T, D, H)
        nothing = attention.proj(torch.zeros_like(alone[:1, :1].flatten(2)))  # (1, 1, C), the bias
        return (attention.proj(alone.flatten(2)) - nothing).float().cpu()  # (H, T, C)
