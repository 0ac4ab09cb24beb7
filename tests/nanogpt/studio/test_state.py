"""The state in the address: what is put in comes out, and anything invalid is reported."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt.studio.state import (
    AXES,
    BY_HASH,
    MAX_LENGTH,
    VIEWS,
    LongTexts,
    State,
    default_state,
    from_fragment,
    to_fragment,
)

text = st.text(max_size=40)
number = st.integers(0, 10**9)
share = st.floats(0.001, 1)
states = st.builds(
    State,
    view=st.sampled_from(VIEWS), run=text, step=st.none() | number, model=text, run2=text, step2=st.none() | number,
    model2=text, prompt=st.none() | text, temperature=st.floats(0, 50), top_k=st.none() | st.integers(1, 10**6),
    top_p=st.none() | share, min_p=st.none() | share, tokens=st.integers(1, 10**6), seed=number, tree=text, tree2=text,
    side=st.integers(1, 2), token=st.none() | number, text=st.none() | text, layer=st.none() | number,
    head=st.none() | number, off=st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=3).map(tuple),
    compared=st.lists(text, max_size=3).map(tuple), axis=st.sampled_from(AXES), corpus=text,
    steps=st.integers(1, 10**6),
)  # fmt: skip


@given(states)
def test_what_goes_into_the_address_comes_out(state):
    fragment = to_fragment(state)
    assert from_fragment(fragment) == (state, [])
    assert from_fragment(f"#{fragment}") == (state, [])
    assert fragment.isascii()
    assert not set(fragment) & set(" #<>\"'`")


def test_defaults_are_not_written():
    assert to_fragment(State()) == "view=write"
    for view in VIEWS:
        assert to_fragment(default_state(view)) == f"view={view}"
        assert from_fragment(f"view={view}") == (default_state(view), [])


@given(st.text())
def test_any_text_is_read_without_an_error(fragment):
    state, _ = from_fragment(fragment)
    state.sampler()


def test_half_of_a_character_is_replaced_also_in_messages():
    """It could not be sent to a browser."""
    state, problems = from_fragment("prompt=a%ED%A0%BDb&view=%ED%A0%BD")
    assert state.prompt is not None
    assert "".join([state.prompt, *problems]).encode()
    assert to_fragment(State(prompt="a\ud83d")) == "view=write&prompt=a%3F"


@pytest.mark.parametrize(
    "fragment",
    ["view=admin", "temperature=hot", "temperature=-1", "temperature=nan", "top_k=0", "top_p=2", "token=-1",
     "seed=" + "9" * 400, "off=1", "off=1.x", "side=3", "axis=tokens", "steps=0"],
)  # fmt: skip
def test_invalid_values_are_left_out_and_reported(fragment):
    state, [problem] = from_fragment(fragment)
    name = fragment.partition("=")[0]
    assert getattr(state, name) == getattr(State(), name)
    assert name in problem
    assert "--" not in problem


def test_a_long_text_travels_by_its_hash():
    texts, long = LongTexts(), State(view="inside", text="x" * (MAX_LENGTH + 1), prompt="short")
    short = texts.shorten(long)
    assert short.text.startswith(BY_HASH)
    assert short.prompt == "short"
    assert len(to_fragment(short)) < 200
    assert texts.restore(from_fragment(to_fragment(short))[0]) == (long, [])


def test_a_missing_text_is_reported_and_the_rest_kept():
    short = LongTexts().shorten(State(view="inside", text="y" * (MAX_LENGTH + 1), layer=2))
    found, [missing] = LongTexts().restore(short)
    assert (found.text, found.layer) == (None, 2)
    assert short.text.removeprefix(BY_HASH)[:12] in missing


def test_a_text_that_looks_like_a_hash_is_a_text():
    texts, state = LongTexts(), State(prompt=BY_HASH + "0" * 64)
    assert texts.restore(texts.shorten(state)) == (state, [])


def test_the_oldest_texts_are_dropped_first():
    texts = LongTexts(max_characters=2 * MAX_LENGTH + 10)
    first, *_, last = [texts.shorten(State(text=letter * (MAX_LENGTH + 1))) for letter in "abc"]
    assert texts.restore(first)[1]
    assert not texts.restore(last)[1]
