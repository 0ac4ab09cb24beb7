import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt.text import scan
from nanogpt.text.chunks import Chunk
from nanogpt.text.corpus import Corpus
from nanogpt.text.scan import scan_chunks


def scanned(*documents):
    return Corpus.of_texts(*documents).scan()


@pytest.fixture
def one_by_one(monkeypatch):
    monkeypatch.setattr(scan, "batch_chunks", lambda found: ([chunk] for chunk in found))


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
def test_the_last_tenth_is_the_validation_part(documents, train):
    assert scanned(*documents).train_characters == train


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("text", "val"),
    [
        ("x" * 200 + "ééééé", "éééé"),  # ten bytes, cut to eight
        ("x" * 200 + "中中中", "中中"),  # the third would be cut through
        ("x" * 200 + "😀😀😀", "😀😀"),
        ("x" * 200 + "éééabc", "ééabc"),
        ("x" * 70, "x" * 7),  # a tenth is below the limit
    ],
)
def test_the_validation_part_has_a_limit_in_bytes(monkeypatch, one_by_one, text, val, size):
    monkeypatch.setattr(scan, "VALIDATION_BYTES", 8)
    chunks = [Chunk(text[i : i + size], i == 0) for i in range(0, len(text), size)]
    assert text[scan_chunks(chunks).train_characters :] == val


@given(st.lists(st.text(max_size=30), max_size=8))
def test_figures(documents):
    text = "".join(documents)
    found = scanned(*documents)
    assert (found.documents, found.characters) == (sum(map(bool, documents)), len(text))
    assert found.bytes == len(text.encode("utf-8", "surrogatepass"))
    assert found.alphabet == "".join(sorted(set(text)))


def test_lone_surrogates_are_counted():
    found = scanned("a\ud800")
    assert (found.characters, found.bytes, found.alphabet) == (2, 4, "a\ud800")


def test_the_hash_is_of_text_and_documents_not_of_chunks():
    cuts = [[("abc", True)], [("a", True), ("bc", False)], [("ab", True), ("c", False)]]
    same = {scan_chunks(Chunk(*one) for one in cut).digest for cut in cuts}
    assert len(same) == 1
    others = [scanned("ab", "c"), scanned("a", "bc"), scanned("abd"), scanned("abc", "x"), scanned()]
    assert len({*same, *(other.digest for other in others)}) == 6


def test_memory_for_the_end_of_the_text_is_bounded(monkeypatch, one_by_one):
    monkeypatch.setattr(scan, "VALIDATION_BYTES", 50)
    kept = []
    original = scan._train_characters
    monkeypatch.setattr(scan, "_train_characters", lambda *found: kept.append(len(found[1])) or original(*found))
    assert scan_chunks(Chunk("x" * 7, number == 0) for number in range(1000)).train_characters == 6950
    assert 50 <= kept[0] < 64
