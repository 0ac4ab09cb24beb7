"""Embeddings on a plane."""

import numpy as np
import pytest
import torch
from kinds import KINDS, model_of
from tiny import BLOCK, V
from torch.testing import assert_close

from nanogpt.explain import position_map, position_plane, token_map, token_plane
from nanogpt.explain.embeddings import principal_plane


def test_by_hand():
    # A cross in the plane of channels 2 and 0, not around zero: variances 2 x 25 and 2 x 4, and none in channel 1.
    x = torch.tensor([[0.0, 0, 5], [0, 0, -5], [2, 0, 0], [-2, 0, 0]]) + torch.tensor([7.0, 11, 13])
    plane = principal_plane(x)
    assert_close(plane.points, torch.tensor([[5.0, 0], [-5, 0], [0, 2], [0, -2]]))
    assert plane.shares == pytest.approx((50 / 58, 8 / 58))


def test_against_the_singular_values():
    x = torch.randn(23, 7, generator=torch.Generator().manual_seed(5))
    plane = principal_plane(x)
    centred = x.double().numpy() - x.double().numpy().mean(0)
    left, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign([axis[np.abs(axis).argmax()] for axis in axes[:2]])
    assert np.abs(plane.points.numpy() - left[:, :2] * sizes[:2] * signs).max() < 1e-5
    assert plane.shares == pytest.approx(tuple(sizes[:2] ** 2 / (sizes**2).sum()))


def test_the_other_side_is_the_other_side():
    x = torch.randn(11, 5, generator=torch.Generator().manual_seed(5))
    assert_close(principal_plane(-x).points, -principal_plane(x).points)  # not turned back by the choice of signs
    assert_close(principal_plane(x.flip(0)).points, principal_plane(x).points.flip(0))


@pytest.mark.parametrize(("rows", "channels"), [(1, 5), (5, 1), (1, 1), (3, 2)])
def test_few_vectors_or_channels(rows, channels):
    x = torch.arange(rows * channels).view(rows, channels).float()
    plane = principal_plane(x)
    assert plane.points.shape == (rows, 2)
    assert plane.points.isfinite().all()
    assert plane.shares == pytest.approx((float(rows > 1), 0.0))  # all on a line, or one point


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_model(kind):
    model = model_of(kind)
    tokens, positions = token_map(model), position_map(model)
    assert (tokens.shape, tokens.dtype, tokens.requires_grad) == ((V, 2), torch.float32, False)
    assert torch.equal(tokens, token_map(model))
    assert torch.equal(tokens, principal_plane(model.token_embedding.weight).points)
    first, second = token_plane(model).shares
    assert 1 > first > second > 0
    if model.config.position == "rope":
        assert positions is None
        assert position_plane(model) is None
    else:
        assert positions.shape == (BLOCK, 2)
        table = model.sinusoids if model.config.position == "sinusoidal" else model.position_embedding.weight
        assert torch.equal(positions, principal_plane(table).points)
