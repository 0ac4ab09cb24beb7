"""Text to ids on disk."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt import data
from nanogpt.corpus import Corpus
from nanogpt.data import Dataset, check_length, join_documents, prepare, split_documents
from nanogpt.errors import UserError
from nanogpt.files import cache_folder
from nanogpt.tokenizer import ByteTokenizer, CharTokenizer


def corpus(*documents):
    return Corpus(name="t", source="t", documents=documents)


# The cut


@pytest.mark.parametrize(
    ("documents", "train", "val"),
    [
        (("0123456789",), ("012345678",), ("9",)),
        (("01234567890",), ("012345678",), ("90",)),  # the last tenth, rounded up
        (("0",), (), ("0",)),
        (("01", "23456789", "ab", "cdefghij"), ("01", "23456789", "ab", "cdefgh"), ("ij",)),
        (("0123456789" * 9, "abc", "defghij"), ("0123456789" * 9,), ("abc", "defghij")),
        (("0123456789" * 9, "abc", "def"), ("0123456789" * 8 + "012345",), ("6789", "abc", "def")),
    ],
)
def test_the_last_tenth_is_cut_off(documents, train, val):
    assert split_documents(documents) == (train, val)


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=8))
def test_the_cut_loses_nothing(documents):
    train, val = split_documents(tuple(documents))
    assert "".join(train) + "".join(val) == "".join(documents)
    total = sum(map(len, documents))
    assert total / 10 <= sum(map(len, val)) < total / 10 + 1 + 1e-9
    assert all(train)
    assert all(val)


def test_the_validation_part_has_a_limit_in_bytes(monkeypatch):
    monkeypatch.setattr(data, "VALIDATION_BYTES", 8)
    train, val = split_documents(("x" * 200, "ééééé"))
    assert val == ("éééé",)  # ten bytes, cut to eight
    assert train == ("x" * 200, "é")
    train, val = split_documents(("x" * 200, "中中中"))
    assert val == ("中中",)  # the third would be its ninth byte: none is cut through
    assert train == ("x" * 200, "中")


def test_the_ends_of_documents_are_tokens_between_them():
    tokenizer = CharTokenizer("ab")
    assert join_documents(("ab", "b", "aa"), tokenizer).tolist() == [0, 1, 2, 1, 2, 0, 0]
    assert join_documents(("ab", "b"), CharTokenizer("ab", end_of_document=False)).tolist() == [0, 1, 1]
    assert join_documents((), tokenizer).tolist() == []


def test_ids_are_small_on_disk():
    assert join_documents(("ab",), CharTokenizer("ab")).dtype == np.uint16
    many = CharTokenizer("".join(map(chr, range(0x10000, 0x10000 + 70_000))))
    assert join_documents((chr(0x10000 + 69_999),), many).tolist() == [69_999]


# The cache


def test_prepare_gives_both_parts_and_finds_them_again(monkeypatch):
    tokenizer = CharTokenizer("0123456789")
    first = prepare(corpus("0123456789"), tokenizer)
    assert first.train.tolist() == list(range(9))
    assert first.val.tolist() == [9]
    assert isinstance(first.train, np.memmap)
    monkeypatch.setattr(data, "join_documents", None)  # tokenising again would raise
    again = prepare(corpus("0123456789"), tokenizer)
    assert (again.key, again.train.tolist()) == (first.key, first.train.tolist())


def test_a_text_to_validate_on_leaves_the_other_whole():
    found = prepare(corpus("aab"), CharTokenizer("ab"), corpus("bb"))
    assert (found.train.tolist(), found.val.tolist()) == ([0, 0, 1], [1, 1])


def test_every_difference_has_a_place_of_its_own():
    letters = CharTokenizer("ab")
    keys = [
        prepare(corpus("abababababab"), letters).key,
        prepare(corpus("abababababaa"), letters).key,
        prepare(corpus("ababab", "ababab"), letters).key,
        prepare(corpus("ababa", "bababab"), letters).key,
        prepare(corpus("abababababab"), CharTokenizer("ab", end_of_document=False)).key,
        prepare(corpus("abababababab"), ByteTokenizer()).key,
        prepare(corpus("abababababab"), letters, corpus("ab")).key,
        prepare(corpus("ababababababab"), letters, corpus("")).key,
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "other"])
def test_a_damaged_cache_is_made_again(part, damage):
    text = corpus("0123456789" * 100)
    first = prepare(text, CharTokenizer("0123456789"))
    expected = first.train.tolist(), first.val.tolist()
    path = cache_folder() / "tokens" / first.key / f"{part}.npy"
    content = path.read_bytes()
    del first
    path.unlink()
    if damage != "gone":
        path.write_bytes({"empty": b"", "cut": content[:-10], "other": b"text"}[damage])
    again = prepare(text, CharTokenizer("0123456789"))
    assert (again.train.tolist(), again.val.tolist()) == expected


def test_no_cache_no_data():
    assert Dataset.load("0" * 32) is None


# Lengths


def dataset(train, val):
    return Dataset(train=np.arange(train), val=np.arange(val), key="")


def test_a_text_of_a_block_and_one_is_enough():
    check_length(dataset(12, 2), 11)


def test_a_text_shorter_than_a_block_names_both_and_the_way_out():
    with pytest.raises(
        UserError, match=r"training part .* has 11 tokens.*block of 11 needs 12.*--block-size 10"
    ) as caught:
        check_length(dataset(11, 2), 11)
    check_length(dataset(11, 2), 10)
    assert "or give a longer text" in str(caught.value)


@pytest.mark.parametrize(("train", "val"), [(100, 1), (100, 0), (1, 100), (0, 0)])
def test_a_text_too_short_for_any_block(train, val):
    with pytest.raises(UserError, match="longer text") as caught:
        check_length(dataset(train, val), 11)
    assert "--block-size" not in str(caught.value)
    assert str(caught.value).count("longer text") == 1
