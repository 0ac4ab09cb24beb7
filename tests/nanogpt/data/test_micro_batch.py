"""How many sequences are read at once: never more than asked for, and all of a step's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt.config import ModelConfig, TrainConfig
from nanogpt.data.micro_batch import CACHED_NUMBERS, micro_batch

WIDE = ModelConfig(n_embd=384, n_head=6, block_size=256)
NARROW = ModelConfig(n_embd=160, n_head=5, block_size=64)


@pytest.mark.parametrize(
    ("model", "batch_size", "accumulation", "device", "expected"),
    [
        (WIDE, 64, 1, "cpu", 8),
        (WIDE, 64, 1, "cuda", 64),
        (WIDE, 3, 2, "cpu", 3),
        (WIDE, 12, 1, "cpu", 6),  # two parts
        (WIDE, 15, 1, "cpu", 5),  # three equal parts rather than 8 and 7
        (WIDE, 13, 1, "cpu", 7),  # 7 and 6: there are no equal ones but single sequences
        (NARROW, 16, 1, "cpu", 16),
        (NARROW, 100, 1, "cpu", 50),
        (ModelConfig(n_embd=4096, block_size=1024), 4, 1, "cpu", 1),
    ],
)
def test_by_hand(model, batch_size, accumulation, device, expected):
    train = TrainConfig(batch_size=batch_size, accumulation=accumulation)
    assert micro_batch(model, train, device) == expected


def test_fsdp_gathers_weights_as_seldom_as_it_was_asked_to():
    train = TrainConfig(batch_size=64, parallel="fsdp")
    assert micro_batch(WIDE, train, "cpu", processes=2) == 32
    assert micro_batch(WIDE, train, "cpu") == 8


@given(st.integers(1, 300), st.integers(1, 5), st.sampled_from([1, 2, 3]))
def test_it_fits_and_is_not_needlessly_small(batch_size, accumulation, processes):
    train = TrainConfig(batch_size=batch_size * processes, accumulation=accumulation)
    size, share = micro_batch(WIDE, train, "cpu", processes), batch_size * accumulation
    most = min(batch_size * processes, CACHED_NUMBERS // (384 * 256))
    assert 1 <= size <= most
    parts = -(-share // size)
    assert parts <= 2 * -(-share // most)
    if share % parts == 0:
        assert size == share // parts
