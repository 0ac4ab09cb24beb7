"""AdamW compared with torch's class of that name."""

import pytest
import torch
from torch import nn

from nanogpt.optim.adamw import AdamW


def parameters():
    generator = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 5), (7,), (2, 11))]


def give_gradients(params, step):
    generator = torch.Generator().manual_seed(step)
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator)


@pytest.mark.parametrize("fused", [True, False])
def test_updates_are_those_of_torchs_own(fused):
    ours, theirs = parameters(), parameters()
    groups = [[{"params": p[:1], "lr": 0.05, "weight_decay": 0.3}, {"params": p[1:]}] for p in (ours, theirs)]
    settings = {"lr": 0.2, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}
    adamw, torchs = AdamW(groups[0], **settings), torch.optim.AdamW(groups[1], **settings)
    adamw.fused = fused
    for step in range(5):
        for params, optimizer in ((ours, adamw), (theirs, torchs)):
            give_gradients(params, step)
            optimizer.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_without_a_gradient_nothing_moves():
    params = parameters()
    give_gradients(params[:1], 0)
    before = [p.detach().clone() for p in params]
    adamw = AdamW(params)
    adamw.step()
    assert [torch.equal(p, q) for p, q in zip(params, before)] == [False, True, True]
    assert list(adamw.state) == params[:1]
    assert adamw.defaults == {"lr": 1e-3, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}


def test_other_devices_count_steps_on_the_cpu():
    """Their kernel is not the fused one, which reads the count on the device."""
    p = nn.Parameter(torch.empty(3, device="meta"))
    adamw = AdamW([p])
    assert AdamW(parameters()).fused
    assert not adamw.fused
    assert adamw._state(p)["step"].device.type == "cpu"
    adamw.state.clear()
    adamw.fused = True
    assert {value.device.type for value in adamw._state(p).values()} == {"meta"}
