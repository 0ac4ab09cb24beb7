"""The time machine, without a page."""

import pytest
import torch
from tiny import refuses, trained

from nanogpt.explain.trace import trace_text as look
from nanogpt.runs.run import load
from nanogpt.studio.learn.heatmap import attention_table, draw_attention, lens_table
from nanogpt.studio.learn.history import MOST_SHOWN, Question, look_back, steps_kept
from nanogpt.studio.shelf import Shelf


@pytest.fixture
def run(tmp_path):
    return trained("shelf/run", steps=8)


@pytest.fixture
def shelf(run):
    return Shelf(run.parent)


def test_each_step_is_the_model_of_that_step(run, shelf):
    from nanogpt.runs.folder import RunFolder

    steps = steps_kept(RunFolder(run))
    assert steps == [0, 1, 2, 4, 8]
    question = Question(prompt="cats", tokens=7, temperature=1.0, seed=5)
    found = {step: look_back(shelf, "run", step, question) for step in steps}
    for step, moment in found.items():
        alone = load(run, checkpoint=step)
        assert moment.prompt + moment.text == alone.generate("cats", tokens=7, temperature=1.0, seed=5)
        trace = look(alone, "cats")
        assert torch.allclose(torch.tensor(moment.attention), trace.attention)
        likeliest = trace.logits[-1].softmax(-1).max().item()
        assert moment.lens[-1].tokens[0][1] == pytest.approx(likeliest)
        assert len(moment.lens) == 3
    assert found[0].attention != found[8].attention
    assert found[0].lens != found[8].lens


def test_a_long_prompt_shows_its_newest_tokens(shelf):
    moment = look_back(shelf, "run", 8, Question(prompt="cats and dogs ran " * 3, tokens=1))
    assert len(moment.tokens) == min(MOST_SHOWN, 12)
    assert moment.skipped == 54 - len(moment.tokens)
    assert len(moment.weights(0, 0)) == len(moment.tokens)


def test_the_mean_of_heads_and_layers_beyond_the_last(shelf):
    moment = look_back(shelf, "run", 8, Question(prompt="cat", tokens=1))
    a, b = moment.weights(1, 0), moment.weights(1, 1)
    assert moment.weights(1, None)[2][0] == pytest.approx((a[2][0] + b[2][0]) / 2)
    assert moment.weights(9, 9) == b


def test_unknown_characters_and_steps(shelf, run):
    assert look_back(shelf, "run", 8, Question(prompt="c🦊at", tokens=1)).tokens == ("c", "a", "t")
    refuses(lambda: look_back(shelf, "run", 3, Question()), "0, 1, 2, 4, 8")
    refuses(lambda: look_back(shelf, "../run", 8, Question()), "no run")


def test_what_is_drawn_is_text(shelf):
    tokens, weights = ["<b>", "&"], [[1.0, 0.0], [0.25, 0.75]]
    html = draw_attention(tokens, weights, "Attention") + attention_table(tokens, weights)
    assert "<b>" not in html
    assert "looks at &amp; (2nd, 75 %), &lt;b&gt; (1st, 25 %)" in html
    assert html.count("<rect") == 3
    moment = look_back(shelf, "run", 8, Question(prompt="cat", tokens=1))
    assert lens_table(moment.lens).count("<tr>") == 4
