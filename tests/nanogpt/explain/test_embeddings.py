import numpy as np
import pytest
import torch
from kinds import model_of
from tiny import BLOCK, V
from torch.testing import assert_close

from nanogpt.explain.embeddings import position_plane, principal_plane, token_plane


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
    assert_close(principal_plane(-x).points, -plane.points)  # not turned back by the choice of signs


@pytest.mark.parametrize(("rows", "channels"), [(1, 5), (5, 1), (1, 1), (3, 2)])
def test_few_vectors_or_channels(rows, channels):
    plane = principal_plane(torch.arange(rows * channels).view(rows, channels).float())
    assert plane.points.shape == (rows, 2)
    assert plane.points.isfinite().all()
    assert plane.shares == pytest.approx((float(rows > 1), 0.0))  # all on a line, or one point


@pytest.mark.parametrize(("kind", "table"), [
    ("modern", None), ("gpt2", "position_embedding.weight"), ("the paper's", "sinusoids"),
])  # fmt: skip
def test_planes_of_a_model(kind, table):
    model = model_of(kind)
    tokens, positions = token_plane(model), position_plane(model)
    assert (tokens.points.shape, tokens.points.dtype, tokens.points.requires_grad) == ((V, 2), torch.float32, False)
    assert torch.equal(tokens.points, principal_plane(model.token_embedding.weight).points)
    assert 1 > tokens.shares[0] > tokens.shares[1] > 0
    if table is None:
        assert positions is None
    else:
        vectors = model.sinusoids if table == "sinusoids" else model.get_parameter(table)
        assert positions.points.shape == (BLOCK, 2)
        assert torch.equal(positions.points, principal_plane(vectors).points)
