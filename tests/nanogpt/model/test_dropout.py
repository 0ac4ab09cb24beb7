"""Dropout by sample: what a mask depends on, and that it is as random as it should be."""

import math

import pytest
import torch
from tiny import token_ids
from torch import nn

from nanogpt.config import load_preset
from nanogpt.model.dropout import Dropout, hash_elements, keep_bits, mask_out, seed_dropout
from nanogpt.model.gpt import GPT


def layers(count=2, share=0.3):
    return nn.Sequential(nn.Linear(1, 1), *(Dropout(share) for _ in range(count))).train()


def masks(seed, step, samples, size=(7, 11), share=0.3):
    """Which elements each of two layers keeps, (2, B, 7, 11)."""
    model = layers(share=share)
    seed_dropout(model, seed, step, samples)
    return torch.stack([model[place](torch.ones(len(samples), *size)) > 0 for place in (1, 2)])


def test_kept_elements_are_scaled_and_the_others_zero():
    model = layers(share=0.25)
    seed_dropout(model, 1, 0, range(3))
    x = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    y = model[1](x)
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / 0.75)
    assert 0.6 < kept.float().mean() < 0.9


def test_the_gradient_goes_where_the_elements_went():
    model = layers()
    seed_dropout(model, 1, 0, range(3))
    x = torch.randn(3, 5, requires_grad=True)
    y = model[1](x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, (y != 0) / 0.7)


def test_a_mask_is_a_function_of_seed_step_sample_and_layer():
    one = masks(1, 2, [3])
    assert torch.equal(one, masks(1, 2, [3]))
    others = [masks(5, 2, [3]), masks(1, 5, [3]), masks(1, 2, [5]), one.flip(0)]
    assert all(0.3 < (one != other).float().mean() < 0.55 for other in others)  # 2 x 0.3 x 0.7


def test_a_samples_mask_does_not_depend_on_the_others():
    together = masks(1, 2, range(5))
    for sample in range(5):
        assert torch.equal(together[:, sample], masks(1, 2, [sample])[:, 0])
    assert torch.equal(together[:, 2:4], masks(1, 2, [2, 3]))


def test_torchs_random_numbers_play_no_part_and_are_left_alone():
    model, before = layers(), torch.get_rng_state()
    seed_dropout(model, 1, 2, [3])
    one = model[1](torch.ones(1, 7, 11))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(7)
    assert torch.equal(one, model[1](torch.ones(1, 7, 11)))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_the_share_is_kept_to(share):
    size = (101, 103)
    kept = masks(1, 2, range(7), size, share).float().mean().item()
    deviation = math.sqrt(max(share * (1 - share), 1e-9) / (2 * 7 * 101 * 103))
    assert abs(kept - (1 - share)) < 4 * deviation


def test_masks_have_no_pattern():
    """Rows, layers, neighbours and powers of two apart: the correlation is that of independent numbers."""
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
    keys = torch.arange(16, dtype=torch.int32)  # keys in a row, the hardest for a hash
    halves = hash_elements(keys, 4096).view(torch.int16).view(-1, 2).long()  # two elements' fates
    for half in halves.T:
        counts = torch.bincount((half + 2**15) >> 8, minlength=256)
        chi_square = ((counts - 256.0) ** 2 / 256).sum()
        assert 150 < chi_square < 370  # 255 degrees of freedom: 255 give or take 23
    low, high = ((halves + 2**15) >> 12).T  # and the two have nothing to do with each other
    counts = torch.bincount(low * 16 + high, minlength=256)
    assert 150 < ((counts - 256.0) ** 2 / 256).sum() < 370


def test_without_keys_they_are_torchs_random_numbers():
    layer, x = Dropout(0.3).train(), torch.ones(5, 7)
    torch.manual_seed(3)
    found, other = layer(x), layer(x)
    torch.manual_seed(3)
    assert torch.equal(found, layer(x))
    assert not torch.equal(found, other)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_mask_does_not_depend_on_the_number_format(kind):
    model, x = layers(), torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    seed_dropout(model, 1, 0, range(3))
    found = model[1](x.to(kind))
    assert found.dtype == kind
    assert torch.equal(found != 0, model[1](x) != 0)
    torch.testing.assert_close(found.float(), model[1](x), rtol=2e-2, atol=0)


def test_nothing_is_kept_for_the_backward_pass_but_keys():
    model, x, kept = layers(), torch.randn(3, 5, 7, requires_grad=True), []
    seed_dropout(model, 1, 0, range(3))
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        model[1](x)
    assert [t.shape for t in kept] == [(3,)]


def test_gradients_by_differences():
    keys = torch.tensor([2, 3, 5], dtype=torch.int32)
    layer = layers()[1]
    layer.keys = keys
    x = torch.randn(3, 5, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, x)


def test_a_mask_is_all_bits_or_none():
    bits = keep_bits(torch.arange(11, dtype=torch.int32), 7, 0.3)
    assert bits.shape == (11, 7)
    assert set(bits.unique().tolist()) == {-1, 0}
    assert torch.equal(bits[:, :3], keep_bits(torch.arange(11, dtype=torch.int32), 3, 0.3))  # whatever comes after
    x = torch.tensor([[-2.5, torch.inf, 0.5, torch.nan, -0.0, 3.0, 7.0]]).expand(11, -1)
    kept = mask_out(x, bits)
    assert torch.equal(kept[bits == 0], torch.zeros((bits == 0).sum()))
    torch.testing.assert_close(kept[bits != 0], x[bits != 0], equal_nan=True, rtol=0, atol=0)


def test_it_is_off_in_evaluation_and_at_zero():
    x = torch.ones(5, 7)
    assert Dropout(0.3).eval()(x) is x
    assert Dropout(0.0).train()(x) is x


def test_every_dropout_of_a_model_is_seeded_attention_too():
    config = load_preset("lecture").override(
        vocab_size=37, block_size=11, n_layer=2, n_head=3, n_embd=12, dropout=0.5, embedding_dropout=0.5
    )
    model = GPT(config.model).train()
    ids = token_ids(3, 7)
    seen = []
    for torch_seed in (1, 2):
        torch.manual_seed(torch_seed)
        seed_dropout(model, 1, 2, range(3))
        seen.append(model(ids))
    assert torch.equal(*seen)
    seed_dropout(model, 1, 2, [2, 0, 1])
    torch.testing.assert_close(model(ids[[2, 0, 1]]), seen[0][[2, 0, 1]])  # the masks go with the samples
    assert "keys" not in " ".join(model.state_dict())


def test_attention_dropout_leaves_the_mean_as_it_was():
    """Over many masks the output's mean is that without dropout, and no position sees its future."""
    config = load_preset("lecture").override(
        vocab_size=37, block_size=11, n_layer=1, n_head=2, n_embd=6, dropout=0.0, attention_dropout=0.4
    )
    model = GPT(config.model)
    attention = model.blocks[0].attention
    x = torch.randn(1, 5, 6, generator=torch.Generator().manual_seed(0)).expand(4001, -1, -1)
    expected = attention.eval()(x[:1], None, None)
    attention.train()
    seed_dropout(model, 1, 0, range(4001))
    found = attention(x, None, None)
    torch.testing.assert_close(found.mean(0), expected[0], atol=0.02, rtol=0)
    changed = x.clone()
    changed[:, 3:] = 7.0
    torch.testing.assert_close(attention(changed, None, None)[:, :3], found[:, :3])


def test_a_second_derivative_is_refused():
    """A mask over bits is no product that torch could follow: the number would be wrong without a word."""
    x, dy = (torch.randn(3, 5, 7, requires_grad=True) for _ in range(2))
    (dx,) = torch.autograd.grad(layers()[1](x), x, dy, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        dx.square().sum().backward()
