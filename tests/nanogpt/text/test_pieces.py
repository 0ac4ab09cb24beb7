"""A text as a stream of pieces."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt.text.pieces import Piece, batch_pieces, cut_pieces, divide_pieces, in_order, pieces_of

WORDS = st.text(alphabet="ab \n\t\x1c\u00a0é", max_size=60)


def texts(pieces):
    return [piece.text for piece in pieces]


@given(text=WORDS, size=st.integers(1, 70), reads=st.lists(st.integers(1, 9)))
def test_where_a_text_is_cut_is_a_function_of_the_text(text, size, reads):
    parts, start = [], 0
    for length in reads:
        parts.append(text[start : start + length])
        start += length
    parts.append(text[start:])
    at_once = list(cut_pieces(pieces_of([text]), size))
    assert list(cut_pieces(pieces_of(parts), size)) == at_once
    assert "".join(texts(at_once)) == text
    assert all(0 < len(piece.text) <= size for piece in at_once)
    assert [piece.begins for piece in at_once] == [number == 0 for number in range(len(at_once))]


@given(text=WORDS, size=st.integers(1, 70))
def test_a_cut_is_where_no_token_can_span(text, size):
    places = [i for i in range(1, len(text)) if text[i] in " \n" and not text[i - 1].isspace()]
    start = 0
    for piece in texts(cut_pieces(pieces_of([text]), size))[:-1]:
        allowed = [place for place in places if start < place <= start + size]
        start += len(piece)
        assert start == (allowed[-1] if allowed else start - len(piece) + size)


def test_a_word_that_just_fits_is_not_left_for_the_next_piece():
    assert texts(cut_pieces(pieces_of(["aa bb cc"]), 5)) == ["aa bb", " cc"]


def test_the_last_cut_is_found_however_far_back():
    for distance in (3, 255, 256, 257, 8192, 9000, 20_000):
        text = "a" * (30_000 - distance) + " " + "b" * (distance + 5)
        assert texts(cut_pieces([Piece(text, True)], 30_000))[0] == "a" * (30_000 - distance)


def test_documents_are_not_run_together():
    stream = [Piece("one t", True), Piece("wo", False), Piece("three", True), Piece("four", True)]
    assert list(cut_pieces(stream, 100)) == [Piece("one two", True), Piece("three", True), Piece("four", True)]


@given(documents=st.lists(st.text(alphabet="ab", min_size=1, max_size=9), max_size=5), size=st.integers(1, 5))
def test_divided(documents, size):
    stream = [Piece(document[i : i + size], i == 0) for document in documents for i in range(0, len(document), size)]
    text = "".join(documents)
    for cut in range(len(text) + 2):
        first, rest = divide_pieces(stream, cut)
        one, two = list(first), list(rest)
        assert ("".join(texts(one)), "".join(texts(two))) == (text[:cut], text[cut:])
        ends = {0}
        for document in documents:
            ends.add(max(ends) + len(document))
        assert sum(p.begins for p in one[1:] + two[1:]) + bool(one) + bool(two) == len(documents) + (
            cut not in ends and cut <= len(text)
        )


def test_short_documents_are_taken_together():
    batches = list(batch_pieces([Piece("ab", True)] * 7, 5))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert [len(batch) for batch in batch_pieces([Piece("", True)] * 5000, 5)] == [4096, 904]


# Threads


def test_results_come_in_order():
    def slow(number):
        time.sleep(0.01 if number % 3 == 0 else 0)
        return number * 2

    assert list(in_order(slow, range(40))) == list(range(0, 80, 2))


def test_only_a_few_items_are_taken_beforehand(monkeypatch):
    monkeypatch.setattr("nanogpt.text.pieces._cores", lambda: 3)
    taken = []
    results = in_order(str, (taken.append(number) or number for number in range(100)))
    next(results)
    assert len(taken) == 4


def test_an_error_ends_it_and_its_threads():
    def fails(number):
        if number == 5:
            raise ValueError("five")
        return number

    results = in_order(fails, range(1000))
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("nanogpt")]
