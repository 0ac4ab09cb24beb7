"""What a trace says at one place, in lines and words: what is drawn, and the text that stands for a picture.

Shapes: L layers, H heads, T time, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nanogpt.explain import Choice, Effect, Trace, alternatives, choice, growth, updates, visible
from nanogpt.studio.shown import Line
from nanogpt.studio.words import percent
from nanogpt.text.tokenizer import Tokenizer

ATTENDED = 10
LENS_CHOICES = 5


def attention_at(trace: Trace, position: int, layer: int | None, head: int | None) -> Tensor:
    """How much a position looks at each, (T,): of one head, or the mean over all where layer or head is None."""
    some = trace.attention[slice(None) if layer is None else slice(layer, layer + 1)]
    some = some[:, slice(None) if head is None else slice(head, head + 1)]  # (L, H, T, T)
    return some[:, :, position].mean((0, 1))


def map_of(trace: Trace, layer: int | None, head: int | None) -> Tensor:
    """Attention of one head, or the mean over all where layer or head is None, (T, T)."""
    some = trace.attention[slice(None) if layer is None else slice(layer, layer + 1)]
    return some[:, slice(None) if head is None else slice(head, head + 1)].mean((0, 1))


def attended_lines(weights: Tensor, names: Sequence[str], position: int, count: int = ATTENDED) -> list[Line]:
    """The tokens that get most of the attention (T,), and how far back they are."""
    top = weights[: position + 1].topk(min(count, position + 1))
    return [
        Line(f"{names[place]}, {_back(position - place)}", float(share), percent(float(share)))
        for share, place in zip(top.values, top.indices.tolist())
    ]


def habits(attention: Tensor) -> tuple[float, float, float]:
    """How much a head (T, T) looks, on average, at the token itself, the one before, and the text's first.

    Over all but the first position, which has nothing but itself.
    """
    rows = attention[1:]
    if not len(rows):
        return 1.0, 0.0, 1.0
    own, before, first = attention.diagonal()[1:], attention.diagonal(-1), attention[1:, 0]
    return float(own.mean()), float(before.mean()), float(first.mean())


def head_told(trace: Trace, layer: int, head: int) -> str:
    """A head's habits in words."""
    own, before, first = habits(trace.attention[layer, head])
    switched = ", switched off" if (layer, head) in trace.off else ""
    return (
        f"{head_name(layer, head)}{switched}: on average {percent(before)} on the token before, {percent(own)} on the "
        f"token itself, {percent(first)} on the first"
    )


def head_name(layer: int, head: int) -> str:
    """A head as a person counts, from 1."""
    return f"layer {layer + 1}, head {head + 1}"


@dataclass(frozen=True)
class LensRow:
    """What a layer would already say."""

    name: str
    choices: list[Choice]
    final: Choice
    """how likely it finds what the whole model finds likeliest"""


def lens_rows(logits: Tensor, tokenizer: Tokenizer) -> list[LensRow]:
    """The likeliest tokens after the embeddings and after each layer, from logits (L + 1, V)."""
    final = int(logits[-1].argmax())
    names = ["embeddings", *(f"layer {layer}" for layer in range(1, len(logits)))]
    return [
        LensRow(name, alternatives(row, tokenizer, LENS_CHOICES), choice(row, tokenizer, final))
        for name, row in zip(names, logits)
    ]


def growth_lines(trace: Trace, position: int) -> list[Line]:
    """The size of the residual stream after the embeddings and after each layer, and by how much each changed it."""
    sizes, changes = growth(trace)[:, position].tolist(), updates(trace)[:, position].tolist()
    lines = [Line("embeddings", sizes[0], f"{sizes[0]:.3g}")]
    for layer, (size, change) in enumerate(zip(sizes[1:], changes), start=1):
        lines.append(Line(f"layer {layer}", size, f"{size:.3g} ({percent(change)})"))
    return lines


def effect_lines(effects: Sequence[Effect], tokenizer: Tokenizer) -> list[Line]:
    """What became of probabilities, the largest changes first."""
    return [
        Line(visible(tokenizer, one.token), abs(one.change), f"{percent(one.before)} → {percent(one.after)}")
        for one in effects
    ]


def importance_lines(rises: Tensor, count: int = ATTENDED) -> list[Line]:
    """The heads without which the loss over a text changes most, from (L, H)."""
    order = rises.flatten().abs().argsort(descending=True)[:count].tolist()
    lines = []
    for place in order:
        layer, head = divmod(place, rises.size(1))
        rise = float(rises[layer, head])
        lines.append(Line(head_name(layer, head), abs(rise), f"{rise:+.3f}"))
    return lines


def near(points: Tensor, place: int, count: int = 5) -> list[int]:
    """The places of the points nearest to one of them on a plane (N, 2)."""
    distances = (points - points[place]).square().sum(-1)
    distances[place] = torch.inf
    return distances.topk(min(count, len(points) - 1), largest=False).indices.tolist()


def _back(count: int) -> str:
    return "itself" if count == 0 else f"{count} back"
