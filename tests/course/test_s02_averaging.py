import pytest
import torch

from course import s02_averaging as s02


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
