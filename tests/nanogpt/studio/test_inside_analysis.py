"""What "Look inside" computes, without a page: context windows, lists and pictures."""

import base64
import struct
import zlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import PRESETS, make_run

pytest.importorskip("nicegui")

from nanogpt.explain.head_ablation import ablation_effects
from nanogpt.explain.trace import trace
from nanogpt.sampling.generate import window_start
from nanogpt.studio import inside_analysis
from nanogpt.studio.inside_pictures import png_url


@given(st.integers(1, 3000), st.data())
def test_what_is_read_is_the_context_of_generation(length, data):
    position, block_size = data.draw(st.integers(0, length - 1)), data.draw(st.integers(1, 600))
    most = data.draw(st.integers(1, 600))
    span = inside_analysis.context_span(length, position, block_size, most)
    assert position in span
    assert 0 <= span.start < span.stop <= length
    assert len(span) <= min(block_size, most)
    if block_size <= most:
        assert span.start == window_start(position + 1, block_size)


@given(st.integers(1, 5000), st.data())
def test_what_is_shown_contains_the_position(length, data):
    position, most = data.draw(st.integers(0, length - 1)), data.draw(st.integers(1, 1200))
    span = inside_analysis.shown_span(length, position, most)
    assert position in span
    assert len(span) == min(length, most)
    assert 0 <= span.start < span.stop <= length


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run", "modern", n_layer=3, n_head=2, block_size=9)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_last_layer_of_the_lens_is_the_model(tmp_path, preset):
    run = make_run(tmp_path / preset, preset, n_layer=2, n_head=2)
    ids = inside_analysis.encode_text(run, "hello old")
    found = inside_analysis.inspect_token(run, ids, 5)
    shares = run.model(torch.tensor([ids[:6]]))[0, -1].detach().softmax(-1)
    assert len(found.lens) == 3
    for one in found.lens[-1].choices:
        assert one.probability == pytest.approx(float(shares[one.token]), rel=1e-4)
    assert [one.token for one in found.next[:5]] == [one.token for one in found.lens[-1].choices]
    assert found.lens[-1].final.rank == 1
    assert found.actual.token == ids[6]
    assert found.actual.probability == pytest.approx(float(shares[ids[6]]), rel=1e-4)


def test_far_into_a_text_the_window_is_that_of_generation(run):
    ids = inside_analysis.encode_text(run, "hello there, old world, the word ")
    found = inside_analysis.inspect_token(run, ids, 25)
    start = window_start(26, 9)
    wanted = run.model(torch.tensor([ids[start:26]]))[0, -1].detach().softmax(-1)
    assert found.span.start == start
    assert found.next[0].probability == pytest.approx(float(wanted.max()), rel=1e-4)
    assert inside_analysis.inspect_token(run, ids, len(ids) - 1).actual is None


def test_attention_sums_to_1_and_means_are_means(run):
    found = inside_analysis.inspect_token(run, inside_analysis.encode_text(run, "hello old"), 6).trace
    for layer in (None, 0, 2):
        for head in (None, 1):
            weights = inside_analysis.attention_map(found, layer, head)[6]
            assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
            assert float(weights[7:].abs().sum()) == 0
    torch.testing.assert_close(inside_analysis.attention_map(found, 1, None), found.attention[1].mean(0))
    torch.testing.assert_close(inside_analysis.attention_map(found, 1, 0), found.attention[1, 0])


def test_a_trace_is_reused_only_if_it_fits(run):
    ids = inside_analysis.encode_text(run, "hello old")
    first = inside_analysis.inspect_token(run, ids, 3)
    assert inside_analysis.inspect_token(run, ids, 6, before=first).trace is first.trace
    for other, off in ((ids, ((0, 1),)), (ids[:-1], ()), (inside_analysis.encode_text(run, "hello odd"), ())):
        assert inside_analysis.inspect_token(run, other, 3, off, before=first).trace is not first.trace


def test_a_head_that_is_off_changes_what_comes_next(run):
    ids, off = inside_analysis.encode_text(run, "hello old"), ((1, 0),)
    found = inside_analysis.inspect_token(run, ids, 6, off)
    assert found.effects == ablation_effects(run.model, ids, off, 6, 10)
    after = {one.token: one.after for one in found.effects}
    for one in found.next:
        if one.token in after:
            assert one.probability == pytest.approx(after[one.token], rel=1e-4)
    assert "switched off" in inside_analysis.describe_head(found.trace, 1, 0)
    assert "switched off" not in inside_analysis.describe_head(found.trace, 1, 1)


def test_habits_by_hand():
    attention = torch.tensor([[1.0, 0, 0], [0.25, 0.75, 0], [0.5, 0.1, 0.4]])
    assert inside_analysis.attention_habits(attention) == pytest.approx(
        ((0.75 + 0.4) / 2, (0.25 + 0.1) / 2, (0.25 + 0.5) / 2)
    )
    assert inside_analysis.attention_habits(torch.ones(1, 1)) == (1.0, 0.0, 1.0)


def test_the_largest_bars_come_first():
    bars = inside_analysis.attention_bars(torch.tensor([0.2, 0.7, 0.1, 0.0]), "abcd", 2, count=2)
    assert [(one.name, one.value) for one in bars] == [("b, 1 back", "70.0 %"), ("a, 2 back", "20.0 %")]
    assert inside_analysis.attention_bars(torch.tensor([1.0]), "a", 0)[0].name == "a, itself"
    bars = inside_analysis.importance_bars(torch.tensor([[0.1, -0.5], [0.0, 0.3]]), count=2)
    assert [(one.name, one.value) for one in bars] == [("layer 1, head 2", "-0.500"), ("layer 2, head 2", "+0.300")]


def test_growth_by_hand(run):
    found = trace(run.model, inside_analysis.encode_text(run, "hello"))
    bars = inside_analysis.growth_bars(found, 2)
    assert [one.name for one in bars] == ["embeddings", "layer 1", "layer 2", "layer 3"]
    for one, x in zip(bars, found.stream[:, 2]):
        assert one.share == pytest.approx(float((x**2).mean().sqrt()))
    change = (found.stream[1, 2] - found.stream[0, 2]).norm() / found.stream[0, 2].norm()
    assert f"{100 * float(change):.0f}"[:2] in bars[1].value


def test_the_nearest_points():
    points = torch.tensor([[0.0, 0], [1, 0], [0, 3], [5, 5]])
    assert inside_analysis.nearest_points(points, 0, 2) == [1, 2]
    assert inside_analysis.nearest_points(points, 3) == [2, 1, 0]


def test_a_png_holds_its_numbers():
    data = base64.b64decode(png_url(torch.tensor([[0.0, 1.0, 0.5], [0.2, 2.0, -1.0]])).partition(",")[2])
    assert struct.unpack(">II", data[16:24]) == (3, 2)
    start = data.index(b"IDAT") + 4
    size = struct.unpack(">I", data[start - 8 : start - 4])[0]
    assert zlib.decompress(data[start : start + size]) == bytes([0, 0, 255, 128, 0, 51, 255, 0])
    assert data.endswith(b"IEND" + struct.pack(">I", zlib.crc32(b"IEND")))
