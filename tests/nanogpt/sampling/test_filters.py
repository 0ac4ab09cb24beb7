"""Filters on four tokens worked by hand; the draw."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import refuses

from nanogpt.config import SampleConfig
from nanogpt.random_streams import uniform
from nanogpt.sampling.filters import (
    COLDEST,
    draw,
    filter_logits,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    likeliest,
    penalise_repetition,
)

ALL, THREE, TWO, ONE = [0.1, 0.5, 0.3, 0.1], [0.111, 0.556, 0.333, 0], [0, 0.625, 0.375, 0], [0, 1, 0, 0]
NO_CONTEXT = torch.zeros(1, 0, dtype=torch.long)


def logits_of(*probabilities):
    return torch.tensor([probabilities]).log()


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (keep_top_k, {1: ONE, 2: TWO, 4: ALL, 99: ALL}),
        (keep_top_p, {0.0: ONE, 1e-9: ONE, 0.4: ONE, 0.5: ONE, 0.55: TWO, 0.75: TWO, 0.85: THREE, 1.0: ALL}),
        (keep_min_p, {1.0: ONE, 0.61: ONE, 0.59: TWO, 0.19: ALL}),
    ],
)
def test_filters_by_hand(keep, expected):
    for setting, probabilities in expected.items():
        assert [round(p, 3) for p in keep(logits_of(*ALL), setting).softmax(-1)[0].tolist()] == probabilities, setting


def test_filters_treat_each_row_by_itself():
    both = torch.cat([logits_of(*ALL), logits_of(0.7, 0.1, 0.1, 0.1)])
    for keep, setting, first in ((keep_top_p, 0.6, TWO), (keep_min_p, 0.5, TWO), (keep_top_k, 1, ONE)):
        kept = torch.isfinite(keep(both, setting)).tolist()
        assert kept == [[p > 0 for p in first], [True, False, False, False]]


def test_top_k_keeps_exactly_k_of_equal_ones():
    assert torch.isfinite(keep_top_k(torch.zeros(3, 4), 2)).sum(-1).tolist() == [2, 2, 2]


def test_top_p_takes_equal_ones_from_the_front():
    assert keep_top_p(torch.zeros(2, 64), 0.5).isfinite().tolist() == [[True] * 32 + [False] * 32] * 2


def test_the_coldest_temperature_still_divides():
    config = SampleConfig(temperature=COLDEST)
    assert filter_logits(torch.tensor([[1.0, 2.0]]), NO_CONTEXT, config).max() > 1e19


def test_repetition():
    logits = torch.tensor([[2.0, -2.0, 3.0, -3.0], [2.0, -2.0, 3.0, -3.0]])
    context = torch.tensor([[0, 1, 1], [3, 3, 3]])
    assert penalise_repetition(logits, context, 2.0).tolist() == [[1.0, -4.0, 3.0, -3.0], [2.0, -2.0, 3.0, -6.0]]


def test_the_order_of_the_filters():
    logits, context = torch.tensor([[4.0, 3.9, 1.0, 0.0]]), torch.tensor([[0]])
    # Repetition first: token 0 falls to 2.0 and behind token 1; then temperature; then the shares.
    config = SampleConfig(repetition_penalty=2.0, temperature=0.5, top_k=3, top_p=0.9, min_p=0.001)
    found = filter_logits(logits, context, config)
    assert found[0, 1].item() == pytest.approx(7.8)
    assert torch.isfinite(found).tolist() == [[False, True, False, False]]
    everything = filter_logits(logits, context, SampleConfig(temperature=2.0))
    assert everything.tolist() == [pytest.approx([2.0, 1.95, 0.5, 0.0])]


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"temperature": 0.1, "top_p": 0.9}, 1),  # temperature comes before top-p
        ({"temperature": 10.0, "top_p": 0.9}, 4),
        ({"top_k": 3}, 3),
        ({"top_p": 0.65}, 2),
        ({"min_p": 0.3}, 3),
        ({"top_k": 3, "top_p": 0.75}, 2),  # of 4, 3 and 2 ninths
        ({"top_k": 2, "min_p": 0.9}, 1),
        ({"temperature": 0.0, "top_k": 2}, 2),
    ],
)
def test_settings_of_the_filters(settings, kept):
    found = filter_logits(logits_of(0.2, 0.4, 0.1, 0.3), NO_CONTEXT, SampleConfig(**settings))
    assert torch.isfinite(found).sum() == kept


@pytest.mark.parametrize("temperature", [5e-324, 1e-45, 1e-40, COLDEST / 2, COLDEST, 1e-10])
def test_a_temperature_near_0_keeps_numbers_and_their_order(temperature):
    found = filter_logits(torch.tensor([[-30.0, 50.0, 49.0]]), NO_CONTEXT, SampleConfig(temperature=temperature))
    assert torch.isfinite(found).all()
    assert found.argsort().tolist() == [[0, 2, 1]]


# Drawing


def test_the_likeliest():
    assert likeliest(torch.tensor([[1.0, 3.0, 2.0], [0.0, -1.0, 0.0]])).tolist() == [1, 0]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_logits_that_are_not_numbers_are_refused(place):
    logits = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
    logits[1, place] = torch.nan
    refuses(lambda: likeliest(logits), "not numbers", "train it again")
    refuses(lambda: draw(logits, [0.5, 0.5]), "not numbers", "train it again")


@pytest.mark.parametrize(
    ("number", "token"),
    [(0.0, 0), (0.0999, 0), (0.1001, 1), (0.5999, 1), (0.6001, 2), (0.8999, 2), (0.9001, 3), (1 - 2**-53, 3)],
)
def test_draw_is_where_the_running_sum_passes_the_number(number, token):
    assert draw(logits_of(*ALL), [number]).tolist() == [token]


def test_draw_takes_a_number_for_each_row():
    assert draw(logits_of(*ALL).expand(3, -1), [0.95, 0.05, 0.3]).tolist() == [3, 0, 1]


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=9), st.floats(0, 1, exclude_max=True), st.data())
def test_draw_never_takes_what_was_filtered_out(values, number, data):
    logits = torch.tensor([values])
    out = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=len(values) - 1, unique=True))
    logits[0, out] = -torch.inf
    assert draw(logits, [number]).item() not in out


def test_draw_follows_the_probabilities():
    numbers = [uniform(1337, "sample", 0, position) for position in range(10_000)]
    counts = Counter(draw(logits_of(*ALL).expand(10_000, -1), numbers).tolist())
    for token, p in enumerate(ALL):
        assert abs(counts[token] - 10_000 * p) < 6 * math.sqrt(10_000 * p * (1 - p))
