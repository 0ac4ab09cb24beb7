"""Weights in fewer bits: by hand, how far the logits move, and that nothing else changes."""

import pytest
import torch
from tiny import PRESETS, refuses, tiny_model, token_ids
from torch import nn
from torch.nn import functional as F

from nanogpt.config import SampleConfig
from nanogpt.sampling.generate import generate_ids
from nanogpt.sampling.precision import FEW_ROWS, BFloat16Linear, Int8Linear, lower_precision


def test_int8_by_hand():
    linear = nn.Linear(3, 3)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[127.0, -63.4, 0.4], [0.25, 0.0, -0.5], [0.0, 0.0, 0.0]]))
        linear.bias.copy_(torch.tensor([5.0, 7.0, 3.0]))
    layer = Int8Linear(linear)
    assert layer.scale.tolist()[:2] == [1.0, pytest.approx(0.5 / 127, rel=2**-8)]
    assert layer.weight.tolist() == [[127, -63, 0], [64, 0, -127], [0, 0, 0]]
    assert layer(torch.tensor([[1.0, 1.0, 1.0]])).tolist() == [[69.0, pytest.approx(6.75, rel=0.01), 3.0]]


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


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("precision", "kind"), [("bfloat16", BFloat16Linear), ("int8", Int8Linear)])
def test_every_matrix_is_lowered_and_the_model_stays(preset, precision, kind):
    model, idx, prompt = tiny_model(preset), token_ids(3, 7), token_ids(5)
    before = {name: p.clone() for name, p in model.named_parameters()}
    low = lower_precision(model, precision)
    assert sum(isinstance(module, kind) for module in low.modules()) == 4 * model.config.n_layer + 1
    assert not any(isinstance(module, nn.Linear) for module in low.modules())
    assert low.token_embedding.weight is model.token_embedding.weight
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    moved = (low(idx).log_softmax(-1) - model(idx).log_softmax(-1)).abs()
    assert 0 < moved.mean() < 0.1
    found = generate_ids(model, prompt, SampleConfig(tokens=9, temperature=0.0, precision=precision))
    assert [*found] == [*generate_ids(low, prompt, SampleConfig(tokens=9, temperature=0.0))]


def test_float32_is_the_model_itself_and_int8_is_for_cpus():
    model = tiny_model()
    assert lower_precision(model, "float32") is model
    refuses(lambda: lower_precision(model.to("meta"), "int8"), "int8", "--device cpu")
