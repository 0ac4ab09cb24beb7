"""RMS normalisation: by hand, equal to its reference, and in the right number format."""

import pytest
import torch
from references import kept_for_backward, refuses_second_derivative, with_gradients
from tiny import C as WIDTH
from tiny import tiny_config
from torch.nn import functional as F

from nanogpt.model.gpt import Attention
from nanogpt.model.norm import RMSNorm, rms_norm_reference

ROWS, C = (3, 5, 2), 7
X = torch.randn(*ROWS, C, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
GAIN = 1 + 0.3 * torch.randn(C, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def fast(x, gain):
    norm = RMSNorm(C, eps=0.1)
    return torch.func.functional_call(norm, {"weight": gain}, x)


def plain(x, gain):
    return rms_norm_reference(x, gain, 0.1)


def test_by_hand():
    norm = RMSNorm(2, eps=0.5)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 3.0]))
    x = torch.tensor([1.0, 2.0], requires_grad=True)  # mean square 2.5, so the divisor is sqrt(3)
    y = norm(x)
    torch.testing.assert_close(y, torch.tensor([1.0, 6.0]) / 3**0.5)
    y[1].backward()  # y2 = 3 x2 / r: -3 x1 x2 / (2 r^3) and 3 / r - 3 x2^2 / (2 r^3)
    torch.testing.assert_close(x.grad, torch.tensor([-3.0, 9 - 6]) / 3**1.5)
    torch.testing.assert_close(norm.weight.grad, torch.tensor([0.0, 2.0]) / 3**0.5)


@pytest.mark.parametrize("strided", [False, True])
def test_it_equals_the_reference_and_torchs(strided):
    def of(function):
        return lambda x, gain: function(x.transpose(0, 1) if strided else x, gain)

    found = with_gradients(of(fast), [X, GAIN])
    for other in (plain, lambda x, gain: F.rms_norm(x, (C,), gain, 0.1)):
        torch.testing.assert_close(found, with_gradients(of(other), [X, GAIN]))
    with torch.no_grad():
        torch.testing.assert_close(of(fast)(X, GAIN), found[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_number_formats(dtype):
    """It computes in the gain's, so it is as exact as the input's allows."""
    x, gain, dy = X.to(dtype), GAIN.float(), X.roll(1, 0).to(dtype)
    found = with_gradients(fast, [x, gain], dy)
    assert [t.dtype for t in found] == [dtype, dtype, torch.float32]
    limit = torch.finfo(dtype).eps if dtype == torch.bfloat16 else 1e-6
    for one, other in zip(found, with_gradients(plain, [x.double(), gain.double()], dy)):
        torch.testing.assert_close(one.double(), other, rtol=limit, atol=limit)


def test_the_input_and_a_number_for_each_row_are_kept():
    gain = GAIN.float().requires_grad_()
    kept = kept_for_backward(lambda: fast(X.float().requires_grad_(), gain))
    assert [t.shape for t in kept] == [X.shape, (C,), (*ROWS, 1)]


def test_no_second_derivative():
    refuses_second_derivative(lambda x: fast(x, GAIN), X.clone())


@pytest.fixture
def autocast_as_on_cuda(monkeypatch):
    """bfloat16, where torch's own gives float32, as on CUDA since torch 2.12 and never on a CPU."""
    original = F.rms_norm

    def widened(x, shape, weight, eps):
        on = torch.is_autocast_enabled("cpu")
        return original(x.float(), shape, weight.float(), eps) if on else original(x, shape, weight, eps)

    monkeypatch.setattr(F, "rms_norm", widened)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        yield


@pytest.mark.usefixtures("autocast_as_on_cuda")
def test_under_autocast_the_number_format_stays_the_inputs():
    """Attention with dropout multiplies weights by values: that needs one number format."""
    x = X.bfloat16()
    found = fast(x, GAIN.float())
    with torch.autocast("cpu", enabled=False):
        expected = F.rms_norm(x, (C,), GAIN.bfloat16(), 0.1)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)
    layer = Attention(tiny_config(qk_norm=True, attention_dropout=0.2).model).train()
    assert layer(torch.randn(2, 5, WIDTH), None, None).dtype == torch.bfloat16
