"""Our tokenizers as llama.cpp's vocabulary. That its ids are ours is in `test_llama.py`."""

import pytest
from tiny import refuses
from vocabularies import END, MERGES, TOOL, llama_tables, qwen_tables, smollm_tables

from nanogpt.interop.gguf.vocabulary import to_vocabulary
from nanogpt.text.bpe import BYTE_OF, BpeTokenizer, ByteTokenizer
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.tokenizer import CharTokenizer

BYTES = sorted(BYTE_OF, key=BYTE_OF.__getitem__)


def as_bytes(token: str) -> bytes:
    return bytes(BYTE_OF[letter] for letter in token)


def test_the_merges_of_a_character_join_its_bytes_from_the_left():
    found = to_vocabulary(CharTokenizer("a–—€𝄞"))
    assert [as_bytes(token).decode() for token in found.tokens[:-1]] == list("a–—€𝄞")
    assert [tuple(map(as_bytes, merge.split(" "))) for merge in found.merges] == [
        *((b"\xe2", b"\x80"), (b"\xe2\x80", b"\x93"), (b"\xe2\x80", b"\x94")),  # of the two dashes, once
        *((b"\xe2", b"\x82"), (b"\xe2\x82", b"\xac")),
        *((b"\xf0", b"\x9d"), (b"\xf0\x9d", b"\x84"), (b"\xf0\x9d\x84", b"\x9e")),
    ]


@pytest.mark.parametrize(
    "tokenizer",
    [CharTokenizer("abc"), ByteTokenizer(), BpeTokenizer([*BYTES, None], [], 256)],
    ids=lambda one: one.kind,
)
def test_without_merges_there_is_one_that_never_applies(tokenizer):
    (merge,) = to_vocabulary(tokenizer).merges
    assert as_bytes(merge.replace(" ", "")) == b"\xff\xff"  # not UTF-8


def test_of_a_repeated_merge_the_last_one_counts():
    found = to_vocabulary(BpeTokenizer([*BYTES, "ab", "bc"], [("a", "b"), ("b", "c"), ("a", "b")], None))
    assert found.merges == ("b c", "a b")


@pytest.mark.parametrize(
    ("tokenizer", "end", "silent"),
    [
        (CharTokenizer("abc"), 3, {3}),
        (CharTokenizer("ab").extend("é"), 2, {2}),
        (ByteTokenizer(), 256, {256}),
        (ByteTokenizer(end_of_document=False), 255, set()),  # a byte that no text has
        (BpeTokenizer([None, *BYTES, None], [], 257), 257, {0, 257}),
        (BpeTokenizer([*BYTES, None], [], None), 256, {256}),
        (BpeTokenizer(BYTES, [], None), 255, set()),
        (CharTokenizer("abcdefghijk", end_of_document=False), None, set()),  # 11 tokens: llama.cpp's default is 11
    ],
)
def test_the_end_of_text_has_no_text(tokenizer, end, silent):
    found = to_vocabulary(tokenizer)
    assert (found.end, found.silent) == (end, silent)
    assert len(found.tokens) == len(set(found.tokens)) == tokenizer.vocab_size


@pytest.mark.parametrize(
    ("tokenizer", "words"),
    [
        (CharTokenizer("abcdefghijkl", end_of_document=False), ["'l'", "--end-of-document"]),
        (CharTokenizer("ab\udc80"), ["surrogate"]),
    ],
)
def test_vocabularies_that_cannot_be_written_are_refused(tokenizer, words):
    refuses(lambda: to_vocabulary(tokenizer), *words)


@pytest.mark.parametrize("tables", [qwen_tables, llama_tables, smollm_tables])
def test_llama_cpp_has_one_way_of_merging_for_each_rule(tables):
    known = tables()
    assert to_vocabulary(ForeignTokenizer(known, 271, 0)).pre in ("qwen2", "llama-bpe", "smollm")
    model = known["model"] | {"ignore_merges": not known["model"].get("ignore_merges")}
    refuses(
        lambda: to_vocabulary(ForeignTokenizer(tables(model=model), 271, 0)),
        f"ignore_merges is {model['ignore_merges']}",
    )


def test_qwens_vocabulary_is_unchanged():
    found = to_vocabulary(ForeignTokenizer(qwen_tables(), TOOL + 2, END))
    assert (len(found.tokens), found.pre, found.end) == (TOOL + 2, "qwen2", END)
    assert found.tokens[END:] == ("<|endoftext|>", "<tool>", f"<|unused_{TOOL + 1}|>")
    assert (found.silent, found.whole) == ({END, TOOL + 1}, {TOOL})
    assert found.merges == tuple(" ".join(pair) for pair in MERGES)
