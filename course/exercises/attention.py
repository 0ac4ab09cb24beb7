"""Attention as it should be and with its common mistakes, to name the mistake in a learner's head or heads.

The matrices are found however the learner keeps them: layers, one layer for several, bare parameters, transposed or
not, torch's own module; for several heads in a list or in one product, in any order that the projection agrees with.
Parameters with the section's names must play the part they are named for. Otherwise it is enough that some assignment
of parameters to parts gives the right numbers.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course.exercises.shared_checks import matching_mistake, named_matrices, nearly_equal, split_matrices

MASK_AFTER = (
    "The mask comes after the softmax: the weights of the future are 0, but they were part of the sum that the others "
    "were divided by. Put -inf into the scores first, then take the softmax."
)
COLUMNS = "The softmax runs down the columns, over the queries: it must run along each row, over the keys (dim=-1)."
NO_MASK = "there is no mask, or it has no effect. Put -inf wherever the column is later than the row."
OFF_BY_ONE = (
    "your mask is off by one and lets one position of the future in. The diagonal is the last that may be seen: "
    "tril() keeps it, and triu(1) begins after it."
)
UPSIDE_DOWN = "your mask is the wrong way round and hides the past. What is above the diagonal must be hidden."
ZEROS = (
    "the masked scores are 0, and e^0 = 1 still gets a share. What must not be seen needs a score of -inf, so that its "
    "exponential is 0."
)
FUTURE_VISIBLE = "your mask lets the future in. Put -inf wherever the column is later than the row."
DIAGONAL = (
    "It may attend to nothing, not even itself: your mask is off by one and hides the diagonal. A position does attend "
    "to itself."
)
NANS = "There are NaNs in it: somewhere a whole row is masked, or 0 is divided by 0."
NO_SCALE = "The scores are not divided by √D: a large D then gives scores so large that one position takes all."
BY_D = "The scores are divided by D. It is the square root of D: the variance of a product is D, its size √D."
TIMES_SCALE = "The scores are multiplied by √D: divide by it."
BY_TIME = "The scores are divided by √T, the number of positions: it is √D, the size of a query."
BY_CHANNELS = "The scores are divided by √C, all channels of the input: it is √D, the size of this head's queries."
SWAPPED = "`key` and `query` are swapped: the score at [t, s] is query t times key s."
VALUE_BY_KEY = "What is averaged comes from `key`: it must come from `value`."
VALUE_BY_QUERY = "What is averaged comes from `query`: it must come from `value`."
NO_TRANSPOSE_IN = (
    "`view` splits the numbers in memory order, so that a head gets parts of several positions. View them as "
    "(B, T, H, D) first, then `transpose(1, 2)`."
)
NO_TRANSPOSE_OUT = (
    "the heads' outputs are joined without transposing back: from (B, H, T, D), `transpose(1, 2)` first, then flatten "
    "the last two."
)
NOT_PROJECTED = "The heads are concatenated, but the projection is not applied to them."
ONE_HEAD = "The output of the first head is used for every head: concatenate the outputs of all heads."


# Weights


def future_mask(length: int, diagonal: int = 1) -> Tensor:
    """Return what must not be seen: (T, T), true from this diagonal up."""
    return torch.ones(length, length, dtype=torch.bool).triu(diagonal)


def causal_weights(scores: Tensor, diagonal: int = 1) -> Tensor:
    """Mask the scores and take the softmax: (..., T, T) -> (..., T, T)."""
    return scores.masked_fill(future_mask(scores.shape[-1], diagonal), -torch.inf).softmax(dim=-1)


def scale_variants(q: Tensor, k: Tensor, channels: int | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the right weights (..., T, T), and the weights with each mistake in the scale."""
    (T, D), plain = q.shape[-2:], q @ k.transpose(-2, -1)
    divisors = {NO_SCALE: 1.0, BY_D: D, TIMES_SCALE: 1 / math.sqrt(D), BY_TIME: math.sqrt(T)}
    if channels is not None:
        divisors[BY_CHANNELS] = math.sqrt(channels)
    wrong = {sentence: causal_weights(plain / divisor) for sentence, divisor in divisors.items()}
    return causal_weights(plain / math.sqrt(D)), wrong


def leaking_variants(scores: Tensor) -> dict[str, Tensor]:
    """Return the weights (..., T, T) with each mistake that lets the future in."""
    T = scores.shape[-1]
    allowed = ~future_mask(T)
    masked = scores.masked_fill(~allowed, -torch.inf)
    return {
        NO_MASK: scores.softmax(dim=-1),
        OFF_BY_ONE: causal_weights(scores, diagonal=2),
        UPSIDE_DOWN: scores.masked_fill(allowed.tril(-1), -torch.inf).softmax(dim=-1),
        ZEROS: (scores * allowed).softmax(dim=-1),
        MASK_AFTER: scores.softmax(dim=-1) * allowed,
        COLUMNS: masked.softmax(dim=-2),
    }


def row_sum_fault(weights: Tensor) -> str | None:
    """Check that each row of weights (T, T) is positive and sums to 1."""
    if weights.isnan().any():
        first_row_only = weights[0].isnan().all() and not weights[1:].isnan().any()
        return f"Row 0 is all NaN. {DIAGONAL}" if first_row_only else NANS
    if (weights < 0).any():
        return "There are negative weights: the softmax is missing."
    sums, columns = weights.sum(dim=-1), weights.sum(dim=-2)
    one = torch.ones_like(sums)
    if nearly_equal(sums, one):
        return None
    if nearly_equal(columns, one):
        return f"The columns sum to 1 and the rows do not (row 0: {sums[0]:.2f}). {COLUMNS}"
    if (sums < 1 + 1e-4).all() and nearly_equal(sums[-1], one[-1]) and not weights.triu(1).any():
        return f"Row 0 sums to {sums[0]:.2f}. {MASK_AFTER}"
    row = int((sums - 1).abs().argmax())
    return f"Row {row} sums to {sums[row]:.2f}: each row should sum to 1, as a softmax over it does."


def nan_fault(out: Tensor) -> str | None:
    """Check that the outputs of positions, (T, C), are numbers."""
    if not out.isnan().any():
        return None
    return f"The output at position 0 is NaN. {DIAGONAL}" if not out[1:].isnan().any() else NANS


def mask_fault(weights: Tensor) -> str | None:
    """Check that each position attends to itself and all before it, and to nothing else, in weights (T, T)."""
    T, seen = weights.shape[-1], weights > 1e-7
    if torch.equal(seen, ~future_mask(T)):
        return None
    later = (seen & future_mask(T)).nonzero().tolist()
    if not later:
        t, s = (~seen & ~future_mask(T)).nonzero()[-1].tolist()
        return f"Position {t} does not attend to position {s}, which is {'itself' if s == t else 'before it'}."
    t, s = later[len(later) // 2]
    return f"Position {t} attends to position {s}, which comes later: {_reason_for_leak(weights, seen)}"


def _reason_for_leak(weights: Tensor, seen: Tensor) -> str:
    T = seen.shape[-1]
    if not seen.diagonal()[1:].any():
        return "and none attends to itself: your mask hides the diagonal. It is off by one."
    if seen.all():
        return ZEROS if nearly_equal(weights[0, 1:], weights[0, 1].expand(T - 1)) else NO_MASK
    if torch.equal(seen, ~future_mask(T, 2)):
        return OFF_BY_ONE
    return UPSIDE_DOWN if not seen.tril(-1).any() else FUTURE_VISIBLE


def with_reason(fault: str, reason: str) -> str:
    """Replace a fault's general advice, after the colon, by the reason that was found."""
    return f"{fault.partition(':')[0]}: {reason[0].lower()}{reason[1:]}"


# One head


class HeadMatrices(NamedTuple):
    """The matrices of one head, as torch keeps them: (D, C) each."""

    query: Tensor
    key: Tensor
    value: Tensor


def head_matrices(head: nn.Module, n_embd: int, head_size: int) -> Iterator[HeadMatrices]:
    """Yield the ways in which a head's parameters may be its query, key and value matrices."""
    matrices = named_matrices(head)
    named = {name.removesuffix(".weight"): one for name, one in matrices.items()}
    if {"query", "key", "value"} == set(named) and all(one.shape == (head_size, n_embd) for one in named.values()):
        yield HeadMatrices(**named)
        return
    found = [matrix for one in matrices.values() for matrix in split_matrices(one, head_size, n_embd)]
    if len(found) == 3:
        for order in itertools.permutations(found):
            yield HeadMatrices(*order)


def head_variants(x: Tensor, m: HeadMatrices) -> tuple[Tensor, Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Return the right output for x (B, T, C), outputs with mistakes that leak, and outputs with other mistakes."""
    q, k, v = (x @ matrix.T for matrix in m)  # (B, T, D) each
    right, by_scale = scale_variants(q, k, x.shape[-1])
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    leaking = {sentence: w @ v for sentence, w in leaking_variants(scores).items()}
    others = {sentence: w @ v for sentence, w in by_scale.items()}
    others[SWAPPED] = scale_variants(k, q)[0] @ v
    others[VALUE_BY_KEY] = right @ k
    others[VALUE_BY_QUERY] = right @ q
    return right @ v, leaking, others


# Several heads


class MultiHeadMatrices(NamedTuple):
    """The matrices of all heads: (H, D, C) each, and the projection's (C, C)."""

    query: Tensor
    key: Tensor
    value: Tensor
    proj: Tensor


def multi_head_matrices(module: nn.Module, n_head: int, head_size: int) -> Iterator[MultiHeadMatrices]:
    """Yield the ways in which a module's parameters may be those of several heads, the likeliest first."""
    for query, key, value, proj in _matrices_by_part(module, n_head, head_size):
        for interleaved in (False, True):  # channels in H runs of D, or channel i to head i % H
            q, k, v = (_by_head(one, n_head, interleaved) for one in (query, key, value))
            for ordered in _projection_orders(proj, n_head, head_size):
                yield MultiHeadMatrices(q, k, v, ordered)


def _by_head(matrix: Tensor, n_head: int, interleaved: bool) -> Tensor:
    """Split the rows among the heads: (C, C) -> (H, D, C)."""
    return matrix.unflatten(0, (-1, n_head)).transpose(0, 1) if interleaved else matrix.unflatten(0, (n_head, -1))


def _projection_orders(proj: Tensor, n_head: int, head_size: int) -> Iterator[Tensor]:
    """Reorder the projection's columns for each order of the heads: (C, C) -> (C, C)."""
    by_head = proj.unflatten(1, (n_head, head_size))
    for order in itertools.permutations(range(n_head)):
        yield by_head[:, order].flatten(1)
    yield proj.unflatten(1, (head_size, n_head)).transpose(1, 2).flatten(1)


class SquareMatrix(NamedTuple):
    """A learned matrix (C, C) in both orientations: as a layer keeps it, and as x is multiplied by it.

    As query, key or value, its rows are heads and their channels; as projection, its columns are.
    """

    part: tuple[Tensor, Tensor]
    proj: tuple[Tensor, Tensor]


def _square_matrices(parameter: Tensor, n_head: int, head_size: int) -> list[SquareMatrix]:
    """Return the matrices (C, C) in a parameter."""
    H, D, C = n_head, head_size, n_head * head_size
    if parameter.dim() == 4:
        return [square for one in parameter for square in _square_matrices(one, H, D)]
    orders: dict[tuple[int, ...], tuple[int, ...]] = {(H, D, C): (0, 1, 2), (H, C, D): (0, 2, 1), (C, H, D): (1, 2, 0)}
    if order := orders.get(tuple(parameter.shape)):
        by_head = parameter.permute(order).reshape(C, C)
        return [SquareMatrix((by_head, by_head), (by_head.T, by_head.T))]
    return [SquareMatrix((one, one.T), (one, one.T)) for one in split_matrices(parameter, C, C)]


def _matrices_by_part(module: nn.Module, n_head: int, head_size: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield query, key, value and projection, (C, C) each, for each assignment of parameters to these parts."""
    C = n_head * head_size
    named = {name.removesuffix(".weight"): one for name, one in named_matrices(module).items()}
    parts = {
        part: [one for name, one in named.items() if name.split(".")[-1] == part] for part in ("query", "key", "value")
    }
    rest = [one for name, one in named.items() if name.split(".")[-1] not in parts]
    whole = [
        torch.cat([matrix for one in ones for matrix in split_matrices(one, head_size, C)] or [torch.empty(0)])
        for ones in parts.values()
    ]
    if len(rest) == 1 and all(one.shape == (C, C) for one in (*whole, *rest)):
        yield from _orientations([SquareMatrix((one, one.T), (one, one.T)) for one in (*whole, *rest)])
        return
    yield from _unnamed_matrices(list(named.values()), n_head, head_size)


def _orientations(squares: Sequence[SquareMatrix]) -> Iterator[tuple[Tensor, ...]]:
    """Yield four matrices in their parts, transposed and not."""
    *parts, proj = squares
    for way, way_of_proj in itertools.product((0, 1), repeat=2):
        yield *(one.part[way] for one in parts), proj.proj[way_of_proj]


def _unnamed_matrices(parameters: list[Tensor], n_head: int, head_size: int) -> Iterator[tuple[Tensor, ...]]:
    C = n_head * head_size
    squares = [square for one in parameters for square in _square_matrices(one, n_head, head_size)]
    if len(squares) == 4:
        for order in itertools.permutations(squares):
            yield from _orientations(order)
    for proj in [one for one in reversed(parameters) if one.shape == (C, C)]:
        others = [one for one in parameters if one is not proj]
        for parts in _parts_by_head(others, n_head, head_size):
            for three in itertools.permutations(parts):
                yield *three, proj
                yield *three, proj.T
    for parts in _parts_by_head(parameters, n_head, head_size, count=4):  # each head has its own projection
        for query, key, value, proj in itertools.permutations(parts):
            yield query, key, value, proj.T


def _parts_by_head(parameters: list[Tensor], n_head: int, head_size: int, count: int = 3) -> Iterator[list[Tensor]]:
    """Yield `count` matrices (C, C) from parameters that hold (D, C) for each head, head by head or part by part."""
    H, D, C = n_head, head_size, n_head * head_size
    for oriented in ([one.mT for one in parameters], parameters):
        small = [matrix for one in oriented for matrix in split_matrices(one, D, C)]
        if len(small) == count * H:
            yield [torch.cat(small[part::count]) for part in range(count)]
            yield [torch.cat(small[part * H : (part + 1) * H]) for part in range(count)]
            first, last = small[: 3 * H], small[3 * H :]
            if last:
                yield [*(torch.cat(first[part::3]) for part in range(3)), torch.cat(last)]


def multi_head_output(x: Tensor, m: MultiHeadMatrices) -> Tensor:
    """Return the right output for x (B, T, C)."""
    q, k, v = (torch.einsum("btc,hdc->bhtd", x, matrix) for matrix in (m.query, m.key, m.value))
    return join_heads(causal_weights(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])) @ v) @ m.proj.T


def multi_head_variants(x: Tensor, m: MultiHeadMatrices) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the outputs for x (B, T, C) with mistakes that mix positions, and with other mistakes."""
    q, k, v = (torch.einsum("btc,hdc->bhtd", x, matrix) for matrix in (m.query, m.key, m.value))
    right, by_scale = scale_variants(q, k, x.shape[-1])
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    attended = right @ v
    mixing = {sentence: join_heads(w @ v) @ m.proj.T for sentence, w in leaking_variants(scores).items()}
    mixing[NO_TRANSPOSE_OUT] = attended.reshape(x.shape) @ m.proj.T
    others = {sentence: join_heads(w @ v) @ m.proj.T for sentence, w in by_scale.items()}
    others[NOT_PROJECTED] = join_heads(attended)
    others[ONE_HEAD] = join_heads(attended[:, :1].expand_as(attended)) @ m.proj.T
    q, k, v = (join_heads(one).view(q.shape) for one in (q, k, v))  # split in memory order
    attended_wrongly = causal_weights(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])) @ v
    mixing[NO_TRANSPOSE_IN] = attended_wrongly.reshape(x.shape) @ m.proj.T
    mixing[f"{NO_TRANSPOSE_IN} "] = join_heads(attended_wrongly) @ m.proj.T  # joined with the transpose
    return mixing, others


def join_heads(x: Tensor) -> Tensor:
    """Concatenate the heads: (B, H, T, D) -> (B, T, C)."""
    return x.transpose(1, 2).flatten(2)


def known_leak(out: Tensor, x: Tensor, module: nn.Module, n_head: int, head_size: int) -> str | None:
    """Return the known mistake by which positions see others that they should not, if there is one."""
    for matrices in itertools.islice(multi_head_matrices(module, n_head, head_size), 400):
        if sentence := matching_mistake(out, multi_head_variants(x, matrices)[0]):
            return sentence.strip()
    return None
