"""RMS normalisation: the formula, its gradients, its number formats, and what is kept for the backward pass."""

import pytest
import torch
from tiny import C as WIDTH
from tiny import tiny_config
from torch.nn import functional as F

from nanogpt.model.gpt import Attention
from nanogpt.model.norm import RMSNorm

ROWS, C = (3, 5, 2), 7


def norm_and(dtype=torch.float64, eps=0.1):
    generator = torch.Generator().manual_seed(3)
    norm = RMSNorm(C, eps=eps).to(dtype if dtype == torch.float64 else torch.float32)
    with torch.no_grad():
        norm.weight.copy_(1 + 0.3 * torch.randn(C, generator=generator))
    x, dy = (torch.randn(*ROWS, C, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))
    return norm, x.requires_grad_(), dy


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


def test_gradients_by_differences():
    norm, x, _ = norm_and()
    assert torch.autograd.gradcheck(
        lambda x, weight: torch.func.functional_call(norm, {"weight": weight}, x), (x, norm.weight)
    )


@pytest.mark.parametrize("strided", [False, True])
def test_it_is_torchs(strided):
    norm, x, dy = norm_and()
    seen = x.transpose(0, 1) if strided else x
    dy = dy.transpose(0, 1) if strided else dy
    found = torch.autograd.grad(y := norm(seen), (x, norm.weight), dy)
    expected = torch.autograd.grad(z := F.rms_norm(seen, (C,), norm.weight, 0.1), (x, norm.weight), dy)
    torch.testing.assert_close((y, *found), (z, *expected))
    with torch.no_grad():
        torch.testing.assert_close(norm(seen), z)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_number_formats(dtype):
    """As exact as the format allows: all is computed in that of the gain."""
    norm, x, dy = norm_and(dtype)
    found = [y := norm(x), *torch.autograd.grad(y, (x, norm.weight), dy)]
    assert [t.dtype for t in found] == [dtype, dtype, torch.float32]
    exact, wide, wide_dy = (t.detach().double() for t in (norm.weight, x, dy))
    wide.requires_grad_(), exact.requires_grad_()
    truth = [z := F.rms_norm(wide, (C,), exact, 0.1), *torch.autograd.grad(z, (wide, exact), wide_dy)]
    limit = torch.finfo(dtype).eps if dtype == torch.bfloat16 else 1e-6
    for one, other in zip(found, truth):
        torch.testing.assert_close(one.double(), other, rtol=limit, atol=limit)


def test_the_input_and_a_number_a_row_are_kept():
    norm, x, _ = norm_and(torch.float32)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        norm(x)
    assert [t.shape for t in kept] == [x.shape, (C,), (*ROWS, 1)]


@pytest.fixture
def autocast_as_on_cuda(monkeypatch):
    """bfloat16, where torch's own gives float32, as on CUDA since torch 2.12 and never on a CPU."""
    plain = F.rms_norm

    def widened(x, shape, weight, eps):
        on = torch.is_autocast_enabled("cpu")
        return plain(x.float(), shape, weight.float(), eps) if on else plain(x, shape, weight, eps)

    monkeypatch.setattr(F, "rms_norm", widened)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        yield


@pytest.mark.usefixtures("autocast_as_on_cuda")
def test_under_autocast_the_number_format_stays_the_inputs():
    norm, x, _ = norm_and(torch.bfloat16)
    found = norm(x)
    with torch.autocast("cpu", enabled=False):
        expected = F.rms_norm(x, (C,), norm.weight.bfloat16(), 0.1)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)


@pytest.mark.usefixtures("autocast_as_on_cuda")
def test_under_autocast_queries_and_keys_go_with_their_values():
    """Attention with dropout multiplies weights by values itself: of two number formats there is no such product."""
    layer = Attention(tiny_config(qk_norm=True, attention_dropout=0.2).model).train()
    assert layer(torch.randn(2, 5, WIDTH), None, None).dtype == torch.bfloat16


def test_a_second_derivative_is_refused():
    """The backward pass takes the root for a constant: the number would be wrong without a word."""
    norm, x, dy = norm_and()
    (dx,) = torch.autograd.grad(norm(x), x, dy.requires_grad_(), create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        dx.square().sum().backward()
