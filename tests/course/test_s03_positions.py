import math

import pytest
import torch

from course import s03_positions as s03
from course.s02_averaging import Averaging


def test_sinusoids_are_the_papers() -> None:
    n_embd = 10
    rows = s03.SinusoidalPositions(n_embd)(7)
    for t in range(7):
        for i in range(n_embd // 2):
            angle = t / 10000 ** (2 * i / n_embd)
            assert rows[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert rows[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_positions_are_added_to_every_token() -> None:
    torch.manual_seed(0)
    positions = s03.LearnedPositions(block_size=7, n_embd=5)
    model = s03.PositionedModel(11, 5, Averaging(), positions)
    idx = torch.randint(11, (2, 3))
    expected = model.token_embedding.weight[idx] + positions.table.weight[:3]
    assert torch.equal(model.embed(idx), expected)


def test_a_place_beyond_the_block_is_refused_with_both_numbers() -> None:
    with pytest.raises(ValueError, match="8 tokens, but positions for 7"):
        s03.LearnedPositions(7, 5)(8)


def test_learned_positions_get_a_gradient(trained) -> None:
    """The loss would not show it: the plain mean does not need positions."""
    table = trained("s03_positions")[0].model.position_embedding.table.weight
    assert table.shape == (8, 32)
    assert table.grad.abs().sum() > 0
