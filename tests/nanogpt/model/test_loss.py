"""The mean loss: by hand, and as torch's, whatever the pieces."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from nanogpt.model import loss
from nanogpt.model.loss import mean_loss

B, T, V = 3, 5, 7


def logits_and_targets(dtype=torch.float32, V=V):
    generator = torch.Generator().manual_seed(3)
    logits = 4 * torch.randn(B, T, V, generator=generator)
    return logits.to(dtype).requires_grad_(), torch.randint(V, (B, T), generator=generator)


def test_by_hand():
    logits = torch.tensor([[[0.0, 0.0], [math.log(3), 0.0]]], requires_grad=True)
    found = mean_loss(logits, torch.tensor([[1, 0]]))
    assert found.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    found.backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[[0.5, -0.5], [-0.25, 0.25]]]) / 2)


@given(st.integers(1, 16), st.sampled_from([torch.float32, torch.bfloat16]), st.sampled_from([1.0, 0.3]))
def test_it_is_torchs_whatever_the_pieces(rows, dtype, factor):
    logits, targets = logits_and_targets(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, "PIECE_LOGITS", rows * V)
        found = mean_loss(logits, targets)
        (gradient,) = torch.autograd.grad(found * factor, logits)
    expected = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
    (of_torch,) = torch.autograd.grad(expected * factor, logits)
    assert (found.dtype, gradient.dtype) == (torch.float32, dtype)
    torch.testing.assert_close(found, expected)
    limit = 3 * torch.finfo(dtype).eps
    torch.testing.assert_close(gradient, of_torch, rtol=limit, atol=limit * 1e-2)


def test_one_copy_of_the_logits_is_kept_and_in_their_format():
    logits, targets = logits_and_targets(torch.bfloat16)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        mean_loss(logits, targets)
    assert [(t.numel(), t.dtype) for t in kept] == [(B * T * V, torch.bfloat16)]


def test_a_second_derivative_is_refused():
    """The gradient is kept as a constant: what follows from it would be wrong without a word."""
    logits, targets = logits_and_targets()
    (gradient,) = torch.autograd.grad(
        mean_loss(logits, targets), logits, torch.ones((), requires_grad=True), create_graph=True
    )
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradient.square().sum().backward()


@pytest.mark.parametrize(("device", "sizes"), [("meta", [6, 6, 3]), ("cpu", [15])])
def test_a_gpu_has_pieces_of_its_own(device, sizes, monkeypatch):
    """Nothing is computed on `meta`, which takes the way of all devices but CPUs."""
    seen, plain = [], F.nll_loss
    monkeypatch.setattr(loss, "GPU_PIECE_LOGITS", 6 * V + 1)
    monkeypatch.setattr(F, "nll_loss", lambda log, wanted, **how: seen.append(len(log)) or plain(log, wanted, **how))
    mean_loss(*(t.to(device) for t in logits_and_targets()))
    assert seen == sizes
