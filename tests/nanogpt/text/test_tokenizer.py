import json
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tiny import refuses

from nanogpt.text import tokenizer as module
from nanogpt.text.bpe import BYTE_OF, BpeTokenizer, ByteTokenizer
from nanogpt.text.corpus import Corpus
from nanogpt.text.tokenizer import CharTokenizer, dump_tokenizer, encode_chunks, parse_tokenizer, train_tokenizer

ANY_TEXT = st.text(st.characters(), max_size=60)  # all planes and lone surrogates


def stream_decode(tokenizer, ids):
    decoder = tokenizer.decoder()
    return [decoder.feed(int(token)) for token in ids], decoder.flush()


@given(ANY_TEXT.filter(bool), st.booleans())
def test_characters_round_trip(text, end):
    tokenizer = CharTokenizer.train([text], end)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.characters == "".join(sorted(set(text)))
    assert tokenizer.vocab_size == len(set(text)) + end
    assert ids.dtype == np.int32
    assert ids.max() < len(set(text))
    parts, rest = stream_decode(tokenizer, [*ids, *[len(set(text))] * end])
    assert (parts, rest) == ([*text, *[""] * end], "")


def test_characters_by_hand():
    tokenizer = CharTokenizer.train(["né", "😀a"])
    assert tokenizer.characters == "ané😀"
    assert tokenizer.encode("éa😀").tolist() == [2, 0, 3]
    assert tokenizer.token_bytes().tolist() == [1, 1, 2, 4, 0]
    assert (tokenizer.vocab_size, tokenizer.end_of_document) == (5, 4)


def test_the_end_of_document_has_no_text():
    assert CharTokenizer("ab").decode(np.array([0, 2, 1])) == "ab"
    assert ByteTokenizer().decode(np.array([195, 256, 169])) == "é"
    assert CharTokenizer("ab", end_of_document=False).end_of_document is None
    assert ByteTokenizer(end_of_document=False).vocab_size == 256


def test_unknown_characters_are_named():
    refuses(lambda: CharTokenizer("abc").encode("aé中b😀é"), *map(repr, "é中😀"), "--unknown skip", "leave them out")
    refuses(lambda: CharTokenizer("x").encode("ABCDEFGHIJKLM"), "and 3 more")


@given(ANY_TEXT, st.text(min_size=1, max_size=20))
def test_skipping_keeps_exactly_what_is_known(text, alphabet):
    tokenizer = CharTokenizer.train([alphabet])
    assert tokenizer.decode(tokenizer.encode(text, "skip")) == "".join(c for c in text if c in alphabet)


@given(st.text(min_size=1, max_size=9), st.text(max_size=9), st.text(max_size=9), st.booleans())
def test_added_characters_come_last_and_every_token_keeps_its_id(first, second, third, end):
    tokenizer = CharTokenizer.train([first], end)
    for more in (second, third):
        before = tokenizer
        tokenizer = before.extend("".join(sorted(set(more) - set(before.characters))))
        assert tokenizer.bytes_by_id[: before.vocab_size] == before.bytes_by_id
        assert tokenizer.end_of_document == before.end_of_document
    whole = first + second + third
    assert tokenizer.vocab_size == len(set(whole)) + end
    assert tokenizer.decode(tokenizer.encode(whole)) == whole
    again = parse_tokenizer(dump_tokenizer(tokenizer), "there")
    assert again.encode(whole).tolist() == tokenizer.encode(whole).tolist()
    assert (again.end_of_document, again.vocab_size) == (tokenizer.end_of_document, tokenizer.vocab_size)


@pytest.mark.parametrize("end", [-1, 4])
def test_the_end_has_one_of_the_ids(end):
    refuses(lambda: CharTokenizer("abc", end), str(end), "4 ids")


@pytest.mark.parametrize("characters", ["", "aba"])
def test_an_alphabet_is_not_empty_and_has_each_once(characters):
    refuses(lambda: CharTokenizer(characters), "vocabulary")


@given(ANY_TEXT, st.booleans())
def test_bytes_take_any_text(text, end):
    tokenizer = ByteTokenizer(end)
    # A lone surrogate has no UTF-8: it becomes a question mark, and nothing else changes.
    expected = "".join("?" if unicodedata.category(c) == "Cs" else c for c in text)
    ids = tokenizer.encode(text)
    assert ids.tolist() == list(expected.encode())
    assert tokenizer.token_bytes().tolist() == [1] * 256 + [0] * end
    assert tokenizer.decode(ids) == expected
    parts, rest = stream_decode(tokenizer, ids)
    assert ([part for part in parts if part], rest) == (list(expected), "")  # never part of a character


@given(st.lists(st.integers(0, 256), max_size=40))
@example([97, 0xF0, 0x9F])
def test_a_stream_of_bytes_equals_decoding_the_whole(ids):
    parts, rest = stream_decode(ByteTokenizer(), ids)
    assert "".join(parts) + rest == ByteTokenizer().decode(ids)


@given(documents=st.lists(st.text(alphabet="aé中😀 \n", max_size=40), max_size=6), size=st.integers(1, 9))
def test_chunks_give_the_ids_of_the_whole(documents, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nanogpt.text.chunks.CHUNK_CHARACTERS", size + 3)
        patch.setattr(module, "CHUNK_CHARACTERS", size)
        for tokenizer in (CharTokenizer("\n aé中😀"), ByteTokenizer()):
            parts = list(encode_chunks(Corpus.of_texts(*documents).chunks(), tokenizer))
            whole = [[tokenizer.end_of_document, *tokenizer.encode(one)] for one in documents if one]
            assert [i for ids in parts for i in ids] == [i for ids in whole for i in ids]


@pytest.fixture(scope="module")
def bpe():
    return BpeTokenizer.train(["ab abé! aab! ba"] * 5, vocab_size=270)


@given(
    st.lists(st.text(alphabet="abé!", min_size=1, max_size=5)), st.integers(12, 20), st.sampled_from([" ", "\n", "  "])
)
def test_chunks_give_the_merges_of_the_whole(bpe, words, size, space):
    """No token crosses the position before a space, so a cut there changes no merge."""
    text = space.join(words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_CHARACTERS", size)
        patch.setattr(module, "batch_chunks", lambda found: ([chunk] for chunk in found))
        parts = [ids.tolist() for ids in encode_chunks(Corpus.of_texts(text).chunks(), bpe)]
    assert len(parts) >= len(text) / size
    assert [i for ids in parts for i in ids][1:] == bpe._encoder.encode(text).ids


@pytest.mark.parametrize("end", [True, False])
@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_a_tokenizer_survives_its_file(kind, end):
    tokenizer = train_tokenizer(kind, ['the\n"théâtre" \\a{\u2028中😀' * 9], end, 300)
    again = parse_tokenizer(dump_tokenizer(tokenizer).encode().decode(), "there")
    assert type(again) is type(tokenizer)
    assert (again.kind, again.end_of_document is not None) == (kind, end)
    for name in ("vocab_size", "end_of_document"):
        assert getattr(again, name) == getattr(tokenizer, name)
    assert again.to_dict() == tokenizer.to_dict()
    assert again.encode("théâ\nx", "skip").tolist() == tokenizer.encode("théâ\nx", "skip").tolist()


def test_what_came_with_a_tokenizer_is_kept_and_nothing_is_written_where_nothing_came():
    tokenizer = ByteTokenizer()
    assert '"imported"' not in dump_tokenizer(tokenizer)
    tokenizer.imported = {"names": {"256": "</s>"}, "chat_template": "{{ x }}", "bos_token": None}
    again = parse_tokenizer(dump_tokenizer(tokenizer), "there")
    assert (again.imported, again.special_token_names()) == (tokenizer.imported, {256: "</s>"})
    bpe = BpeTokenizer([*BYTE_OF, None, None], [], 257)
    bpe.imported = {"names": {"256": "<|endoftext|>"}}
    assert bpe.special_token_names() == {256: "<|endoftext|>", 257: "<<|endoftext|>>"}


def test_a_file_that_is_large_or_of_an_unknown_kind(monkeypatch):
    refuses(lambda: parse_tokenizer('{"kind": "word"}', "there"), "there", "'word'", "upgrade nanogpt")
    monkeypatch.setattr(module, "LARGEST_FILE_CHARACTERS", 1000)
    refuses(lambda: parse_tokenizer(" " * 1001, "there"), "there is longer than 1,000 characters")


CHAR = {"kind": "char", "characters": "a", "end_of_document": True}
DAMAGED = [
    3,
    {"code": {}},
    {"names": {"2": "<s>"}},
    {"names": {"0": 3}},
    {"names": {"0": "x", "1": "x"}},
    {"auto_map": "x"},
]
DAMAGED += [{"chat_template": one} for one in (3, ["x"], [{"name": "x"}], "x" * 10**6 + "y")]
DAMAGED += [{"eos_token_id": [0, -1]}, {"eos_token_id": True}, {"pad_token_id": 3}]
BPE = {"kind": "bpe", "end_of_document": None, "tokens": ["a"], "merges": []}


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "3", "null", '"text"', "{}", "[" * 100_000),
        *map(json.dumps, ({"kind": "char"}, CHAR | {"format": 2}, {"kind": "bpe", "end_of_document": None})),
        *(json.dumps(CHAR | {"characters": characters}) for characters in (3, ["a"], "aa")),
        *(json.dumps(CHAR | {"imported": damaged}) for damaged in DAMAGED),
        *(json.dumps(BPE | changes) for changes in ({}, {"tokens": [1, 2]}, {"tokens": 7, "merges": 3})),
    ],
    ids=lambda text: text[:60],
)
def test_a_damaged_tokenizer_names_its_file(text):
    refuses(lambda: parse_tokenizer(text, "there"), "there")
