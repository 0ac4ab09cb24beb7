"""How hard a text is to predict, from counts of its tokens: quick, and much of what a network will find.

Witten–Bell bigrams and trigrams (`nanogpt.evaluation.ngrams`) are counted on the training part and measured on the
validation part, whose loss is to be forecast; of long parts pieces are read, evenly spaced. A forecast scales with
these figures whatever the size, so that none is chosen by a look at the validation part. Takes half a second at most.
"""

from dataclasses import dataclass

import numpy as np

from nanogpt.data.dataset import TokenIds
from nanogpt.evaluation.ngrams import Ngrams

COUNTED = 300_000
"""Most tokens that are counted."""
MEASURED = 100_000
"""Most tokens that are measured."""
PIECES = 50


@dataclass(frozen=True, kw_only=True)
class TextFeatures:
    """What a forecast knows of a text."""

    train_tokens: int
    """D, of the training part"""
    uniform: float
    """nats a token of guessing, ln V"""
    bigram: float
    """nats a token, from the token before"""
    trigram: float
    """from the two before"""


def measure_text(train: TokenIds, val: TokenIds, vocab_size: int) -> TextFeatures:
    """Features of a text by its parts (T,); where they are too short to count, guessing stands for it."""
    uniform = float(np.log(max(vocab_size, 2)))
    if len(train) < 3 or len(val) < 3:
        return TextFeatures(train_tokens=len(train), uniform=uniform, bigram=uniform, trigram=uniform)
    model = Ngrams(spread(train, COUNTED), vocab_size, 3, "witten-bell")
    measured = spread(val, MEASURED)
    bigram, trigram = (float(model.losses(measured, order=order)[1:].mean()) for order in (2, 3))
    return TextFeatures(train_tokens=len(train), uniform=uniform, bigram=bigram, trigram=trigram)


def spread(ids: TokenIds, most: int) -> TokenIds:
    """At most so many tokens, in evenly spaced pieces one after the other.

    >>> spread(np.arange(1000), 100)[:5].tolist()
    [0, 1, 20, 21, 40]
    """
    if len(ids) <= most:
        return ids
    size = most // PIECES
    starts = np.linspace(0, len(ids) - size, PIECES).astype(np.int64)
    return ids[(starts[:, None] + np.arange(size)).ravel()]
