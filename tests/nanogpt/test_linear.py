"""One row by halves is the product."""

import pytest
import torch
from torch.nn import functional as F

from nanogpt.linear import Linear, one_row


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7,), (1, 7), (1, 1, 7)])
def test_one_row(bias, shape):
    layer = Linear(7, 10, bias=bias)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(one_row(x, layer.weight, layer.bias), F.linear(x, layer.weight, layer.bias))


def test_a_row_that_is_a_part_of_something():
    layer, many = Linear(7, 10), torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(3))
    for x in (many[:1, 2:3], many.transpose(0, 1)[2:3, 1:2], torch.randn(7, 3).t()[1]):
        torch.testing.assert_close(one_row(x, layer.weight, layer.bias), F.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize(
    ("rows", "N", "grad", "halved"), [(1, 10, False, 1), (2, 10, False, 0), (1, 11, False, 0), (1, 10, True, 0)]
)
def test_it_is_for_one_row_an_even_size_and_no_gradient(monkeypatch, rows, N, grad, halved):
    calls = []
    monkeypatch.setattr("nanogpt.linear.one_row", lambda *args: calls.append(args) or one_row(*args))
    layer, x = Linear(7, N), torch.randn(rows, 7, generator=torch.Generator().manual_seed(3))
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
    assert len(calls) == halved


def test_other_number_formats_are_torchs():
    layer, x = Linear(7, 10).double(), torch.ones(1, 7, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
