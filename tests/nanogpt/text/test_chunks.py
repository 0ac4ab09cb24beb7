import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt.text import chunks
from nanogpt.text.chunks import Chunk, batch_chunks, chunks_of, cut_chunks, divide_chunks, map_in_threads

WORDS = st.text(alphabet="ab \n\t\x1c\u00a0é", max_size=60)


def texts(found):
    return [chunk.text for chunk in found]


@given(text=WORDS, size=st.integers(1, 70), reads=st.lists(st.integers(1, 9)))
def test_cuts_depend_on_the_text_alone(text, size, reads):
    parts, start = [], 0
    for length in reads:
        parts.append(text[start : start + length])
        start += length
    parts.append(text[start:])
    at_once = list(cut_chunks(chunks_of([text]), size))
    assert list(cut_chunks(chunks_of(parts), size)) == at_once
    assert "".join(texts(at_once)) == text
    assert all(0 < len(chunk.text) <= size for chunk in at_once)
    assert [chunk.begins for chunk in at_once] == [number == 0 for number in range(len(at_once))]


@given(text=WORDS, size=st.integers(1, 70))
def test_a_cut_is_the_last_position_that_no_token_crosses(text, size):
    positions = [i for i in range(1, len(text)) if text[i] in " \n" and not text[i - 1].isspace()]
    start = 0
    for chunk in texts(cut_chunks(chunks_of([text]), size))[:-1]:
        allowed = [position for position in positions if start < position <= start + size]
        start += len(chunk)
        assert start == (allowed[-1] if allowed else start - len(chunk) + size)


@pytest.mark.parametrize("distance", [3, 255, 256, 257, 8192, 9000, 20_000])
def test_the_last_cut_is_found_however_far_back(distance):
    text = "a" * (30_000 - distance) + " " + "b" * (distance + 5)
    assert texts(cut_chunks([Chunk(text, True)], 30_000))[0] == "a" * (30_000 - distance)


def test_documents_are_not_joined():
    stream = [Chunk("one t", True), Chunk("wo", False), Chunk("three", True), Chunk("four", True)]
    assert list(cut_chunks(stream, 100)) == [Chunk("one two", True), Chunk("three", True), Chunk("four", True)]


@given(documents=st.lists(st.text(alphabet="ab", min_size=1, max_size=9), max_size=5), size=st.integers(1, 5))
def test_divided(documents, size):
    stream = [Chunk(document[i : i + size], i == 0) for document in documents for i in range(0, len(document), size)]
    text = "".join(documents)
    ends = {sum(map(len, documents[:count])) for count in range(len(documents) + 1)}
    for cut in range(len(text) + 2):
        one, two = map(list, divide_chunks(stream, cut))
        assert ("".join(texts(one)), "".join(texts(two))) == (text[:cut], text[cut:])
        begun = sum(chunk.begins for chunk in one[1:] + two[1:]) + bool(one) + bool(two)
        assert begun == len(documents) + (cut not in ends and cut <= len(text))


def test_short_documents_are_batched():
    assert [len(batch) for batch in batch_chunks([Chunk("ab", True)] * 7, 5)] == [3, 3, 1]
    assert [len(batch) for batch in batch_chunks([Chunk("", True)] * 5000, 5)] == [4096, 904]


def test_results_come_in_order():
    def slow(number):
        time.sleep(0.01 if number % 3 == 0 else 0)
        return number * 2

    assert list(map_in_threads(slow, range(40))) == list(range(0, 80, 2))


def test_only_a_few_items_are_taken_in_advance(monkeypatch):
    monkeypatch.setattr(chunks, "MAX_THREADS", 1)
    taken = []
    results = map_in_threads(str, (taken.append(number) or number for number in range(100)))
    next(results)
    assert len(taken) == 2


def test_an_error_ends_it_and_its_threads():
    results = map_in_threads(lambda number: 1 // (5 - number), range(1000))
    assert [next(results) for _ in range(5)] == [0, 0, 0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("nanogpt")]


# Progress
