"""A token's text as a person can see it."""

import pytest
from tiny import refuses
from vocabularies import END, TOOL, qwen_tables

from nanogpt.explain import visible
from nanogpt.text.bpe import BYTE_OF, BpeTokenizer
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.tokenizer import ByteTokenizer, CharTokenizer


def shown(tokenizer, text):
    return [visible(tokenizer, int(token)) for token in tokenizer.encode(text)]


def test_characters():
    text = "\t\n\r aé語\u200b\xa0\x00\U0001f600"
    tokenizer = CharTokenizer(text)
    wanted = ["⇥", "↵", "␍", "␣", "a", "é", "語", "‹U+200B›", "‹U+00A0›", "‹U+0000›", "😀"]
    assert shown(tokenizer, text) == wanted
    assert visible(tokenizer, len(text)) == "<|endoftext|>"


def test_half_a_character_of_a_character_vocabulary_is_no_byte():
    assert visible(CharTokenizer("a\udcc3"), 1) == "‹U+DCC3›"


def test_bytes():
    assert shown(ByteTokenizer(), "a é\n") == ["a", "␣", "‹C3›", "‹A9›", "↵"]
    assert visible(ByteTokenizer(), 256) == "<|endoftext|>"


def test_parts_of_characters_in_bpe():
    letter = {byte: character for character, byte in BYTE_OF.items()}
    space, first, second, third = (letter[byte] for byte in " 語".encode())
    merges = [(space, first), (space + first, second), (third, third), (third + third, letter[ord("a")])]
    tokens = [*BYTE_OF, *("".join(pair) for pair in merges), None]
    tokenizer = BpeTokenizer(tokens, merges, end_of_document=260)
    assert [visible(tokenizer, token) for token in range(256, 260)] == [
        "␣‹E8›",
        "␣‹E8›‹AA›",
        "‹9E›‹9E›",
        "‹9E›‹9E›a",
    ]
    assert shown(tokenizer, " 語") == ["␣‹E8›‹AA›", "‹9E›"]
    assert visible(tokenizer, 260) == "<|endoftext|>"


def test_whole_characters_in_bpe():
    tokenizer = BpeTokenizer.train(["the 語 the 語 the 語\n"] * 9, vocab_size=272)
    assert shown(tokenizer, "the 語 the\n") == ["the", "␣語", "␣the", "↵"]


def test_tokens_of_others():
    tokenizer = ForeignTokenizer(qwen_tables(), vocab_size=TOOL + 3, end_of_document=END)
    assert shown(tokenizer, " the land") == ["␣the", "␣", "l", "and"]
    assert (visible(tokenizer, END), visible(tokenizer, TOOL)) == ("<|endoftext|>", "<tool>")
    assert visible(tokenizer, TOOL + 1) == f"<|unused_{TOOL + 1}|>"  # a row of the model alone


@pytest.mark.parametrize("tokenizer", [CharTokenizer("abc"), ByteTokenizer()], ids=lambda one: one.kind)
def test_tokens_that_there_are_not(tokenizer):
    V = tokenizer.vocab_size
    refuses(lambda: visible(tokenizer, V), f"no token {V}", f"0 to {V - 1}")
    refuses(lambda: visible(tokenizer, -1), "no token -1")
