"""Prompts as ids; stop strings."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import V

from nanogpt.errors import UserError
from nanogpt.sampling.text import SampleText, encode_prompt
from nanogpt.text.tokenizer import ByteTokenizer, CharTokenizer

LETTERS = CharTokenizer("\nabcdefghijklmnopqrstuvwxyz0123456789"[: V - 1])

# Prompts


def test_an_empty_prompt_starts_after_a_newline_or_the_first_token():
    assert encode_prompt(LETTERS, "").tolist() == [0]
    assert encode_prompt(CharTokenizer("ab\n"), "").tolist() == [2]
    assert encode_prompt(CharTokenizer("xyz"), "").tolist() == [0]
    assert encode_prompt(ByteTokenizer(), "").tolist() == [10]


def test_a_prompt_of_which_nothing_is_known_is_an_empty_one():
    assert encode_prompt(LETTERS, "ÄÖ", "skip").tolist() == [0]
    with pytest.raises(UserError, match="never saw 'Ä' 'Ö'"):
        encode_prompt(LETTERS, "ÄÖ")


@settings(deadline=None)
@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_stopping_as_one_goes_is_cutting_the_whole(text, stops):
    sample = SampleText(CharTokenizer("ab"), tuple(stops))
    found = "".join(sample.feed(token) for token in CharTokenizer("ab").encode(text)) + sample.flush()
    # The first place, in reading order, at which some stop string has been completed.
    ends = [n for n in range(len(text) + 1) if any(text[:n].endswith(stop) for stop in stops)]
    if not ends:
        assert found == text
    else:
        start = min(text[: ends[0]].find(stop) for stop in stops if text[: ends[0]].endswith(stop))
        assert found == text[:start]
