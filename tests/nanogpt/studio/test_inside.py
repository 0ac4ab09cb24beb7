"""What "Look inside" says, without a page: windows, words and pictures."""

import base64
import struct
import zlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import PRESETS, make_run

from nanogpt.explain.head_ablation import ablation_effects as effect_of
from nanogpt.explain.trace import trace
from nanogpt.sampling.cache import window_start
from nanogpt.studio.inside.looking import first_text, look_at, text_ids
from nanogpt.studio.inside.png import shades
from nanogpt.studio.inside.window import read_span, shown_span
from nanogpt.studio.inside.words import (
    attended_lines,
    attention_at,
    growth_lines,
    habits,
    head_told,
    importance_lines,
    lens_rows,
    near,
)


@given(st.integers(1, 3000), st.data())
def test_what_is_read_is_what_the_model_would_read(length, data):
    """The chosen token is the last that its successor is predicted from, and no window is larger than allowed."""
    place, block_size = data.draw(st.integers(0, length - 1)), data.draw(st.integers(1, 600))
    most = data.draw(st.integers(1, 600))
    span = read_span(length, place, block_size, most)
    assert place in span
    assert 0 <= span.start < span.end <= length
    assert len(span) <= min(block_size, most)
    if block_size <= most:
        assert span.start == window_start(place + 1, block_size)


@given(st.integers(1, 5000), st.data())
def test_what_is_shown_holds_the_place(length, data):
    place, most = data.draw(st.integers(0, length - 1)), data.draw(st.integers(1, 1200))
    span = shown_span(length, place, most)
    assert place in span
    assert len(span) == min(length, most)
    assert span.start >= 0
    assert span.end <= length


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", "modern", n_layer=3, n_head=2, block_size=9)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_last_layer_of_the_lens_is_the_model(tmp_path, preset):
    run = make_run(tmp_path / preset, preset, n_layer=2, n_head=2)
    ids = text_ids(run, "hello old")
    found = look_at(run, ids, 5)
    shares = run.model(torch.tensor([ids[:6]]))[0, -1].detach().softmax(-1)
    assert len(found.lens) == 3
    for one in found.lens[-1].choices:
        assert one.probability == pytest.approx(float(shares[one.token]), rel=1e-4)
    assert [one.token for one in found.next[:5]] == [one.token for one in found.lens[-1].choices]
    assert found.lens[-1].final.rank == 1
    assert found.came.token == ids[6]
    assert found.came.probability == pytest.approx(float(shares[ids[6]]), rel=1e-4)


def test_far_into_a_text_the_window_is_that_of_writing(run):
    ids = text_ids(run, "hello there, old world, the word ")
    found = look_at(run, ids, 25)
    start = window_start(26, 9)
    wanted = run.model(torch.tensor([ids[start:26]]))[0, -1].detach().softmax(-1)
    assert found.span.start == start
    assert found.next[0].probability == pytest.approx(float(wanted.max()), rel=1e-4)


def test_at_the_end_of_the_text_nothing_came(run):
    ids = text_ids(run, "hello")
    assert look_at(run, ids, 4).came is None


def test_attention_adds_up_and_means_are_means(run):
    found = look_at(run, text_ids(run, "hello old"), 6).trace
    for layer in (None, 0, 2):
        for head in (None, 1):
            weights = attention_at(found, 6, layer, head)
            assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
            assert float(weights[7:].abs().sum()) == 0
    torch.testing.assert_close(attention_at(found, 6, 1, None), found.attention[1, :, 6].mean(0))
    torch.testing.assert_close(attention_at(found, 6, 1, 0), found.attention[1, 0, 6])


def test_a_trace_is_used_again_only_where_it_fits(run):
    ids = text_ids(run, "hello old")
    first = look_at(run, ids, 3)
    assert look_at(run, ids, 6, before=first).trace is first.trace
    assert look_at(run, ids, 3, ((0, 1),), before=first).trace is not first.trace
    assert look_at(run, ids[:-1], 3, before=first).trace is not first.trace
    assert look_at(run, text_ids(run, "hello odd"), 3, before=first).trace is not first.trace


def test_a_head_that_is_off_changes_what_comes_next(run):
    ids, off = text_ids(run, "hello old"), ((1, 0),)
    found = look_at(run, ids, 6, off)
    assert found.effects == effect_of(run.model, ids, off, 6, 10)
    after = {one.token: one.after for one in found.effects}
    for one in found.next:
        if one.token in after:
            assert one.probability == pytest.approx(after[one.token], rel=1e-4)
    assert "switched off" in head_told(found.trace, 1, 0)
    assert "switched off" not in head_told(found.trace, 1, 1)


def test_habits_by_hand():
    attention = torch.tensor([[1.0, 0, 0], [0.25, 0.75, 0], [0.5, 0.1, 0.4]])
    assert habits(attention) == pytest.approx(((0.75 + 0.4) / 2, (0.25 + 0.1) / 2, (0.25 + 0.5) / 2))
    assert habits(torch.ones(1, 1)) == (1.0, 0.0, 1.0)


def test_the_most_attended_come_first():
    lines = attended_lines(torch.tensor([0.2, 0.7, 0.1, 0.0]), "abcd", 2, count=2)
    assert [(one.name, one.told) for one in lines] == [("b, 1 back", "70.0 %"), ("a, 2 back", "20.0 %")]
    assert attended_lines(torch.tensor([1.0]), "a", 0)[0].name == "a, itself"


def test_growth_by_hand(run):
    found = trace(run.model, text_ids(run, "hello"))
    lines = growth_lines(found, 2)
    assert [one.name for one in lines] == ["embeddings", "layer 1", "layer 2", "layer 3"]
    for one, x in zip(lines, found.stream[:, 2]):
        assert one.share == pytest.approx(float((x**2).mean().sqrt()))
    change = (found.stream[1, 2] - found.stream[0, 2]).norm() / found.stream[0, 2].norm()
    assert f"{100 * float(change):.0f}"[:2] in lines[1].told


def test_heads_that_matter_come_first():
    lines = importance_lines(torch.tensor([[0.1, -0.5], [0.0, 0.3]]), count=2)
    assert [(one.name, one.told) for one in lines] == [("layer 1, head 2", "-0.500"), ("layer 2, head 2", "+0.300")]


def test_the_nearest_are_near():
    points = torch.tensor([[0.0, 0], [1, 0], [0, 3], [5, 5]])
    assert near(points, 0, 2) == [1, 2]
    assert near(points, 3) == [2, 1, 0]


def test_the_lens_tells_what_the_model_chose(run):
    logits = torch.zeros(3, run.tokenizer.vocab_size)
    logits[0, 4], logits[2, 7] = 5.0, 9.0
    rows = lens_rows(logits, run.tokenizer)
    assert [one.name for one in rows] == ["embeddings", "layer 1", "layer 2"]
    assert rows[0].choices[0].token == 4
    assert [one.final.token for one in rows] == [7, 7, 7]
    assert rows[2].final.rank == 1


def test_a_picture_holds_its_numbers():
    data = base64.b64decode(shades(torch.tensor([[0.0, 1.0, 0.5], [0.2, 2.0, -1.0]])).partition(",")[2])
    width, height = struct.unpack(">II", data[16:24])
    assert (width, height) == (3, 2)
    start = data.index(b"IDAT") + 4
    size = struct.unpack(">I", data[start - 8 : start - 4])[0]
    assert zlib.decompress(data[start : start + size]) == bytes([0, 0, 255, 128, 0, 51, 255, 0])
    assert data.endswith(b"IEND" + struct.pack(">I", zlib.crc32(b"IEND")))


def test_there_is_always_a_text(run):
    assert len(text_ids(run, "")) == 1
    assert len(text_ids(run, "☃")) == 1
    assert first_text(run) == first_text(run)
