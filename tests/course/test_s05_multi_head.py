import copy
from dataclasses import replace

import pytest
import torch

from course import s05_multi_head as s05
from course.s01_bigram import evaluate


@torch.no_grad()
def test_each_heads_weights_are_that_heads() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 7, 15)
    looped = s05.MultiHead(15, 5)
    weights = s05.batch_heads(looped).weights(x)  # (B, H, T, T)
    assert weights.shape == (2, 5, 7, 7)
    for h, head in enumerate(looped.heads):
        assert torch.allclose(weights[:, h], head.weights(x), atol=1e-6)


def test_channels_that_cannot_be_shared_are_refused() -> None:
    with pytest.raises(ValueError, match=r"15 channels.* 4 heads"):
        s05.BatchedMultiHead(15, 4)


def test_switching_off_a_head_zeroes_its_output_and_leaves_the_model(trained) -> None:
    result, _ = trained("s05_multi_head")
    before = evaluate(result.model, result.validation, 8)
    attention, silent = result.model.body, s05.switch_off_head(result.model, 2).body
    x = torch.randn(2, 7, 32)
    with torch.no_grad():
        out = attention.weights(x) @ attention.split_heads(attention.value(x))  # (B, H, T, D)
        out[:, 2] = 0
        assert torch.allclose(silent(x), attention.proj(out.transpose(1, 2).flatten(2)), atol=1e-6)
    assert evaluate(result.model, result.validation, 8) == before


def test_measures_of_heads_with_equal_weights(trained) -> None:
    """Equal weights look back by the mean of 0, 1/2, ... 7/2 and have the mean entropy of ln 1 ... ln 8."""
    result = trained("s05_multi_head")[0]
    result = replace(result, model=copy.deepcopy(result.model))
    torch.nn.init.zeros_(result.model.body.query.weight)
    measured = s05.measure_heads(result)
    assert measured["distance"] == pytest.approx([1.75] * 4, rel=1e-5)
    assert measured["entropy"] == pytest.approx([torch.arange(1, 9).log().mean().item()] * 4, rel=1e-5)
    assert measured["difference"] == pytest.approx([0.0] * 4, abs=1e-6)


@pytest.mark.slow
def test_trained_heads_are_each_needed_and_each_different() -> None:
    """The section's claim that every head learns its own representation, on a real text."""
    from nanogpt.text.corpus import load_corpus

    result = s05.main(text=load_corpus("python").text[:1_000_000])
    measured = s05.measure_heads(result)
    assert min(measured["loss"]) > result.after.val + 0.02
    assert min(measured["difference"]) > 0.05
