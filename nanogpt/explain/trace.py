"""One forward pass recorded: attention patterns, the residual stream and the logits; and the stream layer by layer.

Logit lens (nostalgebraist 2020, "interpreting GPT: the logit lens"): the final norm and the output layer read every
layer's stream. They were trained for the last layer only, so their output at an early layer is only a hint.

Shapes: L layers, B batch, T time, C channels, H heads, D channels per head, V vocabulary.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from nanogpt.errors import UserError
from nanogpt.explain.hooks import Head, ablate_heads, as_input, check_heads, evaluating, hooked, library_blocks
from nanogpt.model.gpt import GPT, Attention, Block, Rotation, causal_mask, rotate
from nanogpt.runs.run import Run
from nanogpt.sampling.generate import encode_prompt
from nanogpt.text.tokenizer import Unknown

MAX_NUMBERS = 6 * 6 * 1024**2
"""Size limit of one tensor of a trace: attention of 6 layers of 6 heads at 1,024 tokens, 150 MB."""
TINY = 1e-30
"""Keeps the update of an all-zero stream finite: no change counts as 0, any change is huge."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What a model computed on a window of tokens; all tensors are float32 on the CPU."""

    ids: tuple[int, ...]
    """token ids, (T,)"""
    attention: Tensor
    """attention weights, (L, H, T query, T key); rows sum to 1 and are zero in the future, also for ablated heads"""
    stream: Tensor
    """residual stream after the embeddings and after each block, (L + 1, T, C)"""
    logits: Tensor
    """logits of the token after each position, (T, V)"""
    off: tuple[Head, ...] = ()
    """ablated heads"""
    skipped: int = 0
    """number of the text's tokens before `ids` that did not fit"""


def trace(model: GPT, ids: Sequence[int], off: Collection[Head] = ()) -> Trace:
    """Record a forward pass on token ids (T,) at positions 0 to T - 1, with the heads in `off` ablated.

    Raises:
        UserError: An id or a head does not exist, there are more than `longest_trace` tokens, or the model has custom
            blocks.

    >>> model = nanogpt.load(folder).model
    >>> found = trace(model, [3, 1, 4, 1, 5])
    >>> found.attention.shape, found.stream.shape
    (torch.Size([2, 2, 5, 5]), torch.Size([3, 5, 32]))
    >>> found.attention[0, 0, 0]  # the first position can only attend to itself
    tensor([1., 0., 0., 0., 0.])
    """
    blocks, idx = library_blocks(model), as_input(model, ids)
    L, H, T = len(blocks), model.config.n_head, len(ids)
    if longest_trace(model) < T:
        raise UserError(
            f"a trace of {T:,} tokens through {L} layers of {H} heads exceeds {MAX_NUMBERS:,} numbers in a tensor: "
            f"give at most {longest_trace(model):,} tokens"
        )
    check_heads(model, off)
    ablated = tuple(sorted({(layer, head) for layer, head in off}))
    attention = torch.empty(L, H, T, T)
    stream = torch.empty(L + 1, T, model.config.n_embd)
    with evaluating(model), ablate_heads(model, off), hooked(_record(blocks, attention, stream)):
        logits = model(idx)[0].float().cpu()
    return Trace(ids=tuple(idx[0].tolist()), attention=attention, stream=stream, logits=logits, off=ablated)


def trace_text(run: Run, text: str, off: Collection[Head] = (), unknown: Unknown = "error") -> Trace:
    """Record a forward pass on the newest tokens of a text, at most `longest_trace` of them.

    >>> run = nanogpt.load(folder)
    >>> found = trace_text(run, "the cat sat on the mat")
    >>> found.attention.shape, found.skipped, run.tokenizer.decode(found.ids)
    (torch.Size([2, 2, 16, 16]), 6, 't sat on the mat')
    >>> bool((trace_text(run, "the cat", off=[(1, 0)]).logits == trace_text(run, "the cat").logits).all())
    False
    """
    ids = encode_prompt(run.tokenizer, text, unknown).tolist()
    kept = ids[-longest_trace(run.model) :]
    return replace(trace(run.model, kept, off), skipped=len(ids) - len(kept))


def longest_trace(model: GPT) -> int:
    """Return the most tokens that a trace of this model holds: block_size, or fewer to limit its memory."""
    config = model.config
    by_attention = math.isqrt(MAX_NUMBERS // (config.n_layer * config.n_head))
    widest = max(config.vocab_size, (config.n_layer + 1) * config.n_embd)
    return max(1, min(config.block_size, by_attention, MAX_NUMBERS // widest))


def head_outputs(model: GPT, found: Trace, layer: int) -> Tensor:
    """Return what each head of a layer adds to the attention's output at each position, shape (H, T, C).

    Their sum and the projection's bias are the output of the layer's attention. An ablated head adds zeros.
    """
    blocks = library_blocks(model)
    if not 0 <= layer < len(blocks):
        raise UserError(f"there is no layer {layer}: give 0 to {len(blocks) - 1}")
    block, T = blocks[layer], len(found.ids)
    attention, like = block.attention, model.token_embedding.weight
    with evaluating(model):
        x = found.stream[layer][None].to(like)  # (1, T, C)
        x = block.attention_norm(x) if block.pre_norm else x
        v = queries_keys_values(attention, x, None)[2][0]  # (H, T, D); RoPE leaves values unchanged
        y = found.attention[layer].to(v) @ v  # (H, T, D)
        for where, head in found.off:
            if where == layer:
                y[head] = 0
        # Project one head at a time: the projection may be quantised, without a plain matrix to slice.
        alone = y.new_zeros(attention.n_head, T, attention.n_head, attention.head_size)  # (H, T, H, D)
        alone.diagonal(dim1=0, dim2=2).copy_(y.permute(1, 2, 0))  # (T, D, H)
        bias = attention.proj(torch.zeros_like(alone[:1, :1].flatten(2)))  # (1, 1, C)
        return (attention.proj(alone.flatten(2)) - bias).float().cpu()  # (H, T, C)


def attention_weights(attention: Attention, x: Tensor, rotation: Rotation | None, mask: Tensor | None) -> Tensor:
    """Compute softmax(q k' / sqrt(D)), which torch's fused attention does not return: (B, T, C) -> (B, H, T, T).

    Vaswani et al. 2017, equation 1. `mask` (B, 1, T, T) says which keys each query sees; None means causal.
    """
    q, k, _ = queries_keys_values(attention, x, rotation)
    T = q.size(2)
    mask = causal_mask(T, T, q.device) if mask is None else mask
    scores = (q @ k.mT).float() * q.size(-1) ** -0.5  # (B, H, T, T)
    return scores.masked_fill_(~mask, -torch.inf).softmax(-1)


def queries_keys_values(attention: Attention, x: Tensor, rotation: Rotation | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return each head's queries, keys and values of normalised x (B, T, C), each of shape (B, H, T, D)."""
    H, K = attention.n_head, attention.n_kv_head
    heads = attention.qkv(x).unflatten(-1, (-1, attention.head_size)).transpose(1, 2)  # (B, H + 2K, T, D)
    q, k, v = heads.split([H, K, K], dim=1)  # (B, H, T, D), 2 x (B, K, T, D)
    q, k = attention.q_norm(q), attention.k_norm(k)
    if rotation is not None:
        q, k = rotate(q, rotation), rotate(k, rotation)
    return q, k.repeat_interleave(H // K, dim=1), v.repeat_interleave(H // K, dim=1)


def _record(blocks: Sequence[Block], attention: Tensor, stream: Tensor) -> Iterator[RemovableHandle]:
    """Set hooks that fill attention (L, H, T, T) and stream (L + 1, T, C) during a forward pass."""
    for layer, block in enumerate(blocks):
        yield block.attention.register_forward_hook(partial(_keep_attention, attention[layer]))
        yield block.register_forward_hook(partial(_keep_stream, stream[layer : layer + 2]))


def _keep_attention(into: Tensor, module: Attention, args: Any, output: Tensor) -> None:
    x, rotation, _, mask = args
    into.copy_(attention_weights(module, x, rotation, mask)[0])  # (H, T, T)


def _keep_stream(into: Tensor, module: nn.Module, args: Any, output: Tensor) -> None:
    into.copy_(torch.cat([args[0], output]))  # (2, T, C), before the block and after it


def stream_rms(trace: Trace) -> Tensor:
    """Return the root mean square over channels after the embeddings and after each block, shape (L + 1, T)."""
    return trace.stream.square().mean(-1).sqrt()


def relative_updates(trace: Trace) -> Tensor:
    """Return how much each block changes the stream, |x after - x before| / |x before|, shape (L, T)."""
    return trace.stream.diff(dim=0).norm(dim=-1) / trace.stream[:-1].norm(dim=-1).clamp_min(TINY)


def logit_lens(model: GPT, trace: Trace) -> Tensor:
    """Return the logits read after the embeddings and after each block, shape (L + 1, T, V); the last are the trace's.

    A post-norm model has no final norm: its embeddings are read unnormalised.
    """
    # Layer by layer, as the model does it: another batch shape changes floating-point rounding.
    return torch.stack([_read(model, one[None])[0] for one in trace.stream])  # (L + 1, T, V)


def logit_lens_at(model: GPT, trace: Trace, position: int) -> Tensor:
    """Return the logit lens at one position (-1: the last), shape (L + 1, V); raise UserError if there is none."""
    T = len(trace.ids)
    if not -T <= position < T:
        raise UserError(f"there is no position {position} in {T} tokens: give 0 to {T - 1}")
    return _read(model, trace.stream[:, position])


def _read(model: GPT, x: Tensor) -> Tensor:
    """Apply the final norm and the output layer to a stream: (..., C) -> (..., V)."""
    with evaluating(model):
        return model.lm_head(model.final_norm(x.to(model.token_embedding.weight))).float().cpu()
