"""Several heads as they should be and as they often go wrong.

The matrices of a learner's module are found however it keeps them: heads in a list or in one product, query, key and
value apart or in one layer, torch's own module. Which head comes first, and which of its channels, is free as well, as
long as the projection agrees.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course.exercises.attention import causal_weights, leaking_weights, pieces_of, weights_by_scale
from course.exercises.probe import close, matrices_in

NO_TRANSPOSE_IN = (
    "`view` cuts the numbers up in the order they lie in, and a head gets bits of several positions. View them as "
    "(B, T, H, D) first, then `transpose(1, 2)`."
)
NO_TRANSPOSE_OUT = (
    "what the heads heard is put together without turning it back: from (B, H, T, D), `transpose(1, 2)` first, then "
    "flatten the last two."
)
NOT_PROJECTED = "The heads are put side by side, but the projection is not applied to them."
ONE_HEAD = "What the first head heard stands there for every head: put the outputs of all heads side by side."


class Heads(NamedTuple):
    """The matrices of all heads: (H, D, C) each, and the projection's (C, C)."""

    query: Tensor
    key: Tensor
    value: Tensor
    proj: Tensor


def matrices_of(module: nn.Module, n_head: int, head_size: int) -> Iterator[Heads]:
    """The ways in which its parameters may be those of several heads; the likeliest first."""
    for query, key, value, proj in _square(module, n_head, head_size):
        for dealt in (False, True):  # channels in H runs of D, or dealt out to the heads like cards
            q, k, v = (_by_head(one, n_head, dealt) for one in (query, key, value))
            for layout in _projections(proj, n_head, head_size):
                yield Heads(q, k, v, layout)


def _by_head(matrix: Tensor, n_head: int, dealt: bool) -> Tensor:
    """(C, C) -> (H, D, C)."""
    return matrix.unflatten(0, (-1, n_head)).transpose(0, 1) if dealt else matrix.unflatten(0, (n_head, -1))


def _projections(proj: Tensor, n_head: int, head_size: int) -> Iterator[Tensor]:
    """The projection's columns, put so that they fit heads that stand in their order: (C, C) -> (C, C)."""
    by_head = proj.unflatten(1, (n_head, head_size))
    for order in itertools.permutations(range(n_head)):
        yield by_head[:, order].flatten(1)
    yield proj.unflatten(1, (head_size, n_head)).transpose(1, 2).flatten(1)


class Square(NamedTuple):
    """A matrix (C, C) that is learned, as a layer would keep it, and as it is multiplied from the right.

    As query, key or value its rows are heads and their channels; as projection its columns are.
    """

    part: tuple[Tensor, Tensor]
    proj: tuple[Tensor, Tensor]


def _squares(parameter: Tensor, n_head: int, head_size: int) -> list[Square]:
    """The matrices (C, C) in a parameter."""
    H, D, C = n_head, head_size, n_head * head_size
    if parameter.dim() == 4:
        return [square for one in parameter for square in _squares(one, H, D)]
    orders: dict[tuple[int, ...], tuple[int, ...]] = {(H, D, C): (0, 1, 2), (H, C, D): (0, 2, 1), (C, H, D): (1, 2, 0)}
    if order := orders.get(tuple(parameter.shape)):
        by_head = parameter.permute(order).reshape(C, C)
        return [Square((by_head, by_head), (by_head.T, by_head.T))]
    return [Square((one, one.T), (one, one.T)) for one in pieces_of(parameter, C, C)]


def _square(module: nn.Module, n_head: int, head_size: int) -> Iterator[tuple[Tensor, ...]]:
    """Query, key, value and projection as (C, C) each, in the order of the parts they may play."""
    C = n_head * head_size
    named = {name.removesuffix(".weight"): one for name, one in matrices_in(module).items()}
    role = {
        part: [one for name, one in named.items() if name.split(".")[-1] == part] for part in ("query", "key", "value")
    }
    rest = [one for name, one in named.items() if name.split(".")[-1] not in role]
    whole = [
        torch.cat([piece for one in ones for piece in pieces_of(one, head_size, C)] or [torch.empty(0)])
        for ones in role.values()
    ]
    if len(rest) == 1 and all(one.shape == (C, C) for one in (*whole, *rest)):
        yield from _either_way([Square((one, one.T), (one, one.T)) for one in (*whole, *rest)])
        return
    yield from _unnamed(list(named.values()), n_head, head_size)


def _either_way(squares: Sequence[Square]) -> Iterator[tuple[Tensor, ...]]:
    """Four matrices in their parts, as layers keep them or as they are multiplied from the right."""
    *parts, proj = squares
    for way, way_of_proj in itertools.product((0, 1), repeat=2):
        yield *(one.part[way] for one in parts), proj.proj[way_of_proj]


def _unnamed(parameters: list[Tensor], n_head: int, head_size: int) -> Iterator[tuple[Tensor, ...]]:
    C = n_head * head_size
    squares = [square for one in parameters for square in _squares(one, n_head, head_size)]
    if len(squares) == 4:
        for order in itertools.permutations(squares):
            yield from _either_way(order)
    for proj in [one for one in reversed(parameters) if one.shape == (C, C)]:
        others = [one for one in parameters if one is not proj]
        for parts in _parts_by_head(others, n_head, head_size):
            for three in itertools.permutations(parts):
                yield *three, proj
                yield *three, proj.T
    for parts in _parts_by_head(parameters, n_head, head_size, count=4):  # a projection of its own for each head
        for query, key, value, proj in itertools.permutations(parts):
            yield query, key, value, proj.T


def _parts_by_head(parameters: list[Tensor], n_head: int, head_size: int, count: int = 3) -> Iterator[list[Tensor]]:
    """So many matrices (C, C) of parameters that hold (D, C) for each head: head by head, or part by part."""
    H, D, C = n_head, head_size, n_head * head_size
    for turned in ([one.mT for one in parameters], parameters):
        small = [piece for one in turned for piece in pieces_of(one, D, C)]
        if len(small) == count * H:
            yield [torch.cat(small[part::count]) for part in range(count)]
            yield [torch.cat(small[part * H : (part + 1) * H]) for part in range(count)]
            first, last = small[: 3 * H], small[3 * H :]
            if last:
                yield [*(torch.cat(first[part::3]) for part in range(3)), torch.cat(last)]


def heard_and_mixed(x: Tensor, m: Heads) -> Tensor:
    """What they should give for x (B, T, C)."""
    q, k, v = (torch.einsum("btc,hdc->bhtd", x, matrix) for matrix in (m.query, m.key, m.value))
    return joined(causal_weights(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])) @ v) @ m.proj.T


def outputs(x: Tensor, m: Heads) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What they would give for x (B, T, C), by mistakes that mix positions, and by other mistakes."""
    q, k, v = (torch.einsum("btc,hdc->bhtd", x, matrix) for matrix in (m.query, m.key, m.value))
    right, by_scale = weights_by_scale(q, k, x.shape[-1])
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    heard = right @ v
    mixing = {sentence: joined(w @ v) @ m.proj.T for sentence, w in leaking_weights(scores).items()}
    mixing[NO_TRANSPOSE_OUT] = heard.reshape(x.shape) @ m.proj.T
    cut = [joined(one).view(q.shape) for one in (q, k, v)]
    heard_cut = causal_weights(cut[0] @ cut[1].transpose(-2, -1) / math.sqrt(q.shape[-1])) @ cut[2]
    lowered = f"{NO_TRANSPOSE_IN[0]}{NO_TRANSPOSE_IN[1:]}"
    others = {sentence: joined(w @ v) @ m.proj.T for sentence, w in by_scale.items()}
    others[NOT_PROJECTED] = joined(heard)
    others[ONE_HEAD] = joined(heard[:, :1].expand_as(heard)) @ m.proj.T
    cuts = [heard_cut.reshape(x.shape) @ m.proj.T, joined(heard_cut) @ m.proj.T]
    for number, wrong in enumerate(cuts):
        mixing[lowered + " " * number] = wrong
    return mixing, others


def joined(heard: Tensor) -> Tensor:
    """(B, H, T, D) -> (B, T, C)."""
    return heard.transpose(1, 2).flatten(2)


def mixing_mistake(out: Tensor, x: Tensor, module: nn.Module, n_head: int, head_size: int) -> str | None:
    """The mistake by which positions hear what they should not, if it is a known one."""
    for matrices in itertools.islice(matrices_of(module, n_head, head_size), 400):
        for sentence, wrong in outputs(x, matrices)[0].items():
            if close(out, wrong):
                return sentence.strip()
    return None
