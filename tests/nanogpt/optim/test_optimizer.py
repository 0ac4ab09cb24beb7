"""The optimizer's groups and the learning rate, worked by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import PRESETS, tiny_model
from torch import nn

from nanogpt.config import TrainConfig
from nanogpt.model.gpt import GPT, Block
from nanogpt.optim.adamw import AdamW
from nanogpt.optim.muon import Muon
from nanogpt.optim.optimizer import learning_rate, make_optimizer, matrices_of


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tied", [False, True])
def test_every_parameter_is_in_one_group(preset, tied):
    model = tiny_model(preset, tie_embeddings=tied, n_kv_head=1)
    groups = make_optimizer(model, TrainConfig()).groups
    seen = [id(p) for group in groups for p in group.parameters]
    assert len(seen) == len(set(seen))
    assert set(seen) == {id(p) for p in model.parameters()}


def test_matrices_decay_and_vectors_do_not():
    model = tiny_model("gpt2")
    optimizer = make_optimizer(model, TrainConfig(weight_decay=0.3))
    decay = {id(p): group.weight_decay for group in optimizer.groups for p in group.parameters}
    for name, p in model.named_parameters():
        matrix = name.endswith(("qkv.weight", "proj.weight", "up.weight", "down.weight")) or "embedding" in name
        assert decay[id(p)] == (0.3 if matrix or name == "lm_head.weight" else 0.0), name


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tied", [False, True])
def test_muon_has_the_matrices_inside_the_blocks_and_adamw_the_rest(preset, tied):
    model = tiny_model(preset, tie_embeddings=tied, n_kv_head=1)
    optimizer = make_optimizer(model, TrainConfig(optimizer="muon"))
    assert [type(part) for part in optimizer.parts] == [Muon, AdamW]
    for name, p in model.named_parameters():
        inside = name.startswith("blocks.") and p.ndim == 2
        assert isinstance(optimizer.owner(p), Muon) == inside, name
    owned = [id(p) for group in optimizer.groups for p in group.parameters]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())


def test_a_matrix_put_together_from_several_is_known_by_its_rows():
    model = tiny_model("modern", n_embd=20, n_head=5, n_kv_head=1, head_size=6, mlp_hidden=7)
    rows = {name: matrices_of(model).get(p) for name, p in model.blocks[0].named_parameters() if p.ndim == 2}
    assert rows == {
        "attention.qkv.weight": (30, 6, 6), "attention.proj.weight": (20,), "mlp.up.weight": (7, 7), "mlp.down.weight": (20,),
    }  # fmt: skip


def test_matrices_of_a_block_of_ones_own_are_found_too():
    class OwnBlock(Block):
        def __init__(self, config):
            super().__init__(config)
            self.extra = nn.Linear(3, 5)
            self.table = nn.Parameter(torch.zeros(2, 3, 7))

    config = tiny_model("gpt2").config
    model = GPT(config, block=OwnBlock)
    matrices = matrices_of(model)
    assert matrices[model.blocks[1].extra.weight] == (5,)
    assert model.blocks[0].table not in matrices
    groups = make_optimizer(model, TrainConfig(optimizer="muon", vector_rate=0.25)).groups
    rate = {id(p): group.rate for group in groups for p in group.parameters}
    assert rate[id(model.blocks[0].table)] == 1.0
    assert rate[id(model.blocks[0].extra.bias)] == 0.25


def test_each_kind_has_its_own_learning_rate():
    model = tiny_model("gpt2")
    config = TrainConfig(optimizer="muon", learning_rate=0.5, embedding_rate=3.0, head_rate=0.2, vector_rate=0.7)
    optimizer = make_optimizer(model, config)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step(0, 0.1)
    rates = {id(p): 0.1 * group.rate for group in optimizer.groups for p in group.parameters}
    expected = {
        "token_embedding": 0.3,
        "position_embedding": 0.3,
        "blocks.0.mlp.up.bias": 0.07,
        "blocks.0.mlp.up.w": 0.1,
    }
    for name, p in model.named_parameters():
        for start, rate in expected.items():
            assert not name.startswith(start) or rates[id(p)] == pytest.approx(rate), name
    untied = make_optimizer(tiny_model("modern"), config).groups
    assert 0.2 in {group.rate for group in untied}
    assert 0.2 not in {group.rate for group in optimizer.groups}  # gpt2's head is its embedding


def test_a_frozen_parameter_is_left_out():
    model = tiny_model()
    model.token_embedding.weight.requires_grad_(False)
    groups = make_optimizer(model, TrainConfig()).groups
    assert id(model.token_embedding.weight) not in {id(p) for group in groups for p in group.parameters}


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
        optimizer.step(0, 0.1)
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
