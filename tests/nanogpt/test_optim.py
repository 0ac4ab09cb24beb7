"""The optimizer's groups and the learning rate, worked by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import PRESETS, tiny_model
from torch import nn

from nanogpt.config import TrainConfig
from nanogpt.optim import learning_rate, make_optimizer


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tied", [False, True])
def test_every_parameter_is_in_one_group(preset, tied):
    model = tiny_model(preset, tie_embeddings=tied, n_kv_head=1)
    groups = make_optimizer(model, TrainConfig()).param_groups
    seen = [id(p) for group in groups for p in group["params"]]
    assert len(seen) == len(set(seen))
    assert set(seen) == {id(p) for p in model.parameters()}


def test_matrices_decay_and_vectors_do_not():
    model = tiny_model("gpt2")
    optimizer = make_optimizer(model, TrainConfig(weight_decay=0.3))
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for name, p in model.named_parameters():
        matrix = name.endswith(("qkv.weight", "proj.weight", "up.weight", "down.weight")) or "embedding" in name
        assert decay[id(p)] == (0.3 if matrix or name == "lm_head.weight" else 0.0), name


def test_a_frozen_parameter_is_left_out():
    model = tiny_model()
    model.token_embedding.weight.requires_grad_(False)
    groups = make_optimizer(model, TrainConfig()).param_groups
    assert id(model.token_embedding.weight) not in {id(p) for group in groups for p in group["params"]}


def test_two_updates_by_hand():
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        layer.weight.fill_(2.0)
        layer.bias.fill_(3.0)
    config = TrainConfig(learning_rate=0.1, weight_decay=0.5, beta1=0.8, beta2=0.9)
    optimizer = make_optimizer(layer, config)
    weight, m, v = 2.0, 0.0, 0.0
    for step, gradient in enumerate((0.7, -0.2), 1):
        layer.weight.grad, layer.bias.grad = torch.full((1, 1), gradient), torch.zeros(1)
        optimizer.step()
        m, v = 0.8 * m + 0.2 * gradient, 0.9 * v + 0.1 * gradient**2
        weight *= 1 - 0.1 * 0.5
        weight -= 0.1 * (m / (1 - 0.8**step)) / (math.sqrt(v / (1 - 0.9**step)) + 1e-8)
        assert layer.weight.item() == pytest.approx(weight, rel=1e-5)
    assert layer.bias.item() == 3.0  # no gradient, and no decay


def rates(steps, **settings):
    config = TrainConfig(learning_rate=2.0, **settings)
    return [learning_rate(step / steps, (step + 1) / steps, config) for step in range(steps)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"warmup": 0.0, "decay": 0.0}, [2, 2, 2, 2]),
        ({"warmup": 0.5, "decay": 0.0}, [1, 2, 2, 2]),
        ({"warmup": 0.0, "decay": 0.5}, [2, 2, 2, 1]),
        ({"warmup": 0.0, "decay": 1.0}, [2, 1.5, 1, 0.5]),
        ({"warmup": 0.0, "decay": 1.0, "final_lr": 0.5}, [2, 1.75, 1.5, 1.25]),
        ({"warmup": 0.0, "decay": 0.5, "final_lr": 1.0}, [2, 2, 2, 2]),
        ({"warmup": 0.75, "decay": 0.75}, [2 / 3, 4 / 3, 4 / 3, 2 / 3]),  # they meet: the lower one rules
    ],
)
def test_the_schedule_worked_by_hand(settings, expected):
    assert rates(4, **settings) == pytest.approx(expected)


@given(
    st.integers(1, 500),
    st.floats(0, 0.99),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_the_schedule_stays_between_nothing_and_its_top(steps, warmup, decay, final_lr):
    found = rates(steps, warmup=warmup, decay=decay, final_lr=final_lr)
    assert all(0 < rate <= 2.0 for rate in found)
    top = found.index(max(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
