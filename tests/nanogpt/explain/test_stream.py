"""How large the stream is, and how much blocks change it."""

import pytest
import torch
from kinds import IDS, KINDS, model_of
from torch.testing import assert_close

from nanogpt.explain import Trace, growth, trace, updates

# Two layers, three positions, two channels.
STREAM = torch.tensor([[[3.0, 4.0], [0, 0], [0, 2]], [[6.0, 8.0], [0, 0], [0, -2]], [[6.0, 8.0], [1, 7], [0, -1]]])


def made(stream):
    nothing = torch.empty(0)
    return Trace(ids=(1, 2, 3), attention=nothing, stream=stream, logits=nothing)


def test_sizes_by_hand():
    wanted = torch.tensor([[12.5, 0, 2], [50, 0, 2], [50, 25, 0.5]]).sqrt()
    assert_close(growth(made(STREAM)), wanted)


def test_changes_by_hand():
    found = updates(made(STREAM))
    assert found.shape == (2, 3)
    assert found[:, [0, 2]].tolist() == [[1, 2], [0, 0.5]]
    assert found[0, 1] == 0  # nothing of nothing
    assert found[1, 1] > 1e20


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_model(kind):
    model = model_of(kind)
    found = trace(model, IDS)
    sizes, changes = growth(found), updates(found)
    assert sizes.shape == (model.config.n_layer + 1, 7)
    assert changes.shape == (model.config.n_layer, 7)
    x, after = found.stream[-2, 4], found.stream[-1, 4]
    assert_close(changes[-1, 4], (after - x).norm() / x.norm())
    assert_close(sizes[-1, 4], after.norm() / 13**0.5)
