import pytest
import torch
from torch import nn

from course import s09_dropout as s09
from course.s05_multi_head import BatchedMultiHead
from course.s06_feed_forward import FeedForward


def test_each_number_is_drawn_for_itself_and_anew() -> None:
    torch.manual_seed(0)
    dropout, x = s09.Dropout(0.5), torch.ones(13, 17)
    first, second = dropout(x), dropout(x)
    assert not torch.equal(first, second)
    assert first.sum(0).unique().numel() > 2
    assert first.sum(1).unique().numel() > 2


def test_dropout_is_off_in_evaluation() -> None:
    x = torch.randn(3, 5)
    assert s09.Dropout(0.9).eval()(x) is x
    assert s09.Dropout(0.0)(x) is x


@pytest.mark.parametrize("p", [-0.1, 1.0, 20])
def test_a_share_that_cannot_be_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match=str(p)):
        s09.Dropout(p)


@pytest.mark.parametrize(
    ("ours", "plain"),
    [(s09.DropoutMultiHead(15, 5, 0.5), BatchedMultiHead(15, 5)), (s09.DropoutFeedForward(15, 0.5), FeedForward(15))],
    ids=["heads", "feed-forward"],
)
def test_parts_are_the_earlier_ones_in_evaluation_and_have_gaps_in_training(ours: nn.Module, plain: nn.Module) -> None:
    torch.manual_seed(0)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(2, 7, 15)
    assert torch.equal(ours.eval()(x), plain(x))
    out = ours.train()(x)
    assert 0.3 < (out == 0).float().mean().item() < 0.7


def test_attention_weights_have_gaps_too() -> None:
    torch.manual_seed(0)
    heads = s09.DropoutMultiHead(15, 5, 0.5)
    allowed = heads.weights(torch.randn(2, 7, 15))[..., torch.ones(7, 7, dtype=torch.bool).tril()]
    assert 0.3 < (allowed == 0).float().mean().item() < 0.7


def test_overfitting_is_measured_on_the_way(trained) -> None:
    pair, _ = trained("s09_dropout", "overfit")
    assert [losses.step for losses in pair.curve] == list(range(16))
    assert "dropout 0.2" in pair.label
    assert "dropout 0.0" in pair.others[0].label


@pytest.mark.slow
def test_the_validation_loss_turns_around_without_dropout_only() -> None:
    from nanogpt.text.corpus import load_corpus

    pair = s09.overfit(text=load_corpus("python").text[50_000:60_000])
    without = pair.others[0]
    best = min(losses.val for losses in without.curve)
    assert without.after.train < without.after.val - 1.0
    assert without.after.val > best + 0.1
    assert pair.after.val < without.after.val - 0.1
