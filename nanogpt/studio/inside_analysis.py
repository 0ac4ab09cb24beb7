"""What "Look inside" computes for one token of a text, without a page; and the words that describe it.

Shapes: L layers, H heads, T time, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nanogpt.explain.head_ablation import Effect, ablation_effects
from nanogpt.explain.hooks import Head
from nanogpt.explain.predictions import Choice, alternatives, choice, visible_text
from nanogpt.explain.trace import Trace, logit_lens_at, longest_trace, relative_updates, stream_rms, trace
from nanogpt.runs.run import Run
from nanogpt.sampling.generate import encode_prompt, window_start
from nanogpt.studio.generation import ALTERNATIVES
from nanogpt.studio.labels import Bar, percent
from nanogpt.text.tokenizer import Tokenizer

MAX_CONTEXT = 256
"""Tokens that are read at once: the attention of 12 layers of 12 heads on them takes 38 MB."""
MAX_LISTED = 300
"""Tokens of the text on the page at once."""
MAX_DRAWN = 48
"""Tokens along the side of a picture; more would be too small."""
MAX_BARS = 10
LENS_CHOICES = 5


def context_span(length: int, position: int, block_size: int, most: int = MAX_CONTEXT) -> range:
    """Return the context window from which a model predicts the token after a position.

    A window longer than `most` is cut as if the model's context were that short, so that neighbours share one.

    >>> context_span(10, 4, 16), context_span(40, 20, 16), context_span(40, 20, 16, most=4)
    (range(0, 10), range(9, 25), range(18, 22))
    """
    start = window_start(position + 1, block_size)
    start += window_start(position + 1 - start, most)
    return range(start, min(length, start + min(block_size, most)))


def shown_span(length: int, position: int, most: int) -> range:
    """Return at most `most` of `length` tokens around a position, more before it than after.

    >>> shown_span(5, 2, 8), shown_span(100, 50, 8), shown_span(100, 99, 8)
    (range(0, 5), range(44, 52), range(92, 100))
    """
    start = max(0, min(position - 3 * most // 4, length - most))
    return range(start, min(length, start + most))


@dataclass(frozen=True)
class LensRow:
    """The logit lens after one layer."""

    name: str
    choices: list[Choice]
    final: Choice
    """the whole model's likeliest token, with the probability that this layer gives it"""


@dataclass(frozen=True)
class Inspection:
    """A token of a text, and what the model computed there."""

    ids: tuple[int, ...]
    """the whole text"""
    place: int
    """position of the token in the text"""
    span: range
    """the context that was read"""
    trace: Trace
    next: list[Choice]
    """likeliest tokens after it"""
    actual: Choice | None
    """token that follows in the text; None at its end"""
    lens: list[LensRow]
    effects: list[Effect]
    """what switching off heads changed; empty if all are on"""

    @property
    def position(self) -> int:
        """Position of the token in the trace."""
        return self.place - self.span.start


def encode_text(run: Run, text: str) -> list[int]:
    """Return the tokens of a text, at least one; unknown characters are left out."""
    found: list[int] = encode_prompt(run.tokenizer, text, "skip").tolist()
    return found


def inspect_token(
    run: Run, ids: Sequence[int], place: int, off: tuple[Head, ...] = (), before: Inspection | None = None
) -> Inspection:
    """Compute everything about one token, with some heads switched off; reuse the trace of `before` if it fits."""
    model, tokenizer = run.model, run.tokenizer
    span = context_span(len(ids), place, model.config.block_size, min(MAX_CONTEXT, longest_trace(model)))
    found = None if before is None else before.trace
    if before is None or found is None or (before.ids, before.span, found.off) != (tuple(ids), span, off):
        found = trace(model, ids[span.start : span.stop], off)
    position = place - span.start
    logits = found.logits[position]
    return Inspection(
        ids=tuple(ids),
        place=place,
        span=span,
        trace=found,
        next=alternatives(logits, tokenizer, ALTERNATIVES),
        actual=choice(logits, tokenizer, ids[place + 1]) if place + 1 < len(ids) else None,
        lens=lens_rows(logit_lens_at(model, found, position), tokenizer),
        effects=ablation_effects(model, found.ids, off, position, ALTERNATIVES) if off else [],
    )


def lens_rows(logits: Tensor, tokenizer: Tokenizer) -> list[LensRow]:
    """Return the likeliest tokens after the embeddings and after each layer, from logits (L + 1, V)."""
    final = int(logits[-1].argmax())
    names = ["embeddings", *(f"layer {layer}" for layer in range(1, len(logits)))]
    return [
        LensRow(name, alternatives(row, tokenizer, LENS_CHOICES), choice(row, tokenizer, final))
        for name, row in zip(names, logits)
    ]


def attention_map(trace: Trace, layer: int | None, head: int | None) -> Tensor:
    """Return the attention of one head, or the mean over all where layer or head is None, (T, T)."""
    some = trace.attention[slice(None) if layer is None else slice(layer, layer + 1)]
    return some[:, slice(None) if head is None else slice(head, head + 1)].mean((0, 1))


def attention_bars(weights: Tensor, names: Sequence[str], position: int, count: int = MAX_BARS) -> list[Bar]:
    """Return the tokens with the most attention in (T,), and how far back they are."""
    top = weights[: position + 1].topk(min(count, position + 1))
    return [
        Bar(f"{names[one]}, {f'{position - one} back' if one < position else 'itself'}", share, percent(share))
        for share, one in zip(top.values.tolist(), top.indices.tolist())
    ]


def attention_habits(attention: Tensor) -> tuple[float, float, float]:
    """Return the mean attention (T, T) of the tokens after the first: to itself, to the one before, to the first."""
    if len(attention) == 1:
        return 1.0, 0.0, 1.0
    own, before, first = attention.diagonal()[1:], attention.diagonal(-1), attention[1:, 0]
    return float(own.mean()), float(before.mean()), float(first.mean())


def describe_head(trace: Trace, layer: int, head: int) -> str:
    """Return a head's name and habits in words."""
    own, before, first = attention_habits(trace.attention[layer, head])
    switched = ", switched off" if (layer, head) in trace.off else ""
    return (
        f"{heads_name(layer, head)}{switched}: on average {percent(before)} on the token before, {percent(own)} on the "
        f"token itself, {percent(first)} on the first"
    )


def heads_name(layer: int | None, head: int | None) -> str:
    """Name a head, or those that a mean is taken over, counting from 1."""
    if layer is None:
        return "all heads, mean" if head is None else f"head {head + 1} of each layer, mean"
    return f"layer {layer + 1}, all heads, mean" if head is None else f"layer {layer + 1}, head {head + 1}"


def growth_bars(trace: Trace, position: int) -> list[Bar]:
    """Return the size of the residual stream after the embeddings and each layer, and each layer's relative change."""
    sizes, changes = stream_rms(trace)[:, position].tolist(), relative_updates(trace)[:, position].tolist()
    bars = [Bar("embeddings", sizes[0], f"{sizes[0]:.3g}")]
    for layer, (size, change) in enumerate(zip(sizes[1:], changes), start=1):
        bars.append(Bar(f"layer {layer}", size, f"{size:.3g} ({percent(change)})"))
    return bars


def effect_bars(effects: Sequence[Effect], tokenizer: Tokenizer) -> list[Bar]:
    """Return the probabilities before and after switching off heads."""
    return [
        Bar(visible_text(tokenizer, one.token), abs(one.change), f"{percent(one.before)} → {percent(one.after)}")
        for one in effects
    ]


def importance_bars(rises: Tensor, count: int = MAX_BARS) -> list[Bar]:
    """Return the heads without which the loss changes most, from the changes (L, H)."""
    flat = rises.flatten()
    largest = flat.abs().argsort(descending=True)[:count].tolist()
    return [Bar(heads_name(*divmod(one, rises.size(1))), abs(float(flat[one])), f"{flat[one]:+.3f}") for one in largest]


def nearest_points(points: Tensor, index: int, count: int = 5) -> list[int]:
    """Return the indices of the points (N, 2) nearest to one of them."""
    distances = (points - points[index]).square().sum(-1)
    distances[index] = torch.inf
    return distances.topk(min(count, len(points) - 1), largest=False).indices.tolist()
