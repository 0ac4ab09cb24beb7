"""AdamW, beside torch's class of that name."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from nanogpt.optim.adamw import AdamW
from nanogpt.optim.groups import Group


def parameters():
    generator = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 5), (7,), (2, 11))]


def give_gradients(params, step):
    generator = torch.Generator().manual_seed(step)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator)


@pytest.mark.parametrize("fused", [True, False])
def test_the_updates_are_those_of_torchs_own(fused):
    ours, theirs = parameters(), parameters()
    adamw = AdamW([Group(ours[:1], rate=0.5, weight_decay=0.3), Group(ours[1:], rate=2.0)], (0.8, 0.9))
    adamw.fused = fused
    groups = [{"params": theirs[:1], "lr": 0.05, "weight_decay": 0.3}, {"params": theirs[1:], "lr": 0.2}]
    torchs = torch.optim.AdamW(groups, betas=(0.8, 0.9), weight_decay=0.0)
    for step in range(5):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        adamw.step(step, 0.1)
        torchs.step()
        for p, q in zip(ours, theirs):
            torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7)


def test_without_a_gradient_nothing_moves():
    params = parameters()
    give_gradients(params[:1], 0)
    before = [p.detach().clone() for p in params]
    adamw = AdamW([Group(params, weight_decay=0.1)], (0.9, 0.99))
    adamw.step(0, 0.1)
    assert [torch.equal(p, q) for p, q in zip(params, before)] == [False, True, True]
    assert list(adamw.state) == params[:1]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_is_made_without_torchs_compiler(optimizer):
    code = f"""
import sys
from tiny import start, finish
finish(start("run", steps=2, optimizer={optimizer!r}, dropout=0.1))
print(*{{"torch._dynamo", "sympy", "torch.distributed.tensor"}} & sys.modules.keys())
"""
    path = [entry for entry in sys.path if entry]
    environment = {"PYTHONPATH": ":".join(path), "OMP_NUM_THREADS": "1", "NANOGPT_CACHE": "cache"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == ""
