"""Comparison of a fast function with its plain reference, forward and backward, for tests."""

import pytest
import torch


def with_gradients(function, inputs, dy=None):
    """The result of a function and its gradients, for a gradient of the result that is random unless given."""
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    y = function(*leaves)
    if dy is None:
        dy = torch.randn(y.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    return [y.detach(), *torch.autograd.grad(y, leaves, dy.to(y.dtype))]


def assert_as_exact(fast, plain, inputs, dtypes):
    """In a number format the fast function is as exact as the reference, within a factor; `dtypes` has each input's."""
    low = [t.to(dtype) for t, dtype in zip(inputs, dtypes)]
    exact = with_gradients(plain, [t.double() for t in low])
    found, expected = with_gradients(fast, low), with_gradients(plain, low)
    assert [t.dtype for t in found[1:]] == list(dtypes)
    for one, other, truth in zip(found, expected, exact):
        error, limit = ((t.double() - truth).norm() / truth.norm() for t in (one, other))
        assert error < 2 * limit + 5e-7
    return found


def kept_for_backward(call):
    """The tensors that autograd keeps of a call."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        call()
    return kept


def refuses_second_derivative(function, x):
    """A backward pass written by hand takes parts for constants: a second derivative would be silently wrong."""
    y = function(x.requires_grad_())
    (dx,) = torch.autograd.grad(y, x, torch.ones_like(y).requires_grad_(), create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        dx.square().sum().backward()
