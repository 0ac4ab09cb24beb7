"""How much of what a model writes stands word for word in its training text.

A generated text is compared with the training part token by token: from each of its places, how long is the longest
run of tokens that occurs anywhere there? The same is measured for as much real text that the model never saw: language
repeats itself, and a model is no copyist that repeats the training text as often as the validation text does.

Exact, by a suffix array of one segment of the training part after another (Manber and Myers 1990; built by doubling,
sorted by numpy). Segments overlap by the longest possible match, so that none is cut. Costs O(n log n log m) time for
n training tokens and samples of m, and 60 bytes a token of one segment, however long the text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nanogpt.text.tokenizer import Tokenizer

SEGMENT_TOKENS = 1 << 22
NGRAMS = (4, 8, 16, 32)
"""Lengths, in tokens, of which the share is told that never occurs in the training text"""

Integers = NDArray[np.int64]
Ids = NDArray[np.integer]


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What some texts share with the training text."""

    texts: int
    tokens: int
    """of all of them together"""
    longest: int
    """tokens of the longest run that occurs in the training text"""
    longest_text: str
    """that run"""
    mean_longest: float
    """the mean, over the texts, of each one's longest run"""
    novel: dict[int, float | None]
    """for each length n, the share of the texts' n-grams that the training text lacks; None where no text has any"""


def measure_overlap(
    train: Ids,
    texts: Sequence[Ids],
    tokenizer: Tokenizer,
    watch: Callable[[int], object] = lambda tokens: None,
) -> Overlap:
    """Compare texts, each ids (T,), with the training ids. `watch` is told how many of these were searched."""
    matches = longest_matches(train, texts, watch)
    best = [int(found.max(initial=0)) for found in matches]
    which = int(np.argmax(best))
    place = int(np.argmax(matches[which])) if best[which] else 0
    novel: dict[int, float | None] = {}
    for n in NGRAMS:
        whole = np.concatenate([found[: max(0, len(found) - n + 1)] for found in matches])
        novel[n] = float((whole < n).mean()) if len(whole) else None
    return Overlap(
        texts=len(texts),
        tokens=sum(map(len, texts)),
        longest=best[which],
        longest_text=tokenizer.decode(texts[which][place : place + best[which]].tolist()),
        mean_longest=float(np.mean(best)),
        novel=novel,
    )


def evenly_spaced(ids: Ids, count: int, length: int) -> list[Ids]:
    """So many pieces of ids (T,), each of `length`, none over another; fewer, or one shorter, where ids has no more.

    >>> [piece.tolist() for piece in evenly_spaced(np.arange(10), 3, 2)]
    [[0, 1], [4, 5], [8, 9]]
    """
    count = max(1, min(count, len(ids) // length))
    starts = np.linspace(0, max(0, len(ids) - length), count).astype(np.int64)
    return [ids[start : start + length] for start in starts]


def longest_matches(
    train: Ids, texts: Sequence[Ids], watch: Callable[[int], object] = lambda tokens: None
) -> list[Integers]:
    """From each place of each text the length of the longest run that occurs in the training ids, (T,) each.

    >>> longest_matches(np.array([1, 2, 3, 4]), [np.array([2, 3, 1, 2, 4])])[0].tolist()
    [2, 1, 2, 1, 1]
    """
    longest = max(map(len, texts))
    tokens = np.concatenate(texts).astype(np.int64)
    ends = np.repeat(np.cumsum([len(text) for text in texts]), [len(text) for text in texts])
    found = np.zeros(len(tokens), dtype=np.int64)
    for start in range(0, len(train), SEGMENT_TOKENS):
        segment = train[start : start + SEGMENT_TOKENS + longest].astype(np.int64)
        found = np.maximum(found, _matches(segment, suffix_array(segment, longest), tokens, ends))
        watch(min(SEGMENT_TOKENS, len(train) - start))
    return np.split(found, np.cumsum([len(text) for text in texts])[:-1])


def suffix_array(ids: Integers, depth: int) -> Integers:
    """Where the suffixes of ids (T,) begin, in their order by at least the first `depth` tokens, (T,).

    >>> suffix_array(np.array([2, 1, 2, 1, 0]), 5).tolist()
    [4, 3, 1, 2, 0]
    """
    count = len(ids)
    rank, length = ids, 1
    order = np.argsort(ids, kind="stable")
    while length < depth:
        # Ordered by `length` tokens, as told by rank; the rank `length` places on orders by as many again.
        second = np.zeros(count, dtype=np.int64)  # 0 where the text has ended
        second[: max(0, count - length)] = rank[length:] + 1
        key = rank * (second.max(initial=0) + 1) + second
        order = np.argsort(key, kind="stable")
        steps = np.diff(key[order], prepend=key[order[:1]]) != 0
        rank = np.empty(count, dtype=np.int64)
        rank[order] = np.cumsum(steps)
        length *= 2
        if steps.sum() == count - 1:  # all are told apart
            break
    return order


def _matches(segment: Integers, suffixes: Integers, tokens: Integers, ends: Integers) -> Integers:
    """How far the tokens from each place on, up to its text's end, can be found in the segment, (Q,).

    The suffixes that begin with the same l tokens stand together; among them the next token divides them again.
    """
    found = np.zeros(len(tokens), dtype=np.int64)
    places = np.arange(len(tokens))
    low, high = np.zeros(len(tokens), dtype=np.int64), np.full(len(tokens), len(suffixes))
    padded = np.append(segment, -1)  # a suffix that has ended comes first
    for length in range(int((ends - places).max(initial=0))):

        def token(suffix: Integers, length: int = length) -> Integers:
            return padded[np.minimum(suffixes[suffix] + length, len(segment))]

        wanted = tokens[places + length]
        low, high = (_first(token, wanted + more, low, high) for more in (0, 1))
        there = low < high
        found[places[there]] = length + 1
        there &= places + length + 1 < ends[places]  # the text goes on
        places, low, high = places[there], low[there], high[there]
        if not len(places):
            break
    return found


def _first(token: Callable[[Integers], Integers], wanted: Integers, low: Integers, high: Integers) -> Integers:
    """In each range of suffixes, ordered by this token of theirs, the first with at least the wanted one; bisection."""
    while (open_ := low < high).any():
        middle = np.where(open_, (low + high) // 2, 0)
        below = open_ & (token(middle) < wanted)
        low = np.where(below, middle + 1, low)
        high = np.where(open_ & ~below, middle, high)
    return low
