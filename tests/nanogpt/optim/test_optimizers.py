"""Parameter groups, the schedule worked by hand, and optimizers as torch's."""

import copy
import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from tiny import PRESETS, SMALL_RUN, B, T, finish, outcome, start, tiny_model, token_ids, write_text
from torch import nn

import nanogpt
from nanogpt.config import TrainConfig, load_preset
from nanogpt.model.gpt import GPT, Block
from nanogpt.optim.adamw import AdamW
from nanogpt.optim.muon import Muon
from nanogpt.optim.optimizers import block_matrices, make_optimizers
from nanogpt.optim.schedule import apply_schedule, learning_rate

# Groups


def groups_of(model, **settings):
    """The optimizer and the group of each parameter; a parameter is in one group."""
    optimizers = make_optimizers(model, TrainConfig(**settings))
    found = [
        (p, optimizer, group) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]
    ]
    names = {id(p): name for name, p in model.named_parameters()}
    result = {names[id(p)]: (type(optimizer), group) for p, optimizer, group in found}
    assert len(result) == len(found)
    return result


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_every_parameter_is_in_one_group(preset, tied, optimizer):
    """Muon has the matrices inside the blocks, AdamW the rest; matrices decay, vectors don't."""
    model = tiny_model(preset, tie_embeddings=tied, n_kv_head=1)
    found = groups_of(model, optimizer=optimizer, weight_decay=0.3, beta1=0.7, beta2=0.8, momentum=0.6)
    assert found.keys() == dict(model.named_parameters()).keys()
    for name, p in model.named_parameters():
        kind, group = found[name]
        inside = name.startswith("blocks.") and p.ndim == 2 and optimizer == "muon"
        assert kind is (Muon if inside else AdamW), name
        assert group["weight_decay"] == (0.3 if p.ndim == 2 else 0.0), name
        assert group["peak_momentum"] == 0.6 if inside else group["betas"] == (0.7, 0.8)


@pytest.mark.parametrize(("on", "run_format", "decay"), [("all", 2, 0.3), ("matrices", 2, 0.0), ("all", 1, 0.0)])
def test_what_decays(on, run_format, decay):
    model = tiny_model("lecture", format=run_format)
    found = groups_of(model, weight_decay=0.3, weight_decay_on=on)
    for name, p in model.named_parameters():
        assert found[name][1]["weight_decay"] == (0.3 if p.ndim == 2 else decay), name


def test_the_lectures_optimizer_is_torchs_default():
    config = load_preset("lecture").train
    models = [tiny_model("lecture", seed=5) for _ in range(2)]
    ours = make_optimizers(models[0], config)
    theirs = [torch.optim.AdamW(models[1].parameters(), lr=config.learning_rate)]
    for model, optimizers in zip(models, (ours, theirs)):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = 0.1
        for _ in range(3):
            model(token_ids(B, T)).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
            model.zero_grad()
    for (name, p), q in zip(models[0].named_parameters(), models[1].parameters()):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-6, msg=name)


def test_a_frozen_parameter_is_in_none():
    model = tiny_model()
    model.token_embedding.weight.requires_grad_(False)
    model.blocks[0].mlp.up.weight.requires_grad_(False)
    missing = dict(model.named_parameters()).keys() - groups_of(model).keys()
    assert missing == {"token_embedding.weight", "blocks.0.mlp.up.weight"}
    assert make_optimizers(model.requires_grad_(False), TrainConfig()) == []


def test_the_matrices_that_a_parameter_is_made_of():
    model = tiny_model("modern", n_embd=20, n_head=5, n_kv_head=1, head_size=6, mlp_hidden=7)
    rows = {name: block_matrices(model).get(p) for name, p in model.blocks[0].named_parameters() if p.ndim == 2}
    assert rows == {
        "attention.qkv.weight": (30, 6, 6), "attention.proj.weight": (20,), "mlp.up.weight": (7, 7), "mlp.down.weight": (20,),
    }  # fmt: skip
    assert groups_of(model, optimizer="muon")["blocks.0.attention.qkv.weight"][1]["rows"] == (30, 6, 6)
    assert block_matrices(nn.Linear(2, 3)) == {}


def test_matrices_of_a_block_of_ones_own_are_found_too():
    class OwnBlock(Block):
        def __init__(self, config):
            super().__init__(config)
            self.extra = nn.Linear(3, 5)
            self.table = nn.Parameter(torch.zeros(2, 3, 7))

    model = GPT(tiny_model("gpt2").config, block=OwnBlock)
    assert block_matrices(model)[model.blocks[1].extra.weight] == (5,)
    found = groups_of(model, optimizer="muon", vector_rate=0.25)
    assert found["blocks.0.table"][0] is AdamW
    assert [found[f"blocks.0.{name}"][1]["lr_scale"] for name in ("table", "extra.bias")] == [1.0, 0.25]


RATES = {"embedding_rate": 3.0, "head_rate": 0.2, "vector_rate": 0.7}


@pytest.mark.parametrize(
    ("preset", "tied", "rates"),
    [
        ("lecture", False, {"token_embedding.weight": 0.3, "position_embedding.weight": 0.3, "lm_head.weight": 0.02}),
        ("lecture", True, {"token_embedding.weight": 0.3, "lm_head.bias": 0.02}),
        ("modern", False, {"blocks.1.mlp.up.weight": 0.1, "final_norm.weight": 0.07, "lm_head.weight": 0.02}),
    ],
)
def test_the_learning_rate_of_each_kind_of_parameter(preset, tied, rates):
    model = tiny_model(preset, tie_embeddings=tied)
    optimizers = make_optimizers(model, TrainConfig(optimizer="muon", momentum=0.95, **RATES))
    apply_schedule(optimizers, 150, 0.1)
    found = {p: group["lr"] for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    names = dict(model.named_parameters())
    assert {name: found[names[name]] for name in rates} == pytest.approx(rates)
    assert all(group["momentum"] == pytest.approx(0.9) for group in optimizers[0].param_groups)


# Schedule


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
        ({"warmup": 0.0, "decay": 1.0, "schedule": "cosine"}, [2, 1 + 0.5**0.5, 1, 1 - 0.5**0.5]),
        ({"warmup": 0.0, "decay": 0.5, "final_lr": 0.2, "schedule": "cosine"}, [2, 2, 2, 1.2]),
        ({"warmup": 0.5, "decay": 0.0, "schedule": "cosine"}, [1, 2, 2, 2]),
    ],
)
def test_the_schedule_worked_by_hand(settings, expected):
    assert rates(4, **settings) == pytest.approx(expected)


def test_a_cosine_is_nanogpts_formula_after_the_warm_up():
    steps, warm, low = 17, 5, 0.2
    expected = [
        low + 0.5 * (1 + math.cos(math.pi * (it - warm) / (steps - warm))) * (2 - low) for it in range(warm, steps)
    ]
    found = rates(steps, warmup=warm / steps, decay=1 - warm / steps, final_lr=low / 2, schedule="cosine")
    assert found[warm:] == pytest.approx(expected)


@given(st.integers(1, 500), st.floats(0, 0.99), st.floats(0, 1), st.floats(0, 1), st.sampled_from(["linear", "cosine"]))
def test_the_schedule_rises_to_its_peak_and_falls(steps, warmup, decay, final_lr, schedule):
    found = rates(steps, warmup=warmup, decay=decay, final_lr=final_lr, schedule=schedule)
    assert all(0 < rate <= 2.0 for rate in found)
    top = found.index(max(found))
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)


@pytest.mark.parametrize(
    ("peak", "step", "momentum"),
    [(0.95, 0, 0.85), (0.95, 100, 0.85 + 0.1 / 3), (0.95, 300, 0.95), (0.95, 5000, 0.95), (0.5, 7, 0.5)],
)
def test_momentum_rises_and_stays(peak, step, momentum):
    (muon,) = optimizers = [Muon([{"params": [nn.Parameter(torch.ones(2, 3))], "rows": (2,), "peak_momentum": peak}])]
    apply_schedule(optimizers, step, 0.1)
    assert muon.param_groups[0]["momentum"] == pytest.approx(momentum)


# As torch's optimizers


def test_state_dicts_make_a_round_trip():
    def update(model, optimizers, steps):
        for step in steps:
            model(token_ids(2, 7, seed=step)).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
            model.zero_grad()
        return list(model.parameters())

    model = tiny_model()
    optimizers = make_optimizers(model, TrainConfig(optimizer="muon"), "bfloat16")
    assert optimizers[0].precision == torch.bfloat16
    update(model, optimizers, [1, 2])
    other = copy.deepcopy(model)
    restored = make_optimizers(other, TrainConfig(optimizer="muon", weight_decay=0.9), "bfloat16")
    for one, saved in zip(restored, optimizers):
        one.load_state_dict(copy.deepcopy(saved.state_dict()))
    assert all(map(torch.equal, update(model, optimizers, [3, 4]), update(other, restored, [3, 4])))


STEP = """
from tiny import tiny_model, token_ids
from nanogpt.config import TrainConfig, load_preset
from nanogpt.optim.optimizers import make_optimizers
model = tiny_model()
optimizers = make_optimizers(model, TrainConfig(optimizer="muon"))
model(token_ids(2, 7)).mean().backward()
[optimizer.step() for optimizer in optimizers]
"""
TRAINING = """
from tiny import start, finish
finish(start("run", steps=2, optimizer="muon", dropout=0.1))
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [STEP, TRAINING], ids=["step", "training"])
def test_torchs_compiler_is_not_imported(code):
    """It would take seconds before the first step."""
    code += 'import sys; print(*{"torch._dynamo", "sympy", "torch.distributed.tensor"} & sys.modules.keys())'
    path = ":".join(entry for entry in sys.path if entry)
    environment = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "NANOGPT_CACHE": "cache"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == ""


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, as a researcher would write it."""

    def __init__(self, params, lr=1e-3):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                p.sub_(mean.lerp(p.grad, 0.1).sign(), alpha=group["lr"])
                mean.lerp_(p.grad, 0.01)


@pytest.mark.parametrize(
    ("make", "state"),
    [
        (Lion, {"mean"}),
        pytest.param(lambda params: torch.optim.SGD(params, momentum=0.9), {"momentum_buffer"}, marks=pytest.mark.slow),
        pytest.param(torch.optim.NAdam, {"exp_avg", "exp_avg_sq", "mu_product", "step"}, marks=pytest.mark.slow),
    ],
)
def test_an_optimizer_of_ones_own_trains_and_resumes_exactly(make, state):
    def optimizers(model, config, precision):
        return [make(model.parameters())]

    settings = SMALL_RUN | {"learning_rate": 0.01, "steps": 6, "optimizers": optimizers}
    whole = nanogpt.train(write_text(), out="whole", progress=False, **settings)
    finish(start("parts", stop_at=3, **settings))
    parts = nanogpt.train(resume="parts", optimizers=optimizers, progress=False)
    assert outcome(parts.path) == outcome(whole.path)
    saved = load_file(whole.path / "checkpoints" / "step-6" / "optimizer.safetensors")
    assert saved.keys() == {f"{name}:{key}" for name, _ in whole.model.named_parameters() for key in state}
