"""How hard a text is to predict, from counts of its characters: quick, and much of what a network will find.

Witten–Bell bigrams and trigrams (`nanogpt.numbers.ngrams`) are counted on the training part without its end, and
measured there. The validation part is left alone. Takes about a second for the most that is read.
"""

from dataclasses import dataclass

import numpy as np

from nanogpt.data import TokenIds
from nanogpt.numbers.ngrams import Ngrams

COUNTED = 1_000_000
"""Most tokens that are counted, the last before those that are measured."""
MEASURED = 100_000
"""Most tokens that are measured; a tenth of a short text."""


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


def measure_text(ids: TokenIds, vocab_size: int) -> TextFeatures:
    """Features of a training part (T,); where it has less than twenty tokens, guessing stands for counting."""
    uniform = float(np.log(max(vocab_size, 2)))
    if len(ids) < 20:
        return TextFeatures(train_tokens=len(ids), uniform=uniform, bigram=uniform, trigram=uniform)
    measured = min(MEASURED, len(ids) // 10)
    counted = ids[-measured - COUNTED : -measured]
    model = Ngrams(counted, vocab_size, 3, "witten-bell")
    end = ids[-measured - 2 :]
    bigram, trigram = (float(model.losses(end, order=order)[1:].mean()) for order in (2, 3))
    return TextFeatures(train_tokens=len(ids), uniform=uniform, bigram=bigram, trigram=trigram)
