"""Longest matches against a search without an index."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanogpt.evaluation import memorisation
from nanogpt.evaluation.memorisation import evenly_spaced, longest_matches, measure_overlap, suffix_array
from nanogpt.text.tokenizer import CharTokenizer

TOKENIZER = CharTokenizer("abcdef", end_of_document=False)
SHORT = st.lists(st.integers(0, 2), min_size=0, max_size=14)


def by_search(train, text):
    found = []
    for first in range(len(text)):
        longest = 0
        while first + longest < len(text) and any(
            train[start : start + longest + 1] == text[first : first + longest + 1]
            for start in range(len(train) - longest)
        ):
            longest += 1
        found.append(longest)
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.lists(SHORT, min_size=1, max_size=3))
def test_every_match_is_found(train, texts):
    found = longest_matches(np.array(train), [np.array(text, dtype=np.uint16) for text in texts])
    assert [one.tolist() for one in found] == [by_search(train, text) for text in texts]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=1, max_size=50), SHORT, st.integers(1, 11))
def test_a_match_across_two_segments_is_found(train, text, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memorisation, "SEGMENT_TOKENS", size)
        searched = []
        found = longest_matches(np.array(train), [np.array(text, dtype=np.uint16)], searched.append)
    assert found[0].tolist() == by_search(train, text)
    assert sum(searched) == len(train)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(1, 50))
def test_suffixes_are_in_order(ids, depth):
    order = suffix_array(np.array(ids), depth).tolist()
    assert sorted(order) == list(range(len(ids)))
    beginnings = [ids[start : start + depth] for start in order]
    assert beginnings == sorted(beginnings)


def overlap(train, *texts):
    return measure_overlap(TOKENIZER.encode(train), [TOKENIZER.encode(text) for text in texts], TOKENIZER)


def test_by_hand():
    found = overlap("abcdefabcabd", "fffabcdc", "abdab")
    # fffabcdc: f, f, fabc (then not d), abcd, bcd, cd, d, c; abdab: abd, bd, d, ab, b.
    assert (found.texts, found.tokens) == (2, 13)
    assert (found.longest, found.longest_text) == (4, "fabc")
    assert found.mean_longest == 3.5
    # 4-grams: fffa ffab fabc abcd bcdc, abda bdab: two of the seven are copied.
    assert found.novel == {4: pytest.approx(5 / 7), 8: 1.0, 16: None, 32: None}


def test_a_copy_and_a_stranger():
    copy = overlap("abcdef" * 7, "cdef" + "abcdef" * 5 + "abc")
    assert (copy.longest, copy.mean_longest) == (37, 37)
    assert copy.novel == {4: 0, 8: 0, 16: 0, 32: 0}
    stranger = overlap("aaaa", "bcd")
    assert (stranger.longest, stranger.longest_text) == (0, "")
    assert stranger.novel[4] is None


def test_a_text_that_ended_at_once():
    found = overlap("abc", "", "ab")
    assert (found.texts, found.longest, found.mean_longest) == (2, 2, 1.0)
    assert overlap("abc", "").longest == 0


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 200), st.integers(1, 9), st.integers(1, 40))
def test_pieces_are_apart(size, count, length):
    pieces = evenly_spaced(np.arange(size), count, length)
    assert len(pieces) == max(1, min(count, size // length))
    assert all(len(piece) == min(length, size) for piece in pieces)
    assert all(one[-1] < other[0] for one, other in pairwise(pieces))
