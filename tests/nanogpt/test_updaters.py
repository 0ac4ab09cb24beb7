"""AdamW against torch's, bit for bit; and what it is for: a start without torch's compiler."""

import subprocess
import sys

import pytest
import torch

from nanogpt.updaters import AdamW

SETTINGS = {"lr": 0.05, "betas": (0.8, 0.95)}


def parameters():
    generator = torch.Generator().manual_seed(3)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((5, 7), (11,), (2, 3, 13))]


def groups_of(ps):
    return [{"params": ps[:1], "weight_decay": 0.3}, {"params": ps[1:], "weight_decay": 0.0}]


@pytest.mark.parametrize("fused", [True, False])
def test_as_torchs(fused):
    ours, theirs = parameters(), parameters()
    mine = AdamW(groups_of(ours), **SETTINGS)
    mine.fused = fused
    other = torch.optim.AdamW(groups_of(theirs), **SETTINGS, fused=fused)
    generator = torch.Generator().manual_seed(5)
    for step in range(4):
        for p, q in zip(ours, theirs):
            p.grad = torch.randn(p.shape, generator=generator) if step != 2 or p.ndim > 1 else None
            q.grad = None if p.grad is None else p.grad.clone()
        for one in (mine, other):
            one.step()
            one.zero_grad()
        assert all(p.grad is None for p in ours)
        for p, q in zip(ours, theirs):
            torch.testing.assert_close(p, q, rtol=0 if fused else 1e-6, atol=0 if fused else 1e-7)
            for name in ("exp_avg", "exp_avg_sq", "step"):
                torch.testing.assert_close(mine.state[p][name], other.state[q][name], rtol=1e-6, atol=1e-8)


def test_a_step_without_gradients_changes_nothing():
    ps = parameters()
    before = [p.clone() for p in ps]
    AdamW(groups_of(ps), **SETTINGS).step()
    assert all(torch.equal(p, q) for p, q in zip(ps, before))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_is_made_without_torchs_compiler(optimizer):
    code = f"""
import sys
from tiny import SMALL_RUN, start, finish
finish(start("run", steps=2, optimizer={optimizer!r}, dropout=0.1))
print(*{{"torch._dynamo", "sympy", "torch.distributed.tensor"}} & sys.modules.keys())
"""
    path = [entry for entry in sys.path if entry]
    environment = {"PYTHONPATH": ":".join(path), "OMP_NUM_THREADS": "1", "NANOGPT_CACHE": "cache"}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.strip() == ""
