"""How much of a generated text is copied word for word from the training text.

From each position of the generated text, measure the longest run of tokens that occurs anywhere in the training part.
Compare with the same amount of real text that the model never saw, because language repeats itself.

The measure is exact: a suffix array of one segment of the training part after another (Manber and Myers 1990), which
overlap by the longest possible match. It takes O(n log n log m) time for n training tokens and samples of m.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nanogpt.text.tokenizer import Tokenizer

SEGMENT_TOKENS = 1 << 22
NGRAMS = (4, 8, 16, 32)
"""Lengths of the runs whose novel share is reported, in tokens."""

Integers = NDArray[np.int64]
Ids = NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How much texts share with the training text."""

    texts: int
    tokens: int
    """tokens of all texts together"""
    longest: int
    """length of the longest copied run"""
    longest_text: str
    """text of the longest copied run"""
    mean_longest: float
    """mean of each text's longest run"""
    novel: dict[int, float | None]
    """for each length n, the share of n-grams that the training text does not have; None where no text is so long"""


def measure_overlap(
    train: Ids, texts: Sequence[Ids], tokenizer: Tokenizer, on_progress: Callable[[int], object] = lambda tokens: None
) -> Overlap:
    """Compare texts, ids (T,) each, with the training ids. `on_progress` is called with each number of ids searched."""
    matches = longest_matches(train, texts, on_progress)
    best = [int(found.max(initial=0)) for found in matches]
    which = int(np.argmax(best))
    start = int(np.argmax(matches[which])) if best[which] else 0
    novel: dict[int, float | None] = {}
    for n in NGRAMS:
        whole = np.concatenate([found[: max(0, len(found) - n + 1)] for found in matches])
        novel[n] = float((whole < n).mean()) if len(whole) else None
    return Overlap(
        texts=len(texts),
        tokens=sum(map(len, texts)),
        longest=best[which],
        longest_text=tokenizer.decode(texts[which][start : start + best[which]].tolist()),
        mean_longest=float(np.mean(best)),
        novel=novel,
    )


def evenly_spaced(ids: Ids, count: int, length: int) -> list[Ids]:
    """Return `count` pieces of `length` from ids (T,), without overlap; fewer, or a shorter one, where ids is short.

    >>> [piece.tolist() for piece in evenly_spaced(np.arange(10), 3, 2)]
    [[0, 1], [4, 5], [8, 9]]
    """
    count = max(1, min(count, len(ids) // length))
    starts = np.linspace(0, max(0, len(ids) - length), count).astype(np.int64)
    return [ids[start : start + length] for start in starts]


def longest_matches(
    train: Ids, texts: Sequence[Ids], on_progress: Callable[[int], object] = lambda tokens: None
) -> list[Integers]:
    """Return the longest run from each position of each text that occurs in the training ids, (T,) each.

    >>> longest_matches(np.array([1, 2, 3, 4]), [np.array([2, 3, 1, 2, 4])])[0].tolist()
    [2, 1, 2, 1, 1]
    """
    lengths = [len(text) for text in texts]
    longest = max(lengths)
    tokens = np.concatenate(texts).astype(np.int64)
    ends = np.repeat(np.cumsum(lengths), lengths)
    found = np.zeros(len(tokens), dtype=np.int64)
    for start in range(0, len(train), SEGMENT_TOKENS):
        segment = train[start : start + SEGMENT_TOKENS + longest].astype(np.int64)
        found = np.maximum(found, _matches(segment, suffix_array(segment, longest), tokens, ends))
        on_progress(min(SEGMENT_TOKENS, len(train) - start))
    return np.split(found, np.cumsum(lengths)[:-1])


def suffix_array(ids: Integers, depth: int) -> Integers:
    """Return the starts of the suffixes of ids (T,), ordered by at least their first `depth` tokens, (T,).

    >>> suffix_array(np.array([2, 1, 2, 1, 0]), 5).tolist()
    [4, 3, 1, 2, 0]
    """
    count = len(ids)
    rank, length = ids, 1
    order = np.argsort(ids, kind="stable")
    while length < depth:
        # The rank orders by `length` tokens; the rank `length` positions further orders by as many again.
        second = np.zeros(count, dtype=np.int64)  # 0 after the end of the text
        second[: max(0, count - length)] = rank[length:] + 1
        key = rank * (second.max(initial=0) + 1) + second
        order = np.argsort(key, kind="stable")
        steps = np.diff(key[order], prepend=key[order[:1]]) != 0
        rank = np.empty(count, dtype=np.int64)
        rank[order] = np.cumsum(steps)
        length *= 2
        if steps.sum() == count - 1:  # all ranks differ
            break
    return order


def _matches(segment: Integers, suffixes: Integers, tokens: Integers, ends: Integers) -> Integers:
    """Return the longest match in the segment from each position, up to the end of its text, (Q,)."""
    found = np.zeros(len(tokens), dtype=np.int64)
    positions = np.arange(len(tokens))
    low, high = np.zeros(len(tokens), dtype=np.int64), np.full(len(tokens), len(suffixes))
    padded = np.append(segment, -1)  # a suffix that has ended sorts first
    for length in range(int((ends - positions).max(initial=0))):

        def token(suffix: Integers, length: int = length) -> Integers:
            return padded[np.minimum(suffixes[suffix] + length, len(segment))]

        wanted = tokens[positions + length]
        low, high = (_first(token, wanted + more, low, high) for more in (0, 1))
        matched = low < high
        found[positions[matched]] = length + 1
        matched &= positions + length + 1 < ends[positions]  # the text goes on
        positions, low, high = positions[matched], low[matched], high[matched]
        if not len(positions):
            break
    return found


def _first(token: Callable[[Integers], Integers], wanted: Integers, low: Integers, high: Integers) -> Integers:
    """Return, by bisection, the first suffix in each range whose token is at least the wanted one."""
    while (open_ := low < high).any():
        middle = np.where(open_, (low + high) // 2, 0)
        below = open_ & (token(middle) < wanted)
        low = np.where(below, middle + 1, low)
        high = np.where(open_ & ~below, middle, high)
    return low
