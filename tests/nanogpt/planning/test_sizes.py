"""The rules by which a training follows from its text."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from nanogpt.config import TrainConfig, load_preset
from nanogpt.planning.sizes import FORGETTING_EPOCHS, MOST_DECAY, SIZES, weight_decay_for


def test_a_weight_forgets_within_its_epochs_of_the_text():
    """By hand: after so many steps of (1 - rate · decay) a weight that learns nothing is 1/e of what it was."""
    train = TrainConfig(learning_rate=0.02, batch_size=7, accumulation=3, weight_decay=0.0)
    decay = weight_decay_for(1_000_003, train, 101)
    steps = FORGETTING_EPOCHS * 1_000_003 / (7 * 3 * 101)
    assert (1 - 0.02 * decay) ** steps == pytest.approx(0.3679, abs=0.001)


@given(tokens=some.integers(1, 10**12), block=some.integers(1, 4096))
def test_it_is_never_less_than_the_presets_nor_too_much(tokens, block):
    train = TrainConfig(weight_decay=0.13)
    assert 0.13 <= weight_decay_for(tokens, train, block) <= MOST_DECAY


def test_sizes_grow_and_all_of_them_can_be_made():
    found = [load_preset("modern").override(vocab_size=67, **size.settings()) for size in SIZES]
    capacities = [config.model.n_layer * config.model.n_embd**2 for config in found]
    assert capacities == sorted(capacities)
    assert all(config.model.head_channels % 2 == 0 for config in found)


def test_a_batch_is_shared_by_processes():
    assert SIZES[1].settings(processes=5)["batch_size"] == 20
