"""Text to ids and back, for any text."""

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt.errors import UserError
from nanogpt.text import tokenizer as module
from nanogpt.text.bpe import BpeTokenizer
from nanogpt.text.tokenizer import (
    ByteTokenizer,
    CharTokenizer,
    dump_tokenizer,
    parse_tokenizer,
    train_tokenizer,
)

ANY_TEXT = st.text(st.characters(), max_size=60)  # all planes and lone surrogates
WHOLE_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def stream_decode(tokenizer, ids):
    decoder = tokenizer.decoder()
    pieces = [decoder.feed(int(token)) for token in ids]
    return pieces, decoder.flush()


# Characters


@given(ANY_TEXT.filter(bool), st.booleans())
def test_characters_round_trip(text, end):
    tokenizer = CharTokenizer.train([text], end)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.characters == "".join(sorted(set(text)))
    assert tokenizer.vocab_size == len(set(text)) + end
    assert ids.dtype == np.int32
    assert ids.max() < len(set(text))


def test_characters_by_hand():
    tokenizer = CharTokenizer.train(["né", "😀a"])
    assert tokenizer.characters == "ané😀"
    assert tokenizer.encode("éa😀").tolist() == [2, 0, 3]
    assert tokenizer.token_bytes().tolist() == [1, 1, 2, 4, 0]
    assert (tokenizer.vocab_size, tokenizer.end_of_document) == (5, 4)


def test_the_end_of_document_has_no_text():
    assert CharTokenizer("ab").decode([0, 2, 1]) == "ab"
    assert ByteTokenizer().decode([97, 256, 98]) == "ab"
    assert CharTokenizer("ab", end_of_document=False).end_of_document is None
    assert ByteTokenizer(end_of_document=False).vocab_size == 256


def test_decoding_goes_on_over_numpy():
    assert ByteTokenizer().decode(np.array([195, 169, 256])) == "é"
    assert CharTokenizer("ab").decode(np.array([1, 0, 2])) == "ba"


def test_unknown_characters_are_all_named():
    tokenizer = CharTokenizer.train(["abc"])
    with pytest.raises(UserError) as caught:
        tokenizer.encode("aé\u4e2db\U0001f600é")
    message = str(caught.value)
    assert all(repr(character) in message for character in "é中😀")
    assert "--unknown skip" in message
    assert "leave them out" in message


def test_unknown_characters_beyond_ten_are_counted():
    with pytest.raises(UserError, match="and 3 more"):
        CharTokenizer("x").encode("ABCDEFGHIJKLM")


def test_unknown_characters_can_be_skipped():
    tokenizer = CharTokenizer.train(["abc"])
    assert tokenizer.decode(tokenizer.encode("a😀b\nc\U0010ffff", "skip")) == "abc"
    assert tokenizer.encode("😀", "skip").tolist() == []


@given(st.text(max_size=20), st.text(min_size=1, max_size=20))
def test_skipping_keeps_exactly_what_is_known(text, alphabet):
    tokenizer = CharTokenizer.train([alphabet])
    assert tokenizer.decode(tokenizer.encode(text, "skip")) == "".join(c for c in text if c in alphabet)


def test_chunks_do_not_show(monkeypatch):
    text = "abcdé😀fghij" * 5
    whole = CharTokenizer.train([text])
    monkeypatch.setattr("nanogpt.text.tokenizer.CHUNK_CHARACTERS", 7)
    assert CharTokenizer.train([text]).characters == whole.characters
    ids = whole.encode(text)
    assert whole.decode(ids) == text
    monkeypatch.undo()
    assert np.array_equal(ids, whole.encode(text))


@pytest.mark.parametrize("characters", ["", "aba"])
def test_an_alphabet_is_not_empty_and_has_each_once(characters):
    with pytest.raises(UserError, match="vocabulary"):
        CharTokenizer(characters)


# Bytes


@given(WHOLE_TEXT, st.booleans())
def test_bytes_round_trip(text, end):
    tokenizer = ByteTokenizer(end)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert ids.tolist() == list(text.encode())


@given(ANY_TEXT)
def test_bytes_take_any_text(text):
    # A lone surrogate has no UTF-8: it becomes a question mark, and nothing else changes.
    expected = "".join("?" if unicodedata.category(c) == "Cs" else c for c in text)
    assert ByteTokenizer().decode(ByteTokenizer().encode(text)) == expected


def test_bytes_have_no_unknown():
    assert ByteTokenizer().encode("😀", "error").tolist() == [0xF0, 0x9F, 0x98, 0x80]
    assert ByteTokenizer().token_bytes().tolist() == [1] * 256 + [0]


# Streaming


@given(st.lists(st.integers(0, 256), max_size=40))
def test_a_stream_of_bytes_says_what_decoding_the_whole_says(ids):
    pieces, rest = stream_decode(ByteTokenizer(), ids)
    assert "".join(pieces) + rest == ByteTokenizer().decode(ids)


@given(WHOLE_TEXT)
def test_a_stream_of_bytes_never_gives_half_a_character(text):
    tokenizer = ByteTokenizer()
    pieces, rest = stream_decode(tokenizer, tokenizer.encode(text))
    assert rest == ""
    assert [piece for piece in pieces if piece] == list(text)


def test_an_open_character_at_the_end_becomes_a_replacement():
    pieces, rest = stream_decode(ByteTokenizer(), [97, 0xF0, 0x9F])
    assert pieces == ["a", "", ""]
    assert rest == "\ufffd"


@given(ANY_TEXT.filter(bool))
def test_a_stream_of_characters(text):
    tokenizer = CharTokenizer.train([text])
    pieces, rest = stream_decode(tokenizer, [*tokenizer.encode(text), tokenizer.end_of_document])
    assert pieces == [*text, ""]
    assert rest == ""


# Files


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda end: CharTokenizer('\n"\\a{é\u2028中😀', end),
        ByteTokenizer,
        lambda end: BpeTokenizer.train(['the "théâtre" \\a{\u2028中😀\n' * 9], 300, end),
    ],
    ids=["char", "byte", "bpe"],
)
def test_a_tokenizer_survives_its_file(make, end):
    tokenizer = make(end)
    again = parse_tokenizer(dump_tokenizer(tokenizer).encode().decode(), "there")
    assert type(again) is type(tokenizer)
    assert again.to_dict() == tokenizer.to_dict()
    assert again.vocab_size == tokenizer.vocab_size
    assert again.end_of_document == tokenizer.end_of_document
    assert again.encode("théâ\n", "skip").tolist() == tokenizer.encode("théâ\n", "skip").tolist()


def test_a_hostile_file_is_not_parsed(monkeypatch):
    monkeypatch.setattr(module, "LARGEST_FILE_CHARACTERS", 1000)
    with pytest.raises(UserError, match=r"there is longer than 1,000 characters.*: restore it from a copy"):
        parse_tokenizer(" " * 1001, "there")


def test_a_kind_that_is_not_known():
    with pytest.raises(UserError, match=r"there: unknown kind 'word'.*: upgrade nanogpt, or restore the file"):
        parse_tokenizer('{"kind": "word"}', "there")


def test_the_kinds():
    assert isinstance(train_tokenizer("char", ["ab"]), CharTokenizer)
    assert isinstance(train_tokenizer("byte", ["ab"], end_of_document=False), ByteTokenizer)
    assert train_tokenizer("char", ["ab", "bc"], end_of_document=False).vocab_size == 3
    assert isinstance(train_tokenizer("bpe", ["ab"]), BpeTokenizer)
    assert train_tokenizer("bpe", ["abc abc abc"], vocab_size=258).vocab_size == 258


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        '"text"',
        "{}",
        json.dumps({"kind": "char"}),
        json.dumps({"kind": "char", "characters": 3, "end_of_document": True}),
        json.dumps({"kind": "char", "characters": ["a"], "end_of_document": True}),
        json.dumps({"kind": "char", "characters": "aa", "end_of_document": True}),
        json.dumps({"kind": "word", "end_of_document": True}),
        json.dumps({"kind": "bpe", "end_of_document": None}),
        json.dumps({"kind": "bpe", "end_of_document": None, "tokens": ["a"], "merges": []}),
        json.dumps({"kind": "bpe", "end_of_document": None, "tokens": [1, 2], "merges": []}),
        json.dumps({"kind": "bpe", "end_of_document": None, "tokens": 7, "merges": 3}),
        json.dumps({"kind": "char", "characters": "a", "end_of_document": True, "format": 2}),
        "[" * 100_000,
    ],
)
def test_a_damaged_tokenizer_names_its_file(text):
    with pytest.raises(UserError, match="there"):
        parse_tokenizer(text, "there")
