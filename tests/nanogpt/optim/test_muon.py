"""Muon: orthogonal directions, and updates worked by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nanogpt.optim.muon import Muon, orthogonalise


def moved(gradient, *rows, **settings):
    """The weights after one update from 0, with a learning rate of 1."""
    weight = nn.Parameter(torch.zeros(gradient.shape))
    weight.grad = gradient.clone()
    Muon([{"params": [weight], "rows": rows or (len(gradient),)}], lr=1.0, **settings).step()
    return weight.detach()


@given(st.integers(1, 7), st.integers(1, 11), st.integers(0, 11), st.integers(-8, 8), st.integers(0, 1000))
def test_singular_values_come_near_one_whatever_the_scale(n, rows, more, magnitude, seed):
    generator = torch.Generator().manual_seed(seed)
    left = torch.linalg.qr(torch.randn(n, rows, rows, generator=generator)).Q
    right = torch.linalg.qr(torch.randn(n, rows + more, rows, generator=generator)).Q
    values = torch.rand(n, rows, 1, generator=generator) * 0.95 + 0.05
    result = orthogonalise(10.0**magnitude * left @ (values * right.mT))
    found = torch.linalg.svdvals(result)
    assert found.max() < 1.25
    assert found.min() > 0.6
    # Singular directions stay: between them the result is diagonal.
    middle = left.mT @ result @ right
    assert (middle - torch.diag_embed(middle.diagonal(dim1=-2, dim2=-1))).abs().max() < 0.01


def test_matrices_do_not_mix():
    three = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(2))
    alone = torch.cat([orthogonalise(matrix[None]) for matrix in three])
    torch.testing.assert_close(orthogonalise(three), alone, rtol=0, atol=1e-5)


def test_two_updates_by_hand():
    # A diagonal keeps its directions, so the iterations are those of single numbers.
    def quintic(s):
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        return s

    weight = nn.Parameter(torch.diag(torch.tensor([2.0, 3.0])))
    muon = Muon([{"params": [weight], "rows": (2,)}], lr=0.1, momentum=0.75, weight_decay=0.5)
    expected, mean = [2.0, 3.0], [0.0, 0.0]
    for gradient in ([0.3, -0.4], [0.1, 0.7]):
        weight.grad = torch.diag(torch.tensor(gradient))
        muon.step()
        mean = [0.75 * m + 0.25 * g for m, g in zip(mean, gradient)]
        ahead = [0.75 * m + 0.25 * g for m, g in zip(mean, gradient)]
        norm = sum(value**2 for value in ahead) ** 0.5
        expected = [w * (1 - 0.1 * 0.5) - 0.1 * quintic(a / norm) for w, a in zip(expected, ahead)]
        torch.testing.assert_close(weight.detach(), torch.diag(torch.tensor(expected)), rtol=0, atol=1e-4)
        torch.testing.assert_close(muon.state[weight]["momentum"], torch.diag(torch.tensor(mean)))


def test_a_tall_matrix_moves_by_the_root_of_its_shape():
    gradient = torch.randn(28, 7, generator=torch.Generator().manual_seed(3))
    tall, wide = moved(gradient, momentum=0.0), moved(gradient.T, momentum=0.0)
    torch.testing.assert_close(tall, 2 * wide.T, rtol=0, atol=1e-5)
    assert torch.linalg.svdvals(wide).max() < 1.25


def test_parts_of_a_parameter_are_matrices_of_their_own():
    gradient = torch.randn(13, 7, generator=torch.Generator().manual_seed(5))
    together = moved(gradient, 11, 2)
    parts = torch.cat([moved(gradient[:11]), moved(gradient[11:])])
    torch.testing.assert_close(together, parts, rtol=0, atol=1e-6)
    assert not torch.allclose(together, moved(gradient), atol=1e-2)


def test_without_a_gradient_nothing_moves():
    still, other = nn.Parameter(torch.ones(3, 5)), nn.Parameter(torch.ones(3, 5))
    other.grad = torch.ones(3, 5)
    muon = Muon([{"params": [still, other], "rows": (3,)}])
    muon.step()
    assert torch.equal(still, torch.ones(3, 5))
    assert not torch.equal(other, torch.ones(3, 5))
    assert list(muon.state) == [other]
    assert muon.defaults == {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.1}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_iterations_in_a_precision(precision):
    assert torch.equal(moved(torch.zeros(3, 5), precision=precision), torch.zeros(3, 5))  # no direction
    gradient = torch.randn(3, 5, generator=torch.Generator().manual_seed(3))
    expected = -orthogonalise(gradient[None].to(precision))[0].float()
    torch.testing.assert_close(moved(gradient, momentum=0.0, precision=precision), expected, rtol=0, atol=1e-6)


def test_wide_and_tall_matrices_of_one_shape_are_one_batch(monkeypatch):
    shapes = []
    monkeypatch.setattr("nanogpt.optim.muon.orthogonalise", lambda x: shapes.append(tuple(x.shape)) or x)
    weights = [nn.Parameter(torch.zeros(shape)) for shape in ((6, 4), (4, 6), (4, 4))]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    Muon([{"params": [weight], "rows": (weight.size(0),)} for weight in weights]).step()
    assert sorted(shapes) == [(1, 4, 4), (2, 4, 6)]
