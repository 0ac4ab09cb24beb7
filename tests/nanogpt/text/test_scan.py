"""The figures of a text, and where its validation part begins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt.text import scan
from nanogpt.text.corpus import Corpus
from nanogpt.text.pieces import Piece
from nanogpt.text.scan import scan_pieces


def scanned(*documents):
    return Corpus.of_texts(*documents).scan()


@pytest.mark.parametrize(
    ("documents", "train"),
    [
        (("0123456789",), 9),
        (("01234567890",), 9),  # the last tenth, rounded up
        (("0",), 0),
        (("01", "23456789", "ab", "cdefghij"), 18),
        (("0123456789" * 9, "abc", "defghij"), 90),
        ((), 0),
    ],
)
def test_the_last_tenth_is_cut_off(documents, train):
    assert scanned(*documents).train_characters == train


@pytest.mark.parametrize(
    ("documents", "val"),
    [
        (("x" * 200, "ééééé"), "éééé"),  # ten bytes, cut to eight
        (("x" * 200, "中中中"), "中中"),  # the third would be its ninth byte: none is cut through
        (("x" * 200, "😀😀😀"), "😀😀"),
        (("x" * 200, "é" * 3, "abc"), "ééabc"),
        (("x" * 70,), "x" * 7),  # the tenth is shorter than the limit
    ],
)
def test_the_validation_part_has_a_limit_in_bytes(monkeypatch, documents, val):
    monkeypatch.setattr(scan, "VALIDATION_BYTES", 8)
    text = "".join(documents)
    for size in (1, 3, 1000):
        pieces = [Piece(text[i : i + size], i == 0) for i in range(0, len(text), size)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scan, "batch_pieces", lambda found: ([piece] for piece in found))
            assert text[scan_pieces(pieces).train_characters :] == val


@given(st.lists(st.text(max_size=30), max_size=8))
def test_figures(documents):
    text = "".join(documents)
    found = scanned(*documents)
    assert (found.documents, found.characters) == (sum(map(bool, documents)), len(text))
    assert found.bytes == len(text.encode("utf-8", "surrogatepass"))
    assert found.alphabet == "".join(sorted(set(text)))
    assert found.train_characters + found.val_characters == len(text)


def test_half_characters_are_counted():
    found = scanned("a\ud800")
    assert (found.characters, found.bytes, found.alphabet) == (2, 4, "a\ud800")


def test_the_fingerprint_is_of_text_and_documents_not_of_pieces():
    same = [
        scan_pieces(pieces).digest
        for pieces in (
            [Piece("abc", True)],
            [Piece("a", True), Piece("bc", False)],
            [Piece("ab", True), Piece("c", False)],
        )
    ]
    assert len(set(same)) == 1
    others = [scanned("ab", "c"), scanned("a", "bc"), scanned("abd"), scanned("abc", "x"), scanned()]
    assert len({*same, *(other.digest for other in others)}) == 6


def test_the_tail_that_is_kept_is_bounded(monkeypatch):
    """The last 10 MB are needed to find the cut, and no more is kept of a long text."""
    monkeypatch.setattr(scan, "VALIDATION_BYTES", 50)
    longest = []
    original = scan._cut

    def cut(characters, tail):
        longest.append(len(tail))
        return original(characters, tail)

    monkeypatch.setattr(scan, "_cut", cut)
    monkeypatch.setattr(scan, "batch_pieces", lambda found: ([piece] for piece in found))
    assert scan_pieces(Piece("x" * 7, number == 0) for number in range(1000)).train_characters == 6950
    assert 50 <= longest[0] < 64
    assert np.isclose(7000 - 50, 6950)
