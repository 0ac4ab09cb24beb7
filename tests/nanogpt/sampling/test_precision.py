"""Weights in fewer bits: what they are by hand, how far the logits move, and that nothing else changes."""

import pytest
import torch
from tiny import PRESETS, V, refuses, tiny_model, token_ids
from torch import nn
from torch.nn import functional as F

from nanogpt.config import SampleConfig
from nanogpt.sampling.generate import generate_ids
from nanogpt.sampling.precision import FEW_ROWS, BFloat16Linear, Int8Linear, lower_precision

EACH_PRESET = pytest.mark.parametrize("preset", PRESETS)


def layer_of(rows, bias=None):
    layer = nn.Linear(len(rows[0]), len(rows), bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(rows))
        if bias is not None:
            layer.bias.copy_(torch.tensor(bias))
    return layer


def test_eight_bits_by_hand():
    layer = Int8Linear(layer_of([[127.0, -63.4, 0.4], [0.25, 0.0, -0.5], [0.0, 0.0, 0.0]]))
    assert layer.scale.tolist()[:2] == [1.0, pytest.approx(0.5 / 127, rel=2**-8)]
    assert layer.weight.tolist() == [[127, -63, 0], [64, 0, -127], [0, 0, 0]]


def test_a_zero_row_gives_its_bias():
    layer = Int8Linear(layer_of([[0.0, 0.0], [1.0, 2.0]], bias=[3.0, 5.0]))
    assert layer(torch.tensor([[1.0, 1.0]])).tolist() == [[3.0, pytest.approx(8.0, rel=0.01)]]


@pytest.mark.parametrize("kind", [Int8Linear, BFloat16Linear])
@pytest.mark.parametrize("K", [7, 96])
@pytest.mark.parametrize("rows", [(), (1,), (3,), (2, 5), (FEW_ROWS,), (FEW_ROWS + 1,)])
def test_the_product_is_that_of_the_rounded_weights(kind, rows, K):
    layer = nn.Linear(K, 11)
    low, x = kind(layer), torch.randn(*rows, K, generator=torch.Generator().manual_seed(3))
    weight = low.weight.float() * (low.scale.float()[:, None] if kind is Int8Linear else 1)
    torch.testing.assert_close(weight, layer.weight, rtol=0.01, atol=layer.weight.abs().max().item() / 200)
    y = low(x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, F.linear(x.bfloat16().float(), weight, layer.bias), rtol=0.02, atol=0.02)


@EACH_PRESET
@pytest.mark.parametrize(("precision", "kind"), [("bfloat16", BFloat16Linear), ("int8", Int8Linear)])
def test_every_matrix_is_lowered_and_the_model_stays(preset, precision, kind):
    model = tiny_model(preset)
    before = {name: p.clone() for name, p in model.named_parameters()}
    low = lower_precision(model, precision)
    assert sum(isinstance(module, kind) for module in low.modules()) == 4 * model.config.n_layer + 1
    assert not any(isinstance(module, nn.Linear) for module in low.modules())
    assert low.token_embedding.weight is model.token_embedding.weight
    for name, p in model.named_parameters():
        assert torch.equal(p, before[name])
    idx = token_ids(3, 7)
    moved = (low(idx).log_softmax(-1) - model(idx).log_softmax(-1)).abs()
    assert 0 < moved.mean() < 0.1


def test_float32_is_the_model_itself():
    model = tiny_model()
    assert lower_precision(model, "float32") is model


@EACH_PRESET
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_generation_reads_the_lowered_model(preset, precision):
    model, prompt = tiny_model(preset), token_ids(5)
    config = SampleConfig(tokens=9, temperature=0.0, precision=precision)
    found = list(generate_ids(model, prompt, config))
    assert found == list(
        generate_ids(lower_precision(model, precision), prompt, SampleConfig(tokens=9, temperature=0.0))
    )
    assert all(0 <= token < V for (token,) in found)


def test_eight_bits_are_for_cpus():
    refuses(lambda: lower_precision(tiny_model().to("meta"), "int8"), "for CPUs", "--device cpu")
