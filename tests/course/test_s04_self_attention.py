import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course import s04_self_attention as s04
from course.s02_averaging import mean_by_loop
from course.s03_positions import LearnedPositions, PositionedModel


@pytest.fixture
def head() -> s04.Head:
    torch.manual_seed(0)
    return s04.Head(n_embd=5, head_size=3)


def test_head_is_torchs_causal_attention(head: s04.Head) -> None:
    x = torch.randn(2, 7, 5)
    expected = F.scaled_dot_product_attention(head.query(x), head.key(x), head.value(x), is_causal=True)
    assert head(x).shape == (2, 7, 3)
    assert torch.allclose(head(x), expected, atol=1e-6)


def test_weights_by_hand() -> None:
    """Scores 0 and 2 / sqrt(2): the powers 1 and 4.113. A scale by D instead of its root gives 0.731, none 0.881."""
    q = torch.tensor([[5.0, 5.0], [0.0, 1.0]])
    k = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    assert torch.allclose(s04.attention_weights(q, k), torch.tensor([[1.0, 0.0], [0.1956, 0.8044]]), atol=1e-4)


def test_equal_scores_give_the_running_mean(head: s04.Head) -> None:
    nn.init.zeros_(head.key.weight)
    x = torch.randn(2, 7, 5)
    assert torch.allclose(head(x), mean_by_loop(head.value(x)), atol=1e-6)


def test_rows_sum_to_one_and_the_future_gets_nothing(head: s04.Head) -> None:
    weights = head.weights(torch.randn(2, 7, 5))
    assert weights.shape == (2, 7, 7)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 7))
    assert weights.triu(1).abs().max() == 0


@torch.no_grad()
def test_a_changed_future_leaves_earlier_logits(head: s04.Head) -> None:
    model = PositionedModel(11, 5, nn.Sequential(head, nn.Linear(3, 5)), LearnedPositions(7, 5))
    idx = torch.randint(11, (2, 7))
    for changed in range(7):
        other = idx.clone()
        other[:, changed] = (other[:, changed] + 1) % 11
        moved = (model(other) - model(idx)).abs().amax((0, 2)) > 1e-6
        assert moved.tolist() == [t >= changed for t in range(7)]


def test_the_picture_shows_blanks_and_hides_the_future() -> None:
    pytest.importorskip("matplotlib")
    weights = torch.full((2, 3, 3), 0.5)
    figure = s04.draw_matrices(weights, ["a", " ", "\n"], ["one", "two"])
    first = figure.axes[0]
    assert [label.get_text() for label in first.get_xticklabels()] == ["a", "␣", "⏎"]
    assert first.images[0].get_array().mask.sum() == 3  # the future is blank, not dark
    assert figure.axes[1].get_title() == "two"
