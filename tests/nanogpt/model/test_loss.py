"""Cross-entropy in chunks: by hand, and equal to its reference."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from references import kept_for_backward, refuses_second_derivative, with_gradients
from torch.nn import functional as F

from nanogpt.model import loss
from nanogpt.model.loss import cross_entropy, cross_entropy_reference

B, T, V = 3, 5, 7
LOGITS = 4 * torch.randn(B, T, V, generator=torch.Generator().manual_seed(3))
TARGETS = torch.randint(V, (B, T), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("function", [cross_entropy, cross_entropy_reference])
def test_by_hand(function):
    logits = torch.tensor([[[0.0, 0.0], [math.log(3), 0.0]]], requires_grad=True)
    found = function(logits, torch.tensor([[1, 0]]))
    assert found.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    found.backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[[0.5, -0.5], [-0.25, 0.25]]]) / 2)


@given(st.integers(0, 16), st.sampled_from([torch.float32, torch.bfloat16]), st.sampled_from([1.0, 0.3]))
def test_it_equals_the_reference_whatever_the_chunks(rows, dtype, factor):
    def both_of(function):
        return with_gradients(lambda x: function(x, TARGETS), [LOGITS.to(dtype)], torch.tensor(factor))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, "CHUNK_LOGITS", rows * V)
        y, dx = both_of(cross_entropy)
    expected, expected_dx = both_of(cross_entropy_reference)
    assert (y.dtype, dx.dtype) == (torch.float32, dtype)
    torch.testing.assert_close(y, expected)
    limit = 3 * torch.finfo(dtype).eps
    torch.testing.assert_close(dx, expected_dx, rtol=limit, atol=limit * 1e-2)


def test_one_copy_of_the_logits_is_kept_in_their_format():
    logits = LOGITS.bfloat16().requires_grad_()
    kept = kept_for_backward(lambda: cross_entropy(logits, TARGETS))
    assert [(t.numel(), t.dtype) for t in kept] == [(B * T * V, torch.bfloat16)]


@pytest.mark.parametrize(("device", "sizes"), [("cuda", [6, 6, 3]), ("cpu", [15])])
def test_a_gpu_has_its_own_chunks(device, sizes, monkeypatch):
    chunks, plain = [], F.nll_loss
    monkeypatch.setattr(loss, "GPU_CHUNK_LOGITS", 6 * V + 1)
    monkeypatch.setattr(F, "nll_loss", lambda log, wanted, **how: chunks.append(len(log)) or plain(log, wanted, **how))
    monkeypatch.setattr(torch.Tensor, "device", torch.device(device))
    cross_entropy(LOGITS, TARGETS)
    assert chunks == sizes


def test_no_second_derivative():
    refuses_second_derivative(lambda x: cross_entropy(x, TARGETS), LOGITS.clone())
