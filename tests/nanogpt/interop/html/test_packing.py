import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import refuses

from nanogpt.interop.html.export import lay_out, pack, unpack
from nanogpt.runs.eight_bits import quantise


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e5))
def test_no_weight_is_off_by_more_than_half_a_scale(seed, size):
    weight = np.random.default_rng(seed).standard_normal((5, 7)).astype(np.float32) * np.float32(size)
    scales, values = quantise(weight)
    wide = scales[:, None].astype(np.float32)
    assert (np.abs(weight - values * wide) <= wide * 0.5001).all()
    largest = np.abs(weight).max(1)
    assert (scales.astype(np.float64) <= np.maximum(largest / 127 * 1.001, largest / 127 + 6e-8)).all()
    assert (values.astype(np.float32) * wide == values.astype(np.float64) * wide.astype(np.float64)).all()  # exact


def test_the_largest_of_a_row_is_not_cut():
    """A scale rounded down would cut it: 127 times 0.3 / 127 in float16 is less than 0.3."""
    weight = np.linspace(0.1, 0.9, 211, dtype=np.float32)[:, None]
    scales, values = quantise(weight)
    assert np.abs(weight[:, 0] - values[:, 0] * scales.astype(np.float32)).max() < 0.5 * scales.max()
    assert (scales.astype(np.float32) * 127 >= weight[:, 0] * (1 - 1e-6)).all()


def test_rows_of_zeros_stay_zero():
    with np.errstate(all="raise"):
        _, values = quantise(np.zeros((3, 5), dtype=np.float32))
    assert not values.any()


def test_what_is_packed_comes_back():
    tensors = {"a": torch.randn(5, 7), "b": torch.randn(3), "c": torch.randn(2, 11), "d": torch.randn(13)}
    slots, packed = pack(tensors)
    found = unpack(slots, packed)
    assert found.keys() == tensors.keys()
    assert torch.equal(found["b"], tensors["b"])
    assert torch.equal(found["d"], tensors["d"])
    for name in "ac":
        assert (found[name] - tensors[name]).abs().max() <= tensors[name].abs().max() / 127 * 0.51
    assert pack(found)[1] == packed  # rounding again changes nothing


def test_tensors_start_at_multiples_of_four_and_do_not_overlap():
    slots, length = lay_out({"a": (3, 5), "b": (7,), "c": (2, 3)})
    assert [(slot.offset, slot.size) for slot in slots] == [(0, 21), (24, 28), (52, 10)]
    assert length == 64


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e9])
def test_weights_that_cannot_be_packed_are_refused_by_name(value):
    refuses(lambda: pack({"mlp.up.weight": torch.tensor([[1.0, value]])}), "mlp.up.weight", "diverged")


def test_a_damaged_scale_is_refused():
    slots, packed = pack({"w": torch.ones(1, 3)})
    refuses(lambda: unpack(slots, b"\x00\x7c" + packed[2:]), "w", "damaged")  # infinity in float16
