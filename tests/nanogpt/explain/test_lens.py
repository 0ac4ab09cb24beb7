"""What each layer would say next."""

import importlib

import pytest
import torch
from kinds import IDS, KINDS, by_hand, hook_count, model_of
from tiny import C, V, refuses
from torch.nn import functional as F
from torch.testing import assert_close

from nanogpt.explain import lens, lens_at, trace


@pytest.fixture(params=KINDS)
def model(request):
    return model_of(request.param)


@pytest.mark.parametrize("off", [[], [(0, 0)]])
def test_the_last_layer_says_what_the_model_says(model, off):
    found = trace(model, IDS, off)
    said = lens(model, found)
    assert said.shape == (model.config.n_layer + 1, len(IDS), V)
    assert torch.equal(said[-1], found.logits)
    assert (said[-2] - found.logits).abs().max() > 1e-3
    assert (said.dtype, said.requires_grad, hook_count(model)) == (torch.float32, False, 0)


def test_at_one_position(model):
    found = trace(model, IDS)
    said = lens(model, found)
    for position in (0, 4, 6, -1, -7):
        assert_close(lens_at(model, found, position), said[:, position], atol=1e-5, rtol=1e-5)


def test_earlier_layers_go_through_the_final_norm():
    model = model_of("biased")  # RMSNorm, and a bias in the output layer
    found = trace(model, IDS)
    x = found.stream[1]
    normed = x / (x.square().mean(-1, keepdim=True) + model.config.norm_eps).sqrt() * model.final_norm.weight
    wanted = F.linear(normed, model.lm_head.weight, model.lm_head.bias).detach()
    assert_close(lens(model, found)[1], wanted, atol=1e-5, rtol=1e-5)


def test_by_hand():
    model = by_hand()  # post-norm: the embeddings are read as they are
    with torch.no_grad():
        model.lm_head.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]]))
    said = lens(model, trace(model, [0, 1, 2]))
    assert said[0].tolist() == [[1, 3, 7], [2, 5, 11], [3, 8, 18]]


def test_a_model_all_of_bfloat16():
    model = model_of("modern").bfloat16()
    found = trace(model, IDS)
    assert torch.equal(lens(model, found)[-1], found.logits)
    assert_close(lens_at(model, found, 3)[-1], found.logits[3], atol=0.1, rtol=0)


def test_what_is_refused(monkeypatch):
    model = model_of("gpt2")
    found = trace(model, IDS)
    refuses(lambda: lens_at(model, found, 7), "no position 7", "0 to 6")
    refuses(lambda: lens_at(model, found, -8), "no position -8")
    module = importlib.import_module("nanogpt.explain.lens")
    monkeypatch.setattr(module, "MOST_NUMBERS", 3 * 7 * V)
    assert lens(model, found).numel() == 3 * 7 * V
    monkeypatch.setattr(module, "MOST_NUMBERS", 3 * 7 * V - 1)
    refuses(lambda: lens(model, found), "3 layers", "7 tokens", f"{3 * 7 * V} numbers", "lens_at")
    assert lens_at(model, found, 0).shape == (3, V)


def test_the_model_keeps_its_mode():
    model = model_of("lecture", dropout=0.3).train()
    found = trace(model, IDS)
    lens_at(model, found, C - C)
    assert all(module.training for module in model.modules())
