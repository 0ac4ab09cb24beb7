"""The address: what is put in comes out, and what is no state of this program is told, not believed."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import refuses

from nanogpt.studio.learn.history import Question
from nanogpt.studio.state import AXES, BY_HASH, LONGEST, READERS, VIEWS, State, Texts, bare, from_fragment, to_fragment

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


def test_every_field_is_in_the_strategy_and_has_a_reader():
    """A field that was added without a reader would be lost on the way."""
    assert {one.name for one in fields(State)} == set(READERS)


def test_defaults_are_not_written():
    assert to_fragment(State()) == "view=write"
    for view in VIEWS:
        assert to_fragment(bare(view)) == f"view={view}"
        assert from_fragment(f"view={view}") == (bare(view), [])


def test_a_view_has_defaults_of_its_own():
    """The time machine's are those of a question that says nothing of them."""
    learn, asked = from_fragment("view=learn")[0], Question()
    assert (learn.temperature, learn.tokens, learn.seed) == (asked.temperature, asked.tokens, asked.seed)
    assert from_fragment("view=learn&temperature=0.8")[0].temperature == 0.8
    assert from_fragment("view=learn&temperature=hot")[0].temperature == asked.temperature
    assert from_fragment("view=write")[0].temperature == State().temperature != asked.temperature


def test_names_of_runs_may_hold_any_sign():
    state = State(view="learn", compared=("a,b", "c&d=e", "", "a/b"))
    assert to_fragment(state).count("compared=") == 4
    assert from_fragment(to_fragment(state)) == (state, [])


@given(st.text())
def test_any_text_is_read_without_an_error(fragment):
    state, _ = from_fragment(fragment)
    state.sampler()


def test_half_of_a_character_is_replaced_also_where_it_is_told():
    """It could not be sent to a browser."""
    state, problems = from_fragment("prompt=a%ED%A0%BDb&view=%ED%A0%BD")
    assert state.prompt is not None
    assert "".join([state.prompt, *problems]).encode()
    assert to_fragment(State(prompt="a\ud83d")) == "view=write&prompt=a%3F"


@pytest.mark.parametrize(
    ("fragment", "name"),
    [
        ("view=admin", "view"),
        ("temperature=hot", "temperature"),
        ("temperature=-1", "temperature"),
        ("temperature=nan", "temperature"),
        ("top_k=0", "top_k"),
        ("top_p=2", "top_p"),
        ("token=-1", "token"),
        ("seed=" + "9" * 400, "seed"),
        ("off=1", "off"),
        ("off=1.x", "off"),
        ("side=3", "side"),
        ("axis=tokens", "axis"),
        ("steps=0", "steps"),
    ],
)
def test_nonsense_is_left_out_and_told(fragment, name):
    state, problems = from_fragment(fragment)
    assert getattr(state, name) == getattr(State(), name)
    assert len(problems) == 1
    assert name in problems[0]


def test_settings_are_checked_as_the_command_line_checks_them():
    refuses(lambda: State(top_p=3.0).sampler(), "top_p", "3.0")
    assert State(top_k=5, seed=3).sampler().top_k == 5


def test_a_long_text_travels_by_its_hash():
    texts, long = Texts(), State(view="inside", text="x" * (LONGEST + 1), prompt="short")
    short = texts.shorten(long)
    assert short.text.startswith(BY_HASH)
    assert short.prompt == "short"
    assert len(to_fragment(short)) < 200
    assert texts.restore(from_fragment(to_fragment(short))[0]) == (long, [])


def test_what_is_missing_is_told_and_the_rest_kept():
    short = Texts().shorten(State(view="inside", text="y" * (LONGEST + 1), layer=2))
    found, missing = Texts().restore(short)
    assert found.text is None
    assert found.layer == 2
    assert len(missing) == 1
    assert short.text.removeprefix(BY_HASH)[:12] in missing[0]


def test_a_text_that_looks_like_a_hash_is_a_text():
    texts, state = Texts(), State(prompt=BY_HASH + "0" * 64)
    assert texts.restore(texts.shorten(state)) == (state, [])


def test_the_oldest_texts_make_room():
    texts = Texts(room_characters=2 * LONGEST + 10)
    first, *_, last = [texts.shorten(State(text=letter * (LONGEST + 1))) for letter in "abc"]
    assert texts.restore(first)[1]
    assert not texts.restore(last)[1]
