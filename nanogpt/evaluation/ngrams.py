r"""n-gram models with Witten–Bell or Kneser–Ney smoothing.

Both mix each order with the one below it, and the lowest with the uniform distribution:

    p_k(w | h) = share_k(h w) + rest_k(h) · p_{k-1}(w | h without its first token),    p_0(w) = 1 / V

where h are the k - 1 tokens before w, and share is 0 for an n-gram that was never seen. Where the context was never
seen, or begins before the text, p_k = p_{k-1}.

- Witten–Bell: share = c(h w) / (c(h) + t(h)) and rest = t(h) / (c(h) + t(h)), where t(h) counts the distinct tokens
  that followed h (Witten and Bell 1991, "The zero-frequency problem", method C).
- Modified Kneser–Ney, interpolated: a discount D(c), one each for c = 1, 2 and 3 or more, is subtracted from every
  count; the orders below the highest count not the occurrences of h w but the different tokens before it (Chen and
  Goodman 1998, "An empirical study of smoothing techniques for language modeling"). The discounts are estimated from
  the numbers of n-grams that occur once to four times; where a text is too small for that, they are 0.5, 1 and 1.5.

An n-gram is identified by its rank among those seen: the key of the next order is the rank of its first n - 1 tokens
times V plus its last token, so that keys fit in 64 bits. Counting takes about 60 bytes per token and order.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nanogpt.data.batches import TokenIds

Smoothing = Literal["witten-bell", "kneser-ney"]

FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)
TOKENS_AT_ONCE = 1 << 20

Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Order:
    """What one order adds to the probabilities."""

    keys: Integers
    """of the n-grams seen, ascending: rank of the context times V plus the token, (N,)"""
    share: Numbers
    """each n-gram's own part of its probability, (N,)"""
    rest: Numbers
    """weight of the order below, for each context, (contexts,)"""

    def find(self, keys: Integers) -> Integers:
        """Return each key's rank; -1 where it was never seen."""
        ranks = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[ranks] == keys, ranks, -1)


class Ngrams:
    """An n-gram model of token ids.

    >>> model = Ngrams(np.array([0, 1, 0, 1, 0, 2]), vocab_size=3, order=2, smoothing="witten-bell")
    >>> np.exp(-model.losses(np.array([0, 1]))).round(4).tolist()  # c(0 1) = 2, c(0) = 3, t(0) = 2, p_1(1) = 1 / 3
    [0.5333]
    """

    def __init__(self, ids: TokenIds, vocab_size: int, order: int, smoothing: Smoothing) -> None:
        """Count the n-grams of ids (T,) up to `order`; T at least `order`."""
        self.vocab_size = vocab_size
        self.orders: list[Order] = []
        tokens = ids.astype(np.int64)
        for keys, counts in _count(tokens, vocab_size, order, continuations=smoothing == "kneser-ney"):
            contexts = keys // vocab_size
            count = len(self.orders[-1].keys) if self.orders else 1
            weigh = _kneser_ney if smoothing == "kneser-ney" else _witten_bell
            self.orders.append(Order(keys, *weigh(counts, contexts, count)))

    def losses(self, ids: TokenIds, order: int | None = None) -> Numbers:
        """Return the loss in nats of each token but the first, (T,) -> (T - 1,), by the orders up to `order`."""
        orders = self.orders[:order]
        parts = []
        for start in range(1, len(ids), TOKENS_AT_ONCE):
            before = min(start, len(orders) - 1)
            some = ids[start - before : start + TOKENS_AT_ONCE].astype(np.int64)
            parts.append(-np.log(self._probabilities(some, orders)[before:]))
        return np.concatenate(parts) if parts else np.empty(0)

    def _probabilities(self, tokens: Integers, orders: list[Order]) -> Numbers:
        """Return the probability of each token after those before it, (T,) -> (T,)."""
        found = np.full(len(tokens), 1 / self.vocab_size)
        contexts = np.zeros(len(tokens), dtype=np.int64)  # rank of the n - 1 tokens before each; -1: never seen
        for order in orders:
            known = np.flatnonzero(contexts >= 0)
            ngrams = np.full(len(tokens), -1)
            ngrams[known] = order.find(contexts[known] * self.vocab_size + tokens[known])
            own = np.where(ngrams[known] >= 0, order.share[ngrams[known]], 0.0)
            found[known] = own + order.rest[contexts[known]] * found[known]
            # The n tokens that end before a position are its context in the next order; the first has none.
            contexts = np.concatenate([[-1], ngrams[:-1]])
        return found


def _count(tokens: Integers, vocab_size: int, order: int, continuations: bool) -> list[tuple[Integers, Integers]]:
    """Return keys, ascending, and counts of each order's n-grams; the lowest order has every token, seen or not.

    With `continuations` the orders below the highest count the different tokens before an n-gram.
    """
    numbers = tokens  # rank of the n-gram that ends at each position
    found = [(np.arange(vocab_size), np.bincount(tokens, minlength=vocab_size))]
    for _ in range(1, order):
        keys, longer, counts = np.unique(
            numbers[:-1] * vocab_size + tokens[len(tokens) - len(numbers) + 1 :],
            return_inverse=True,
            return_counts=True,
        )
        if continuations:
            shorter = np.empty(len(keys), dtype=np.int64)  # each n-gram without its first token
            shorter[longer] = numbers[1:]
            found[-1] = (found[-1][0], np.bincount(shorter, minlength=len(found[-1][0])))
        found.append((keys, counts))
        numbers = longer
    return found


def _witten_bell(counts: Integers, contexts: Integers, number: int) -> tuple[Numbers, Numbers]:
    """Return the share of each n-gram and the rest of each of `number` contexts."""
    total = np.bincount(contexts, counts, number)
    kinds = np.bincount(contexts, counts > 0, number)
    seen = np.where(total > 0, total + kinds, 1.0)
    return counts / seen[contexts], np.where(total > 0, kinds / seen, 1.0)


def _kneser_ney(counts: Integers, contexts: Integers, number: int) -> tuple[Numbers, Numbers]:
    """Return the same as `_witten_bell`, with discounts."""
    taken = np.array([0.0, *discounts(counts)])[np.minimum(counts, 3)]
    total = np.bincount(contexts, counts, number)
    seen = np.where(total > 0, total, 1.0)
    return (counts - taken) / seen[contexts], np.where(total > 0, np.bincount(contexts, taken, number) / seen, 1.0)


def discounts(counts: Integers) -> tuple[float, float, float]:
    """Return the discounts of the counts 1, 2, and 3 or more (Chen and Goodman 1998, equation 26).

    >>> discounts(np.array([1] * 6 + [2] * 3 + [3] * 2 + [4]))  # Y = 6 / (6 + 2 · 3)
    (0.5, 1.0, 2.0)
    """
    n1, n2, n3, n4 = (int((counts == count).sum()) for count in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return FALLBACK_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if all(0 < one <= most for one, most in zip(found, (1, 2, 3))) else FALLBACK_DISCOUNTS
