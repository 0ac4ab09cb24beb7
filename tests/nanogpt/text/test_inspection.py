"""Figures of a text against those counted by hand or by a loop, in bounded memory."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nanogpt.text import inspection
from nanogpt.text.chunks import Chunk, divide_chunks
from nanogpt.text.inspection import Lines, Repeats, SharedWindows, inspect_chunks, window_hashes


def prose(count, seed=7):
    draw = random.Random(seed)
    return " ".join("".join(draw.choices("abcdefghij", k=draw.randint(2, 7))) for _ in range(count))


def inspect(*documents, train=None):
    chunks = [Chunk(text[i : i + 13], i == 0) for text in documents for i in range(0, max(1, len(text)), 13)]
    train = int(sum(map(len, documents)) * 0.9) if train is None else train
    return inspect_chunks(*divide_chunks(chunks, train))


def test_sizes_and_characters_by_hand():
    found = inspect("né\nné\n", "a😀\x07" * 10)
    assert (found.documents, found.characters, found.bytes, found.distinct) == (2, 36, 68, 6)
    assert (found.rare, found.rarest) == (3, (("\n", 2), ("n", 2), ("é", 2)))
    assert found.train_characters == 32


@settings(max_examples=30)
@given(st.lists(st.text(st.characters(), min_size=1, max_size=30), min_size=1, max_size=6))
def test_characters_are_counted_as_a_loop_counts(documents):
    found, counts = inspect(*documents), Counter("".join(documents))
    assert found.distinct == len(counts)
    assert found.rare == sum(count < 10 for count in counts.values())
    assert all(counts[character] == count for character, count in found.rarest)
    assert found.bytes == len("".join(documents).encode("utf-8", "surrogatepass"))


def test_wrong_decodings_are_counted():
    found = inspect("cafÃ© â€™ \ufffd\ufffd Ãno")
    assert (found.replaced, found.mojibake) == (2, 2)


def test_repetition_by_hand():
    found = inspect("one\n\n\ntwelve\none\ntwo\none", "one\n").repeated_lines
    assert (found.copies, found.example, found.one_in) == (3, "one", 1)
    assert found.share == pytest.approx(9 / 21)
    assert inspect("ab", "ab").repeated_lines.copies == 1
    assert inspect("abab").repeated_lines.copies == 0  # a line does not continue in the next document
    text = prose(40)
    found = inspect(text, "other", text, text[:-1], text).repeated_documents
    assert (found.copies, found.example) == (2, text[:60])
    assert found.share == pytest.approx(2 * len(text) / (4 * len(text) + 4))


def test_an_endless_line_is_cut(monkeypatch):
    monkeypatch.setattr(inspection, "LONGEST_LINE", 100)
    lines = Lines()
    found = [line for _ in range(100) for line in lines.add("x" * 45, False)]
    assert max(map(len, found)) <= 145
    assert len("".join([*found, *lines.flush()])) == 4500


def test_repetition_is_estimated_in_bounded_memory():
    exact, bounded = Repeats(), Repeats(limit=400)
    for number in range(9000):  # 3,000 twice, 3,000 once
        digest = inspection._hasher(f"line {number % 3000 if number < 6000 else number}".encode()).digest()
        exact.add(digest, 1, "")
        bounded.add(digest, 1, "")
    assert exact.result().share == pytest.approx(1 / 3)
    assert bounded.result().share == pytest.approx(1 / 3, abs=0.06)
    assert bounded.result().copies == pytest.approx(3000, rel=0.2)
    assert bounded.result().one_in == 16
    assert len(bounded._kept) <= 400


def share(train, val):
    windows = {train[i : i + 50] for i in range(len(train) - 49)}
    examined = [val[i : i + 50] for i in range(len(val) - 49)]
    return sum(window in windows for window in examined) / len(examined)


def test_equal_windows_have_equal_hashes():
    text = prose(300) + "中😀" * 30
    hashes = window_hashes(text)
    assert len(hashes) == len(text) - 49
    for start in (0, 7, len(text) - 50):
        assert window_hashes(text[start : start + 50])[0] == hashes[start]
    by_hash = {}
    for start, number in enumerate(hashes.tolist()):
        assert by_hash.setdefault(number, text[start : start + 50]) == text[start : start + 50]
    assert len(window_hashes(text[:49])) == 0


@pytest.mark.parametrize("copied", [0, 60, 200, 500])
def test_the_shared_windows_are_those_of_the_definition(copied):
    train = prose(400)
    val = prose(60, seed=8) + train[100 : 100 + copied] + prose(60, seed=9)
    found = inspect(train + val, train=len(train)).overlap
    assert found.share == pytest.approx(share(train, val))
    assert (found.windows, found.one_in) == (len(val) - 49, 1)
    assert (found.share > 0) == (copied > 50)


@pytest.mark.parametrize("size", [1, 7, 49, 50, 211])
def test_windows_cross_chunks(size):
    train = prose(90)
    val = prose(20, seed=8) + train[100:260]
    shared = SharedWindows()
    for part, text in enumerate((train, val)):
        for start in range(0, len(text), size):
            shared.add(text[start : start + size], part)
    found = shared.result()
    assert (found.share, found.windows) == (pytest.approx(share(train, val)), len(val) - 49)


def test_shared_windows_are_estimated_in_bounded_memory():
    train, val = prose(4000), prose(700, seed=8)
    shared = SharedWindows(limit=1500)
    for start in range(0, len(train), 997):
        shared.add(train[start : start + 997], 0)
        assert shared._count() <= 1500
    shared.add(val + train[5000 : 5000 + len(val)], 1)
    found = shared.result()
    assert found.one_in > 8
    assert found.share == pytest.approx(0.5, abs=0.12)
    assert found.windows < 1500


@pytest.mark.parametrize(
    ("lines", "share"), [("abcde", 1.0), ("aabbc", 1.0), ("edcba", 0.2), ("cabde", 0.8), ("", 0.0)]
)
def test_the_share_of_lines_in_order(lines, share):
    assert inspect("\n".join(lines), train=0).sorted_lines == pytest.approx(share)
