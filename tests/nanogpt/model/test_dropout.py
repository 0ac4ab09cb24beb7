"""Dropout by sample: equal to its reference, what a mask depends on, and that it is random."""

import math

import pytest
import torch
from references import assert_as_exact, kept_for_backward, refuses_second_derivative
from tiny import tiny_model, token_ids
from torch import nn

from nanogpt.model.dropout import (
    Dropout,
    dropout_reference,
    element_bits,
    hash_elements,
    keep_bits,
    mask_out,
    seed_dropout,
)

KEYS = torch.tensor([2, 3, 5], dtype=torch.int32)
X = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def layers(count=2, p=0.3):
    return nn.Sequential(nn.Linear(1, 1), *(Dropout(p) for _ in range(count))).train()


def with_keys(p=0.3):
    layer = Dropout(p).train()
    layer.keys = KEYS
    return layer


def masks(seed, step, samples, size=(7, 11), p=0.3):
    """Which elements each of two layers keeps, (2, B, 7, 11)."""
    model = layers(p=p)
    seed_dropout(model, seed, step, samples)
    return torch.stack([layer(torch.ones(len(samples), *size)) > 0 for layer in model[1:]])


# The reference


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_it_equals_the_reference(dtype):
    found = assert_as_exact(with_keys(), lambda x: dropout_reference(x, KEYS, 0.3), [X], [dtype])
    kept = element_bits(X, KEYS, 0.3) != 0  # whatever the number format
    assert all(torch.equal(one != 0, kept) for one in found)
    torch.testing.assert_close(found[0][kept].double(), X[kept] / 0.7, rtol=1e-2, atol=0)


def test_a_mask_is_all_bits_or_none():
    bits = keep_bits(torch.arange(11, dtype=torch.int32), 7, 0.3)
    assert bits.shape == (11, 7)
    assert set(bits.unique().tolist()) == {-1, 0}
    assert torch.equal(bits[:, :3], keep_bits(torch.arange(11, dtype=torch.int32), 3, 0.3))  # whatever comes after
    x = torch.tensor([[-2.5, torch.inf, 0.5, torch.nan, -0.0, 3.0, 7.0]]).expand(11, -1)
    kept = mask_out(x, bits)
    assert torch.equal(kept[bits == 0], torch.zeros((bits == 0).sum()))
    torch.testing.assert_close(kept[bits != 0], x[bits != 0], equal_nan=True, rtol=0, atol=0)


def test_only_keys_are_kept_for_the_backward_pass():
    kept = kept_for_backward(lambda: with_keys()(X.clone().requires_grad_()))
    assert [t.shape for t in kept] == [(3,)]


def test_no_second_derivative():
    refuses_second_derivative(with_keys(), X.clone())


def test_it_is_off_in_evaluation_and_at_zero():
    assert Dropout(0.3).eval()(X) is X
    assert Dropout(0.0).train()(X) is X


# What a mask depends on


def test_masks_by_known_bits():
    """A run that is resumed or replayed by a later version draws the same masks."""
    hashes = [[-67054114, -85461143], [-883273755, -353854846], [1732284702, -2101599632]]
    assert hash_elements(KEYS, 2).tolist() == hashes
    assert masks(1, 2, [3], (8,)).long().tolist() == [[[1, 0, 1, 0, 1, 0, 0, 1]], [[1, 1, 0, 0, 0, 1, 1, 1]]]


def test_a_mask_is_a_function_of_seed_step_sample_and_layer_alone():
    one, model, state = masks(1, 2, [3]), layers(), torch.get_rng_state()
    seed_dropout(model, 1, 2, [3])
    model(torch.ones(1, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one, masks(1, 2, [3]))
    others = [masks(5, 2, [3]), masks(1, 5, [3]), masks(1, 2, [5]), one.flip(0)]
    assert all(0.3 < (one != other).float().mean() < 0.55 for other in others)  # 2 x 0.3 x 0.7
    together = masks(1, 2, range(5))
    assert all(torch.equal(together[:, [sample]], masks(1, 2, [sample])) for sample in range(5))
    assert torch.equal(together[:, 2:4], masks(1, 2, [2, 3]))


def test_without_keys_masks_are_torchs_random_numbers():
    layer = Dropout(0.3).train()
    torch.manual_seed(3)
    found, other = layer(X), layer(X)
    torch.manual_seed(3)
    assert torch.equal(found, layer(X))
    assert not torch.equal(found, other)
    assert layer.sample_keys(X.expand(3, 5, 7)[:, 0].repeat(400, 1)).long().abs().max() > 1.9e9  # of 32 bits


def test_keys_change_in_place_where_a_compiled_step_reads_them():
    model = layers()
    seed_dropout(model, 1, 0, [0, 1])
    keys, before = model[1].keys, model[1].keys.clone()
    seed_dropout(model, 1, 1, [0, 1])
    assert model[1].keys is keys
    assert not torch.equal(keys, before)
    for count in (3, 1):
        seed_dropout(model, 1, 1, range(count))
        assert model[1].keys.shape == (count,)


def test_every_dropout_of_a_model_is_seeded_attention_too():
    model, ids, found = tiny_model("lecture", dropout=0.5, embedding_dropout=0.5).train(), token_ids(3, 7), []
    for torch_seed in (1, 2):
        torch.manual_seed(torch_seed)
        seed_dropout(model, 1, 2, range(3))
        found.append(model(ids))
    assert torch.equal(*found)
    seed_dropout(model, 1, 2, [2, 0, 1])
    torch.testing.assert_close(model(ids[[2, 0, 1]]), found[0][[2, 0, 1]])  # the masks go with the samples
    assert "keys" not in " ".join(model.state_dict())


# Randomness


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_the_dropped_share(p):
    kept = masks(1, 2, range(7), (101, 103), p).float().mean().item()
    deviation = math.sqrt(max(p * (1 - p), 1e-9) / (2 * 7 * 101 * 103))
    assert abs(kept - (1 - p)) < 4 * deviation


def test_masks_have_no_pattern():
    """Between rows, layers, neighbours and powers of two, the correlation is that of independent numbers."""
    m = masks(1, 2, range(64), (32, 64), 0.5).float() * 2 - 1  # (2, 64, 32, 64), mean 0
    flat = m.flatten(2)  # (2, 64, 2048)
    limit = 4.5 / math.sqrt(64 * 2048)
    assert abs((flat[0] * flat[1]).mean()) < limit
    for distance in (1, 2, 3, 16, 64, 128, 1024):
        assert abs((flat[0, :, distance:] * flat[0, :, :-distance]).mean()) < 2 * limit, distance
    rows = flat[0] @ flat[0].T / 2048  # (64, 64)
    rows.fill_diagonal_(0)
    assert rows.abs().max() < 5.5 / math.sqrt(2048)
    columns = flat[0].T @ flat[0] / 64  # (2048, 2048): mean square 1 / 64
    columns.fill_diagonal_(0)
    assert columns.square().mean() == pytest.approx(1 / 64, rel=0.02)


def test_hashes_are_spread_evenly():
    keys = torch.arange(16, dtype=torch.int32)  # consecutive keys, the hardest for a hash
    halves = hash_elements(keys, 4096).view(torch.int16).view(-1, 2).long() + 2**15  # each decides over one element
    low, high = (halves >> 12).T
    for cells in (*(halves >> 8).T, low * 16 + high):  # each half, and the two together
        counts = torch.bincount(cells, minlength=256)
        assert 150 < ((counts - 256.0) ** 2 / 256).sum() < 370  # chi-square: 255 degrees of freedom, 255 +- 23
