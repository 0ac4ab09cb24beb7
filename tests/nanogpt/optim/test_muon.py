"""Muon: orthogonal directions, and one update worked by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nanogpt.optim.groups import Group
from nanogpt.optim.muon import Muon, momentum_at, orthogonalise


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
    # The singular directions stay: what is left of the middle is a diagonal.
    middle = left.mT @ result @ right
    assert (middle - torch.diag_embed(middle.diagonal(dim1=-2, dim2=-1))).abs().max() < 0.01


def test_matrices_do_not_mix():
    three = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(2))
    together = orthogonalise(three)
    for one, matrix in zip(together, three):
        assert torch.allclose(one, orthogonalise(matrix[None])[0], atol=1e-5)


def test_two_updates_by_hand():
    # A diagonal keeps its directions, so that the iterations are those of a single number.
    def quintic(s):
        for _ in range(5):
            s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
        return s

    weight = nn.Parameter(torch.diag(torch.tensor([2.0, 3.0])))
    muon = Muon([Group([weight], rate=0.2, weight_decay=0.5, rows=(2,))], momentum=0.75)
    expected, mean = [2.0, 3.0], [0.0, 0.0]
    for gradient in ([0.3, -0.4], [0.1, 0.7]):
        weight.grad = torch.diag(torch.tensor(gradient))
        muon.step(0, 0.5)
        mean = [0.75 * m + 0.25 * g for m, g in zip(mean, gradient)]
        ahead = [0.75 * m + 0.25 * g for m, g in zip(mean, gradient)]
        norm = sum(value**2 for value in ahead) ** 0.5
        expected = [w * (1 - 0.1 * 0.5) - 0.1 * quintic(a / norm) for w, a in zip(expected, ahead)]
        assert torch.allclose(weight, torch.diag(torch.tensor(expected)), atol=1e-4)


def test_a_tall_matrix_moves_by_the_root_of_its_shape():
    tall = nn.Parameter(torch.zeros(28, 7))
    wide = nn.Parameter(torch.zeros(7, 28))
    gradient = torch.randn(28, 7, generator=torch.Generator().manual_seed(3))
    tall.grad, wide.grad = gradient, gradient.T.clone()
    Muon([Group([tall], rows=(28,)), Group([wide], rows=(7,))], momentum=0.0).step(0, 1.0)
    assert torch.allclose(tall, 2 * wide.T, atol=1e-5)


def test_parts_are_matrices_of_their_own():
    generator = torch.Generator().manual_seed(5)
    gradient = torch.randn(13, 7, generator=generator)
    together, first, second = (nn.Parameter(torch.zeros(rows, 7)) for rows in (13, 11, 2))
    together.grad, first.grad, second.grad = gradient, gradient[:11].clone(), gradient[11:].clone()
    Muon([Group([together], rows=(11, 2))], 0.9).step(0, 0.3)
    Muon([Group([first], rows=(11,)), Group([second], rows=(2,))], 0.9).step(0, 0.3)
    assert torch.allclose(together, torch.cat([first, second]), atol=1e-6)
    whole = nn.Parameter(torch.zeros(13, 7))
    whole.grad = gradient
    Muon([Group([whole], rows=(13,))], 0.9).step(0, 0.3)
    assert not torch.allclose(together, whole, atol=1e-2)


def test_without_a_gradient_nothing_moves():
    still, moved = nn.Parameter(torch.ones(3, 5)), nn.Parameter(torch.ones(3, 5))
    moved.grad = torch.ones(3, 5)
    muon = Muon([Group([still, moved], weight_decay=0.1, rows=(3,))], 0.9)
    muon.step(0, 0.1)
    assert torch.equal(still, torch.ones(3, 5))
    assert not torch.equal(moved, torch.ones(3, 5))
    assert still not in muon.state


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_a_zero_gradient_gives_no_direction(precision):
    weight = nn.Parameter(torch.ones(3, 5))
    weight.grad = torch.zeros(3, 5)
    Muon([Group([weight], rows=(3,))], 0.9, precision).step(0, 0.1)
    assert torch.equal(weight, torch.ones(3, 5))


def test_momentum_rises_and_stays():
    weight = nn.Parameter(torch.zeros(2, 3))
    muon = Muon([Group([weight], rows=(2,))], 0.95)
    for step, momentum in ((0, 0.85), (100, 0.85 + 0.1 / 3), (300, 0.95), (5000, 0.95)):
        muon.state.clear()
        weight.grad = torch.ones(2, 3)
        muon.step(step, 0.1)
        assert torch.allclose(muon.state[weight]["momentum"], torch.full((2, 3), 1 - momentum))
    assert momentum_at(7, 0.5) == 0.5  # never above what was asked for
