"""Several heads as they should be and as they often go wrong.

The matrices of a learner's module are found however it keeps them: heads in a list or in one product, query, key and
value apart or in one layer, torch's own module. Which head comes first, and which of its channels, is free as well, as
long as the projection agrees.
"""

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course.exercises.attention import causal_weights, leaking_weights, pieces_of, weights_by_scale
from course.exercises.probe import close

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


def _square(module: nn.Module, n_head: int, head_size: int) -> Iterator[tuple[Tensor, ...]]:
    """Query, key, value and projection as (C, C) each, in the order of the parts they may play."""
    C = n_head * head_size
    named = {name.removesuffix(".weight"): one.detach() for name, one in module.named_parameters() if one.dim() > 1}
    role = {
        part: [one for name, one in named.items() if name.split(".")[-1] == part] for part in ("query", "key", "value")
    }
    rest = [one for name, one in named.items() if name.split(".")[-1] not in role]
    whole = {
        part: torch.cat([piece for one in ones for piece in pieces_of(one, head_size, C)] or [torch.empty(0)])
        for part, ones in role.items()
    }
    if len(rest) == 1 and rest[0].shape == (C, C) and all(one.shape == (C, C) for one in whole.values()):
        yield *whole.values(), rest[0]
        return
    yield from _unnamed(list(named.values()), n_head, head_size)


def _unnamed(parameters: list[Tensor], n_head: int, head_size: int) -> Iterator[tuple[Tensor, ...]]:
    C = n_head * head_size
    squares = [piece for one in parameters for piece in pieces_of(one, C, C)]
    small = [piece for one in parameters if not pieces_of(one, C, C) for piece in pieces_of(one, head_size, C)]
    if len(squares) == 4:
        for order in itertools.permutations(squares):
            yield order
            yield tuple(one.T for one in order)  # bare parameters, multiplied from the right
    fused = [one for one in parameters if one.shape == (3 * C, C)]
    if len(fused) == 1 and len(squares) == 4:  # one layer, its channels cut by head first and then into q, k, v
        (proj,) = (one for one in parameters if one.shape == (C, C))
        for order in itertools.permutations(fused[0].unflatten(0, (n_head, 3, head_size)).unbind(1)):
            yield *(one.flatten(0, 1) for one in order), proj
    if len(squares) == 1 and len(small) == 3 * n_head:
        by_part = [torch.cat(small[i * n_head : (i + 1) * n_head]) for i in range(3)]
        for parts in ([torch.cat(small[i::3]) for i in range(3)], by_part):
            for order in itertools.permutations(parts):
                yield *order, squares[0]
                yield *order, squares[0].T


def outputs(x: Tensor, m: Heads) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """What they should give for x (B, T, C), by mistakes that mix positions, and by other mistakes."""
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
    return joined(heard) @ m.proj.T, mixing, others


def joined(heard: Tensor) -> Tensor:
    """(B, H, T, D) -> (B, T, C)."""
    return heard.transpose(1, 2).flatten(2)


def mixing_mistake(out: Tensor, x: Tensor, module: nn.Module, n_head: int, head_size: int) -> str | None:
    """The mistake by which positions hear what they should not, if it is a known one."""
    for matrices in itertools.islice(matrices_of(module, n_head, head_size), 400):
        for sentence, wrong in outputs(x, matrices)[1].items():
            if close(out, wrong):
                return sentence.strip()
    return None
