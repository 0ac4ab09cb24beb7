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
