"""n-gram models against the formulas computed with dictionaries."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanogpt.evaluation import ngrams
from nanogpt.evaluation.ngrams import FALLBACK_DISCOUNTS, Ngrams, discounts

KINDS = ("witten-bell", "kneser-ney")
V = 5
TEXT = [0, 1, 2, 0, 1, 3, 0, 1, 2, 2, 1, 0, 0, 3, 1, 2, 0, 1]  # 4 is never seen


def counts_of(ids, order, smoothing):
    """Return n-gram -> count for each order; below the highest, continuation counts for Kneser–Ney."""
    seen = [{tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)} for n in range(1, order + 1)]
    found = [Counter(tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)) for n in range(1, order + 1)]
    if smoothing == "kneser-ney":
        for n in range(order - 1):
            found[n] = Counter(longer[1:] for longer in seen[n + 1])
    return found


def probability(token, context, counts, smoothing, vocab_size=V):
    """Return p(token | context), by the recursion of the module's docstring."""
    if len(context) == 0:
        lower = 1 / vocab_size
    else:
        lower = probability(token, context[1:], counts, smoothing, vocab_size)
    here = counts[len(context)]
    total = sum(count for ngram, count in here.items() if ngram[:-1] == context)
    if total == 0:
        return lower
    followers = [count for ngram, count in here.items() if ngram[:-1] == context and count > 0]
    if smoothing == "witten-bell":
        return (here[(*context, token)] + len(followers) * lower) / (total + len(followers))
    taken = dict(zip((1, 2, 3), discounts(np.array(list(here.values())))))
    own = here[(*context, token)]
    rest = sum(taken[min(count, 3)] for count in followers) / total
    return (own - (taken[min(own, 3)] if own else 0)) / total + rest * lower


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, V - 2), min_size=6, max_size=60),
    st.lists(st.integers(0, V - 1), min_size=2, max_size=25),
    st.integers(1, 5),
    st.sampled_from(KINDS),
)
def test_the_same_as_counting_with_dictionaries(train, text, order, smoothing):
    counts = counts_of(train, order, smoothing)
    expected = [
        -math.log(probability(text[i], tuple(text[max(0, i - order + 1) : i]), counts, smoothing))
        for i in range(1, len(text))
    ]
    found = Ngrams(np.array(train, dtype=np.uint16), V, order, smoothing).losses(np.array(text, dtype=np.uint16))
    assert found.tolist() == pytest.approx(expected)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, V - 1), min_size=6, max_size=60),
    st.lists(st.integers(0, V - 1), min_size=1, max_size=7),
    st.integers(1, 5),
    st.sampled_from(KINDS),
)
def test_every_distribution_sums_to_one_and_has_no_zero(train, context, order, smoothing):
    model = Ngrams(np.array(train), V, order, smoothing)
    p = [math.exp(-model.losses(np.array([*context, token]))[-1]) for token in range(V)]
    assert sum(p) == pytest.approx(1)
    assert min(p) > 0


def test_kneser_ney_by_hand():
    # "a b a c a b": bigrams ab 2, ba 1, ac 1, ca 1. No bigram occurs thrice, so discounts 0.5, 1, 1.5. a follows b and
    # c, b follows a, c follows a: continuations 2, 1, 1 of 4. p_1(b) = (1 - 0.5)/4 + (1 + 0.5 + 0.5)/4 · 1/3 = 7/24.
    # p(b | a) = (2 - 1)/3 + (1 + 0.5)/3 · 7/24 = 23/48.
    model = Ngrams(np.array([0, 1, 0, 2, 0, 1]), 3, 2, "kneser-ney")
    assert math.exp(-model.losses(np.array([0, 1]))[0]) == pytest.approx(23 / 48)


@pytest.mark.parametrize("order", [1, 2, 5])
def test_how_many_at_once_does_not_matter(monkeypatch, order):
    ids = np.random.default_rng(3).integers(V, size=101)
    model = Ngrams(ids, V, order, "kneser-ney")
    together = model.losses(ids)
    monkeypatch.setattr(ngrams, "TOKENS_AT_ONCE", 7)
    assert model.losses(ids).tolist() == together.tolist()
    assert len(together) == 100


def test_a_vocabulary_whose_fifth_power_leaves_64_bits():
    size = 50_257
    ids = np.random.default_rng(3).integers(size - 9, size, size=400)
    model = Ngrams(ids.astype(np.uint16), size, 5, "kneser-ney")
    counts = counts_of(ids.tolist(), 5, "kneser-ney")
    text = ids[:20].tolist()
    expected = [
        -math.log(probability(text[i], tuple(text[max(0, i - 4) : i]), counts, "kneser-ney", size))
        for i in range(1, 20)
    ]
    assert model.losses(np.array(text)).tolist() == pytest.approx(expected)


def test_one_token_leaves_nothing_to_predict():
    assert Ngrams(np.array(TEXT), V, 3, "kneser-ney").losses(np.array([1])).tolist() == []


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([1, 1, 1, 2, 2, 3], FALLBACK_DISCOUNTS),  # nothing occurs four times
        ([1] * 2 + [2] + [3] * 9 + [4], FALLBACK_DISCOUNTS),  # 2 - 3 Y n3 / n2 is below 0
        ([1] * 40 + [2] * 10 + [3] * 5 + [4] * 2, (2 / 3, 1.0, 3 - 16 / 15)),  # Y = 40 / 60
    ],
)
def test_discounts(counts, expected):
    assert discounts(np.array(counts)) == pytest.approx(expected)
