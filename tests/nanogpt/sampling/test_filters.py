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


def logits_of(*probabilities):
    return torch.tensor([probabilities]).log()


def kept(logits):
    """The probabilities that are left, to three places."""
    return [round(p, 3) for p in logits.softmax(-1)[0].tolist()]


# Filters


@pytest.mark.parametrize(
    ("k", "expected"),
    [(1, [0, 1, 0, 0]), (2, [0, 0.625, 0.375, 0]), (4, [0.1, 0.5, 0.3, 0.1]), (99, [0.1, 0.5, 0.3, 0.1])],
)
def test_top_k(k, expected):
    assert kept(keep_top_k(logits_of(0.1, 0.5, 0.3, 0.1), k)) == expected


def test_top_k_keeps_exactly_k_of_equal_ones():
    assert torch.isfinite(keep_top_k(torch.zeros(3, 4), 2)).sum(-1).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.4, [0, 1, 0, 0]),
        (0.5, [0, 1, 0, 0]),
        (0.55, [0, 0.625, 0.375, 0]),
        (0.75, [0, 0.625, 0.375, 0]),
        (0.85, [0.111, 0.556, 0.333, 0]),
        (1e-9, [0, 1, 0, 0]),
        (1.0, [0.1, 0.5, 0.3, 0.1]),
    ],
)
def test_top_p(p, expected):
    assert kept(keep_top_p(logits_of(0.1, 0.5, 0.3, 0.1), p)) == expected


@pytest.mark.parametrize(
    ("p", "expected"),
    [(1.0, [0, 1, 0, 0]), (0.61, [0, 1, 0, 0]), (0.59, [0, 0.625, 0.375, 0]), (0.19, [0.1, 0.5, 0.3, 0.1])],
)
def test_min_p(p, expected):
    assert kept(keep_min_p(logits_of(0.1, 0.5, 0.3, 0.1), p)) == expected


def test_filters_treat_each_row_by_itself():
    both = torch.cat([logits_of(0.1, 0.5, 0.3, 0.1), logits_of(0.7, 0.1, 0.1, 0.1)])
    assert torch.isfinite(keep_top_p(both, 0.6)).tolist() == [[False, True, True, False], [True, False, False, False]]
    assert torch.isfinite(keep_min_p(both, 0.5)).tolist() == [[False, True, True, False], [True, False, False, False]]
    assert torch.isfinite(keep_top_k(both, 1)).tolist() == [[False, True, False, False], [True, False, False, False]]


def test_repetition():
    logits = torch.tensor([[2.0, -2.0, 3.0, -3.0], [2.0, -2.0, 3.0, -3.0]])
    context = torch.tensor([[0, 1, 1], [3, 3, 3]])
    assert penalise_repetition(logits, context, 2.0).tolist() == [[1.0, -4.0, 3.0, -3.0], [2.0, -2.0, 3.0, -6.0]]


def test_the_order_of_the_filters():
    logits = torch.tensor([[4.0, 3.9, 1.0, 0.0]])
    context = torch.tensor([[0]])
    # Repetition first: token 0 falls to 2.0 and behind token 1; then temperature; then the shares.
    config = SampleConfig(repetition_penalty=2.0, temperature=0.5, top_k=3, top_p=0.9, min_p=0.001)
    found = filter_logits(logits, context, config)
    assert found[0, 1].item() == pytest.approx(7.8)
    assert torch.isfinite(found).tolist() == [[False, True, False, False]]
    everything = filter_logits(logits, context, SampleConfig(temperature=2.0))
    assert everything.tolist() == [pytest.approx([2.0, 1.95, 0.5, 0.0])]


def test_temperature_comes_before_top_p():
    logits = logits_of(0.4, 0.3, 0.2, 0.1)
    cold = filter_logits(logits, torch.zeros(1, 1, dtype=torch.long), SampleConfig(temperature=0.1, top_p=0.9))
    hot = filter_logits(logits, torch.zeros(1, 1, dtype=torch.long), SampleConfig(temperature=10.0, top_p=0.9))
    assert torch.isfinite(cold).sum() == 1
    assert torch.isfinite(hot).sum() == 4


@pytest.mark.parametrize("temperature", [5e-324, 1e-45, 1e-40, COLDEST / 2, COLDEST, 1e-10])
def test_a_temperature_near_0_keeps_numbers_and_their_order(temperature):
    found = filter_logits(torch.tensor([[-30.0, 50.0, 49.0]]), torch.zeros(1, 0), SampleConfig(temperature=temperature))
    assert torch.isfinite(found).all()
    assert found.argsort().tolist() == [[0, 2, 1]]


# Drawing


def test_the_likeliest():
    assert likeliest(torch.tensor([[1.0, 3.0, 2.0], [0.0, -1.0, 0.0]])).tolist() == [1, 0]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_number_is_refused(place):
    logits = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
    logits[1, place] = torch.nan
    refuses(lambda: likeliest(logits), "not numbers", "train it again")
    refuses(lambda: draw(logits, [0.5, 0.5]), "not numbers", "train it again")


@pytest.mark.parametrize(
    ("number", "token"),
    [(0.0, 0), (0.0999, 0), (0.1001, 1), (0.5999, 1), (0.6001, 2), (0.8999, 2), (0.9001, 3), (1 - 2**-53, 3)],
)
def test_draw_is_where_the_running_sum_passes_the_number(number, token):
    assert draw(logits_of(0.1, 0.5, 0.3, 0.1), [number]).tolist() == [token]


def test_draw_takes_a_number_for_each_row():
    assert draw(logits_of(0.1, 0.5, 0.3, 0.1).expand(3, -1), [0.95, 0.05, 0.3]).tolist() == [3, 0, 1]


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=9), st.floats(0, 1, exclude_max=True), st.data())
def test_draw_never_takes_what_was_filtered_out(values, number, data):
    logits = torch.tensor([values])
    out = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=len(values) - 1, unique=True))
    logits[0, out] = -torch.inf
    assert draw(logits, [number]).item() not in out


def test_draw_follows_the_probabilities():
    numbers = [uniform(1337, "sample", 0, position) for position in range(10_000)]
    counts = Counter(draw(logits_of(0.1, 0.5, 0.3, 0.1).expand(10_000, -1), numbers).tolist())
    for token, p in enumerate((0.1, 0.5, 0.3, 0.1)):
        assert abs(counts[token] - 10_000 * p) < 6 * math.sqrt(10_000 * p * (1 - p))
