"""Attention as it should be and as it often goes wrong, to tell a learner which of the wrong ways theirs is.

A head's three matrices are found in whatever way the learner keeps them: three layers, one layer three times as wide,
bare parameters either way round. Where they bear the section's names, each must play the part that it is named for;
where not, it is enough that there are parts for them in which the numbers come out right.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from course.exercises.probe import close, matrices_in


class Matrices(NamedTuple):
    """Those of one head, as torch keeps them: (D, C) each."""

    query: Tensor
    key: Tensor
    value: Tensor


MASK_AFTER = (
    "The mask comes after the softmax: the future's weights are 0, but they were already counted in the sum that the "
    "others were divided by. Put -inf into the scores first, then take the softmax."
)
COLUMNS = (
    "The softmax runs down the columns, over those who ask: it must run along each row, over those who are asked "
    "(dim=-1)."
)
NO_MASK = "there is no mask, or it has no effect. Put -inf wherever the column is later than the row."
OFF_BY_ONE = (
    "your mask lets the future in by one. The diagonal is the last that may be seen: tril() and triu(1) meet there."
)
UPSIDE_DOWN = "your mask is the wrong way round and hides the past. What is above the diagonal must go."
ZEROS = (
    "the masked scores are 0, and e^0 = 1 still gets a share. What must not be seen needs a score of -inf, so that its "
    "power is 0."
)
LETS_IN = "your mask lets the future in. Put -inf wherever the column is later than the row."
DIAGONAL = (
    "It may look at nobody, not even itself: your mask is off by one and hides the diagonal. A position does hear "
    "itself."
)
NANS = "There are NaNs in it: somewhere a row is masked from end to end, or 0 is divided by 0."
NO_SCALE = "The scores are not divided by √D: large D then gives scores so large that one position takes all."
BY_D = "The scores are divided by D. It is the square root of D: the variance of a product is D, its size √D."
TIMES_SCALE = "The scores are multiplied by √D, where they should be divided by it."
BY_TIME = "The scores are divided by √T, the number of positions: it is √D, the size of a query."
BY_CHANNELS = "The scores are divided by √C, all channels of the input: it is √D, the size of this head's queries."
SWAPPED = "`key` asks and `query` is asked: the score at [t, s] is query t times key s. Swap them."
VALUE_BY_KEY = "What is heard comes out of `key`: it must come out of `value`."
VALUE_BY_QUERY = "What is heard comes out of `query`: it must come out of `value`."


def hidden(length: int, diagonal: int = 1) -> Tensor:
    """What must not be seen: (T, T), true from this diagonal up."""
    return torch.ones(length, length, dtype=torch.bool).triu(diagonal)


def causal_weights(scores: Tensor, diagonal: int = 1) -> Tensor:
    """(..., T, T) -> (..., T, T)."""
    return scores.masked_fill(hidden(scores.shape[-1], diagonal), -torch.inf).softmax(dim=-1)


def weights_by_scale(q: Tensor, k: Tensor, channels: int | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """The right weights (..., T, T), and those of each mistake with the scale."""
    (T, D), plain = q.shape[-2:], q @ k.transpose(-2, -1)
    divisors = {NO_SCALE: 1.0, BY_D: D, TIMES_SCALE: 1 / math.sqrt(D), BY_TIME: math.sqrt(T)}
    if channels is not None:
        divisors[BY_CHANNELS] = math.sqrt(channels)
    wrong = {sentence: causal_weights(plain / divisor) for sentence, divisor in divisors.items()}
    return causal_weights(plain / math.sqrt(D)), wrong


def leaking_weights(scores: Tensor) -> dict[str, Tensor]:
    """Weights (..., T, T) that know of the future, by mistake."""
    T = scores.shape[-1]
    seen = ~hidden(T)
    masked = scores.masked_fill(~seen, -torch.inf)
    return {
        NO_MASK: scores.softmax(dim=-1),
        OFF_BY_ONE: causal_weights(scores, diagonal=2),
        UPSIDE_DOWN: scores.masked_fill(seen.tril(-1), -torch.inf).softmax(dim=-1),
        ZEROS: (scores * seen).softmax(dim=-1),
        MASK_AFTER: scores.softmax(dim=-1) * seen,
        COLUMNS: masked.softmax(dim=-2),
    }


def rows_fault(weights: Tensor) -> str | None:
    """Whether each row of weights (T, T) shares out 1."""
    if weights.isnan().any():
        alone = weights[0].isnan().all() and not weights[1:].isnan().any()
        return f"Row 0 is all NaN. {DIAGONAL}" if alone else NANS
    if (weights < 0).any():
        return "There are negative weights: the softmax is missing."
    return _sums_fault(weights)


def numbers_fault(out: Tensor) -> str | None:
    """What is wrong if not all that positions hear, (T, C), are numbers."""
    if not out.isnan().any():
        return None
    return f"Position 0 hears only NaN. {DIAGONAL}" if not out[1:].isnan().any() else NANS


def because(fault: str, reason: str) -> str:
    """A fault, with its general advice after the colon replaced by the reason that was found."""
    return f"{fault.partition(':')[0]}: {reason[0].lower()}{reason[1:]}"


def _sums_fault(weights: Tensor) -> str | None:
    sums, columns = weights.sum(dim=-1), weights.sum(dim=-2)
    one = torch.ones_like(sums)
    if close(sums, one):
        return None
    if close(columns, one):
        return f"The columns sum to 1 and the rows do not (row 0: {sums[0]:.2f}). {COLUMNS}"
    if (sums < 1 + 1e-4).all() and close(sums[-1], one[-1]) and not weights.triu(1).any():
        return f"Row 0 sums to {sums[0]:.2f}. {MASK_AFTER}"
    row = int((sums - 1).abs().argmax())
    return f"Row {row} sums to {sums[row]:.2f}: each row should share out 1, as a softmax over it does."


def seen_fault(weights: Tensor) -> str | None:
    """Whether each position looks at itself and all before it, and at nothing else, in weights (T, T)."""
    T, seen = weights.shape[-1], weights > 1e-7
    if torch.equal(seen, ~hidden(T)):
        return None
    later = (seen & hidden(T)).nonzero().tolist()
    if not later:
        t, s = (~seen & ~hidden(T)).nonzero()[-1].tolist()
        return f"Position {t} does not listen to position {s}, which is {'itself' if s == t else 'before it'}."
    t, s = later[len(later) // 2]
    return f"Position {t} listens to position {s}, which comes later: {_why(weights, seen)}"


def _why(weights: Tensor, seen: Tensor) -> str:
    T = seen.shape[-1]
    if not seen.diagonal()[1:].any():
        return "and none listens to itself: your mask hides the diagonal. It is off by one."
    if seen.all():
        return ZEROS if close(weights[0, 1:], weights[0, 1].expand(T - 1)) else NO_MASK
    if torch.equal(seen, ~hidden(T, 2)):
        return OFF_BY_ONE
    return UPSIDE_DOWN if not seen.tril(-1).any() else LETS_IN


def heads_matrices(head: nn.Module, n_embd: int, head_size: int) -> Iterator[Matrices]:
    """The ways in which a head's parameters may be its queries', keys' and values' matrices, (D, C) each."""
    matrices = matrices_in(head)
    named = {name.removesuffix(".weight"): one for name, one in matrices.items()}
    if {"query", "key", "value"} == set(named) and all(one.shape == (head_size, n_embd) for one in named.values()):
        yield Matrices(**named)
        return
    pieces = [piece for one in matrices.values() for piece in pieces_of(one, head_size, n_embd)]
    if len(pieces) == 3:
        for order in itertools.permutations(pieces):
            yield Matrices(*order)


def pieces_of(parameter: Tensor, rows: int, columns: int) -> list[Tensor]:
    """A parameter as matrices (rows, columns), whether it holds several of them, or has them the other way round."""
    if parameter.dim() > 2:
        return [piece for one in parameter for piece in pieces_of(one, rows, columns)]
    if parameter.dim() != 2:
        return []
    for one in (parameter, parameter.T):
        if one.shape[1] == columns and one.shape[0] % rows == 0:
            return list(one.split(rows))
    return []


@torch.no_grad()
def silence_biases(module: nn.Module, smallest: int) -> None:
    """Set all that is less than a matrix to zero: whether there are biases is not what an exercise is about."""
    for parameter in module.parameters():
        if parameter.numel() < smallest:
            parameter.zero_()


def head_outputs(x: Tensor, m: Matrices) -> tuple[Tensor, Mapping[str, Tensor], Mapping[str, Tensor]]:
    """What a head with these matrices should give for x (B, T, C), by mistakes that leak, and by other mistakes."""
    q, k, v = (x @ matrix.T for matrix in m)  # (B, T, D) each
    right, by_scale = weights_by_scale(q, k, x.shape[-1])
    leaking = {
        sentence: w @ v for sentence, w in leaking_weights(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).items()
    }
    others = {sentence: w @ v for sentence, w in by_scale.items()}
    others[SWAPPED] = weights_by_scale(k, q)[0] @ v
    others[VALUE_BY_KEY] = right @ k
    others[VALUE_BY_QUERY] = right @ q
    return right @ v, leaking, others
