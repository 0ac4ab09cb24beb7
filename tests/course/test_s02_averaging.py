import pytest
import torch

from course import s02_averaging as s02

FOUR = (s02.mean_by_loop, s02.mean_by_matrix, s02.mean_by_softmax, s02.mean_by_cumsum)


@pytest.mark.parametrize("mean", FOUR, ids=lambda mean: mean.__name__)
def test_means_by_hand(mean) -> None:
    x = torch.tensor([[[2.0], [4.0], [9.0]], [[0.0], [-2.0], [8.0]]])  # (2, 3, 1)
    assert torch.allclose(mean(x), torch.tensor([[[2.0], [3.0], [5.0]], [[0.0], [-1.0], [2.0]]]))


@pytest.mark.parametrize("mean", FOUR, ids=lambda mean: mean.__name__)
def test_a_later_place_never_reaches_an_earlier_one(mean) -> None:
    x = torch.randn(2, 7, 3, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[:, 4] += 1
    moved = (mean(other) - mean(x)).abs().amax((0, 2)) > 1e-6
    assert moved.tolist() == [False] * 4 + [True] * 3


def test_causal_mask() -> None:
    assert s02.causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def test_the_frame_is_embedding_body_head() -> None:
    torch.manual_seed(0)
    model = s02.LanguageModel(11, 5, s02.Averaging())
    idx = torch.randint(11, (2, 7))
    expected = s02.mean_by_loop(model.token_embedding.weight[idx]) @ model.lm_head.weight.T + model.lm_head.bias
    assert model(idx).shape == (2, 7, 11)
    assert torch.allclose(model(idx), expected, atol=1e-6)


def test_the_picture_of_the_means_has_equal_weights_and_a_white_future() -> None:
    pytest.importorskip("matplotlib")
    axes = s02.draw_means(length=3).axes[0]
    drawn = axes.images[0].get_array()
    assert drawn.mask.tolist() == [[False, True, True], [False, False, True], [False, False, False]]
    assert drawn.compressed().tolist() == pytest.approx([1, 1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
    assert [text.get_text() for text in axes.texts] == ["1/1", "1/2", "1/2", "1/3", "1/3", "1/3"]
    assert [text.get_position() for text in axes.texts] == [(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2)]
    assert axes.images[0].get_clim() == (0, 1), "the scale of section 4"
