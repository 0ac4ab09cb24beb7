"""Filters on four tokens worked by hand; cached = uncached; batched = single; stop strings."""

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import BLOCK, PRESETS, V, tiny_model, token_ids

from nanogpt.config import SampleConfig
from nanogpt.errors import UserError
from nanogpt.sampling import (
    SampleText,
    draw,
    encode_prompt,
    filter_logits,
    generate_ids,
    generate_text,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalise_repetition,
    stream_text,
    window_start,
)
from nanogpt.streams import uniform
from nanogpt.tokenizer import ByteTokenizer, CharTokenizer

LETTERS = CharTokenizer("\nabcdefghijklmnopqrstuvwxyz0123456789"[: V - 1])
EACH_PRESET = pytest.mark.parametrize("preset", PRESETS)


def logits_of(*probabilities):
    return torch.tensor([probabilities]).log()


def kept(logits):
    """The probabilities that are left, to three places."""
    return [round(p, 3) for p in logits.softmax(-1)[0].tolist()]


# Filters


@pytest.mark.parametrize(
    ("k", "expected"),
    [(1, [0, 1, 0, 0]), (2, [0, 0.625, 0.375, 0]), (4, [0.1, 0.5, 0.3, 0.1]), (99, [0.1, 0.5, 0.3, 0.1])],
)
def test_top_k(k, expected):
    assert kept(keep_top_k(logits_of(0.1, 0.5, 0.3, 0.1), k)) == expected


def test_top_k_keeps_exactly_k_of_equal_ones():
    assert torch.isfinite(keep_top_k(torch.zeros(3, 4), 2)).sum(-1).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.4, [0, 1, 0, 0]),
        (0.5, [0, 1, 0, 0]),
        (0.55, [0, 0.625, 0.375, 0]),
        (0.75, [0, 0.625, 0.375, 0]),
        (0.85, [0.111, 0.556, 0.333, 0]),
        (1e-9, [0, 1, 0, 0]),
        (1.0, [0.1, 0.5, 0.3, 0.1]),
    ],
)
def test_top_p(p, expected):
    assert kept(keep_top_p(logits_of(0.1, 0.5, 0.3, 0.1), p)) == expected


@pytest.mark.parametrize(
    ("p", "expected"),
    [(1.0, [0, 1, 0, 0]), (0.61, [0, 1, 0, 0]), (0.59, [0, 0.625, 0.375, 0]), (0.19, [0.1, 0.5, 0.3, 0.1])],
)
def test_min_p(p, expected):
    assert kept(keep_min_p(logits_of(0.1, 0.5, 0.3, 0.1), p)) == expected


def test_filters_treat_each_row_by_itself():
    both = torch.cat([logits_of(0.1, 0.5, 0.3, 0.1), logits_of(0.7, 0.1, 0.1, 0.1)])
    assert torch.isfinite(keep_top_p(both, 0.6)).tolist() == [[False, True, True, False], [True, False, False, False]]
    assert torch.isfinite(keep_min_p(both, 0.5)).tolist() == [[False, True, True, False], [True, False, False, False]]
    assert torch.isfinite(keep_top_k(both, 1)).tolist() == [[False, True, False, False], [True, False, False, False]]


def test_repetition():
    logits = torch.tensor([[2.0, -2.0, 3.0, -3.0], [2.0, -2.0, 3.0, -3.0]])
    context = torch.tensor([[0, 1, 1], [3, 3, 3]])
    assert penalise_repetition(logits, context, 2.0).tolist() == [[1.0, -4.0, 3.0, -3.0], [2.0, -2.0, 3.0, -6.0]]


def test_the_order_of_the_filters():
    logits = torch.tensor([[4.0, 3.9, 1.0, 0.0]])
    context = torch.tensor([[0]])
    # Repetition first: token 0 falls to 2.0 and behind token 1; then temperature; then the shares.
    config = SampleConfig(repetition_penalty=2.0, temperature=0.5, top_k=3, top_p=0.9, min_p=0.001)
    found = filter_logits(logits, context, config)
    assert found[0, 1].item() == pytest.approx(7.8)
    assert torch.isfinite(found).tolist() == [[False, True, False, False]]
    everything = filter_logits(logits, context, SampleConfig(temperature=2.0))
    assert everything.tolist() == [pytest.approx([2.0, 1.95, 0.5, 0.0])]


def test_temperature_comes_before_top_p():
    logits = logits_of(0.4, 0.3, 0.2, 0.1)
    cold = filter_logits(logits, torch.zeros(1, 1, dtype=torch.long), SampleConfig(temperature=0.1, top_p=0.9))
    hot = filter_logits(logits, torch.zeros(1, 1, dtype=torch.long), SampleConfig(temperature=10.0, top_p=0.9))
    assert torch.isfinite(cold).sum() == 1
    assert torch.isfinite(hot).sum() == 4


# Drawing


@pytest.mark.parametrize(
    ("number", "token"),
    [(0.0, 0), (0.0999, 0), (0.1001, 1), (0.5999, 1), (0.6001, 2), (0.8999, 2), (0.9001, 3), (1 - 2**-53, 3)],
)
def test_draw_is_where_the_running_sum_passes_the_number(number, token):
    assert draw(logits_of(0.1, 0.5, 0.3, 0.1), [number]).tolist() == [token]


def test_draw_takes_a_number_for_each_row():
    assert draw(logits_of(0.1, 0.5, 0.3, 0.1).expand(3, -1), [0.95, 0.05, 0.3]).tolist() == [3, 0, 1]


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=9), st.floats(0, 1, exclude_max=True), st.data())
def test_draw_never_takes_what_was_filtered_out(values, number, data):
    logits = torch.tensor([values])
    out = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=len(values) - 1, unique=True))
    logits[0, out] = -torch.inf
    assert draw(logits, [number]).item() not in out


def test_draw_follows_the_probabilities():
    numbers = [uniform(1337, "sample", 0, position) for position in range(10_000)]
    counts = Counter(draw(logits_of(0.1, 0.5, 0.3, 0.1).expand(10_000, -1), numbers).tolist())
    for token, p in enumerate((0.1, 0.5, 0.3, 0.1)):
        assert abs(counts[token] - 10_000 * p) < 6 * math.sqrt(10_000 * p * (1 - p))


# Windows


@given(st.integers(1, 2000), st.integers(1, 70))
def test_a_window_holds_at_most_a_block_and_never_less_than_half(position, block_size):
    start = window_start(position, block_size)
    length = position - start
    assert 1 <= length <= block_size
    assert start == 0 or length >= max(1, block_size // 2)
    assert start >= window_start(position - 1, block_size) if position > 1 else start == 0
    if position > 1 and start != window_start(position - 1, block_size):
        assert length == max(1, block_size // 2)
        assert position - 1 - window_start(position - 1, block_size) == block_size


def test_windows_by_hand():
    assert [window_start(position, 5) for position in range(1, 16)] == [0] * 5 + [4] * 4 + [8] * 4 + [12] * 2
    assert [window_start(position, 1) for position in range(1, 5)] == [0, 1, 2, 3]


# Generation


def generated(model, prompt, cached=True, **settings):
    return list(generate_ids(model, prompt, SampleConfig(**settings), cached=cached))


@EACH_PRESET
@pytest.mark.parametrize("length", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_cached_is_uncached(preset, length, temperature):
    model, prompt = tiny_model(preset), token_ids(length)
    settings = {"tokens": 3 * BLOCK, "samples": 2, "temperature": temperature, "repetition_penalty": 1.3}
    assert generated(model, prompt, cached=True, **settings) == generated(model, prompt, cached=False, **settings)


@EACH_PRESET
@pytest.mark.parametrize("cached", [True, False])
def test_the_text_follows_from_the_window_rule(preset, cached):
    model, prompt = tiny_model(preset), token_ids(3)
    ids = prompt.tolist()
    for position in range(3, 3 + 4 * BLOCK):
        context = torch.tensor([ids[window_start(position, BLOCK) :]])
        ids.append(model(context)[0, -1].argmax().item())
    found = generated(model, prompt, cached=cached, tokens=4 * BLOCK, temperature=0.0, samples=1)
    assert [row for (row,) in found] == ids[3:]


@EACH_PRESET
def test_each_token_is_drawn_with_a_number_of_its_place(preset):
    model, prompt = tiny_model(preset), token_ids(3)
    ids = prompt.tolist()
    for position in range(3, 3 + 2 * BLOCK):
        logits = model(torch.tensor([ids[window_start(position, BLOCK) :]]))[:, -1] / 0.7
        ids.append(draw(logits, [uniform(5, "sample", 0, position)]).item())
    assert [row for (row,) in generated(model, prompt, tokens=2 * BLOCK, temperature=0.7, seed=5)] == ids[3:]


@EACH_PRESET
def test_batched_is_single(preset):
    model, prompt = tiny_model(preset), token_ids(5)
    alone = generated(model, prompt, tokens=3 * BLOCK)
    three = generated(model, prompt, tokens=3 * BLOCK, samples=3)
    assert [row[:1] for row in three] == alone
    columns = list(zip(*three))
    assert len(set(columns)) == 3


@pytest.mark.parametrize(("prompt", "token"), [([V - 1], V - 2), ([V - 1] + [0] * BLOCK, V - 1)])
def test_the_penalty_sees_the_window_and_nothing_else(prompt, token):
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight.zero_()
    model.lm_head.bias = torch.nn.Parameter(torch.arange(V).float())  # always prefers the last
    found = generated(model, torch.tensor(prompt), tokens=1, temperature=0.0, repetition_penalty=2.0)
    assert found == [[token]]


def test_the_seed_decides():
    model, prompt = tiny_model(), token_ids(3)
    assert generated(model, prompt, tokens=20, seed=1) == generated(model, prompt, tokens=20, seed=1)
    assert generated(model, prompt, tokens=20, seed=1) != generated(model, prompt, tokens=20, seed=2)
    state = torch.get_rng_state()
    generated(model, prompt, tokens=3)
    assert torch.equal(state, torch.get_rng_state())


def test_generation_is_lazy_and_turns_dropout_off():
    model = tiny_model("gpt2", dropout=0.5).train()
    found = generate_ids(model, token_ids(3), SampleConfig(tokens=10**9, temperature=0.0))
    first = next(found)
    assert not model.training
    assert first == next(generate_ids(model, token_ids(3), SampleConfig(tokens=1, temperature=0.0)))


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


@EACH_PRESET
@pytest.mark.parametrize("prompt", ["", "a", "thecat", "abc" * 3 * BLOCK])
def test_every_length_of_prompt(preset, prompt):
    (text,) = generate_text(tiny_model(preset), LETTERS, prompt, SampleConfig(tokens=13, top_k=V - 5))
    assert len(text) <= 13


# Text


class Script:
    """A model that says what it is told, whatever it reads: one token a call."""

    def __init__(self, monkeypatch, *rows):
        rows = [list(row) for row in zip(*rows)]
        monkeypatch.setattr("nanogpt.sampling.generate_ids", lambda *args, **kwargs: iter(rows))


def spoken(monkeypatch, *ids, tokenizer=LETTERS, stop=()):
    Script(monkeypatch, *ids)
    config = SampleConfig(samples=len(ids), stop=stop)
    rows = list(stream_text(None, tokenizer, "a", config))
    return rows, ["".join(pieces) for pieces in zip(*rows)]


def test_a_text_ends_at_the_end_of_document(monkeypatch):
    end = LETTERS.end_of_document
    rows, texts = spoken(monkeypatch, [1, 2, end, 3, 3], [3, end, 1, 1, 1])
    assert texts == ["ab", "c"]
    assert len(rows) == 3  # and nothing is generated for nobody


def test_stop_strings_across_tokens(monkeypatch):
    ids = LETTERS.encode("abcabdxyz").tolist()
    assert spoken(monkeypatch, ids, stop=("abd",))[1] == ["abc"]
    assert spoken(monkeypatch, ids, stop=("nothere",))[1] == ["abcabdxyz"]
    assert spoken(monkeypatch, ids, stop=("xyz", "bd"))[1] == ["abca"]
    assert spoken(monkeypatch, ids, stop=("z!", "yz!"))[1] == ["abcabdxyz"]  # what was held back comes at the end


def test_what_could_become_a_stop_string_is_held_back(monkeypatch):
    rows, _ = spoken(monkeypatch, LETTERS.encode("aabab").tolist(), stop=("abc",))
    assert [row[0] for row in rows] == ["", "a", "", "ab", "", "ab"]


def test_each_sample_stops_by_itself(monkeypatch):
    _, texts = spoken(monkeypatch, LETTERS.encode("axbbb").tolist(), LETTERS.encode("bbxbb").tolist(), stop=("x",))
    assert texts == ["a", "bb"]


def test_bytes_come_as_whole_characters(monkeypatch):
    tokenizer = ByteTokenizer()
    rows, texts = spoken(monkeypatch, tokenizer.encode("é😀a").tolist(), tokenizer=tokenizer)
    assert [row[0] for row in rows] == ["", "é", "", "", "", "😀", "a", ""]
    assert texts == ["é😀a"]
    _, texts = spoken(monkeypatch, [195], tokenizer=tokenizer)
    assert texts == ["\ufffd"]


def test_a_stop_string_of_several_bytes(monkeypatch):
    tokenizer = ByteTokenizer()
    assert spoken(monkeypatch, tokenizer.encode("aéb😀c").tolist(), tokenizer=tokenizer, stop=("b😀",))[1] == ["aé"]


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


def test_generate_text_is_the_stream_joined():
    model, config = tiny_model(), SampleConfig(tokens=25, samples=3, stop=("a", "7b"))
    rows = list(stream_text(model, LETTERS, "cat", config))
    assert generate_text(model, LETTERS, "cat", config) == ["".join(pieces) for pieces in zip(*rows)]
