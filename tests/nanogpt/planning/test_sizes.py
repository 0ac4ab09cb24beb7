"""The sizes that are weighed."""

from nanogpt.config import load_preset
from nanogpt.planning.sizes import SIZES


def test_sizes_grow_and_all_of_them_can_be_made():
    found = [load_preset("modern").override(vocab_size=67, **size.settings()) for size in SIZES]
    capacities = [config.model.n_layer * config.model.n_embd**2 for config in found]
    assert capacities == sorted(capacities)
    assert all(config.model.head_channels % 2 == 0 for config in found)


def test_a_batch_is_shared_by_processes():
    assert SIZES[1].settings(processes=5)["batch_size"] == 20
