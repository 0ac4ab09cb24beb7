"""A text token by token: the tokens and probabilities are the library's own."""

import pytest
import torch
from tiny import BLOCK, PRESETS, make_run, tiny_model, token_ids

from nanogpt.config import SampleConfig
from nanogpt.sampling.generate import generate_ids
from nanogpt.studio import generation
from nanogpt.studio.labels import level_of, percent
from nanogpt.text.bpe import BpeTokenizer, ByteTokenizer
from nanogpt.text.tokenizer import CharTokenizer

SETTINGS = [{"temperature": 1.3}, {"temperature": 0.0}, {"top_k": 5, "seed": 3}, {"top_p": 0.6}]
SETTINGS += [{"min_p": 0.2, "temperature": 2.0}]


def tokens_of(model, prompt, tokens, end=None, **settings):
    return [
        token for token, _ in generation.generate_logits(model, prompt, SampleConfig(tokens=tokens, **settings), end)
    ]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("preset", PRESETS)
def test_the_tokens_are_those_of_the_library(preset, settings):
    model, prompt = tiny_model(preset), token_ids(4)
    config = SampleConfig(tokens=2 * BLOCK + 3, **settings)
    wanted = [row[0] for row in generate_ids(model, prompt, config)]
    assert tokens_of(model, prompt.tolist(), 2 * BLOCK + 3, **settings) == wanted


def test_a_text_can_be_continued_and_stops_before_the_end_of_document():
    model, prompt = tiny_model(), token_ids(3).tolist()
    whole, first = tokens_of(model, prompt, 17), tokens_of(model, prompt, 6)
    assert first + tokens_of(model, prompt + first, 11) == whole
    assert tokens_of(model, prompt, 17, end=whole[7]) == whole[: whole.index(whole[7])]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_text_that_is_read_again_has_the_logits_it_was_sampled_from(preset):
    """Beyond block_size too, where the context window restarts."""
    model, prompt = tiny_model(preset), token_ids(4).tolist()
    written = list(generation.generate_logits(model, prompt, SampleConfig(tokens=3 * BLOCK, temperature=1.0)))
    ids = prompt + [token for token, _ in written]
    found = dict(generation.text_logits(model, ids))
    assert list(found) == list(range(1, len(ids)))
    for position, (_, logits) in enumerate(written, start=len(prompt)):
        torch.testing.assert_close(found[position], logits, rtol=1e-4, atol=1e-4)
    assert list(dict(generation.text_logits(model, ids, first=17))) == list(range(17, len(ids)))


@pytest.mark.parametrize("tokenizer", [ByteTokenizer(), BpeTokenizer.train(["a né né né"], 260)], ids=["byte", "bpe"])
def test_token_texts_add_up_to_the_text(tokenizer):
    ids = tokenizer.encode("né — 日本").tolist()
    parts = generation.token_texts(tokenizer, ids)
    assert len(parts) == len(ids)
    assert "".join(parts) == "né — 日本"
    assert generation.token_texts(ByteTokenizer(), list("é".encode())) == ["", "é"]


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def test_generated_and_read_predictions_are_the_same(run):
    ids = run.tokenizer.encode("hello").tolist()
    written = list(generation.generate_predictions(run, ids, SampleConfig(tokens=30, temperature=1.0)))
    again = list(generation.predict_text(run, ids + [one.choice.token for one in written], len(ids)))
    assert len(written) == len(again) > 0
    for one, other in zip(written, again):
        assert one.choice.token == other.choice.token
        assert one.choice.probability == pytest.approx(other.choice.probability, rel=1e-4)
        shares = [each.probability for each in one.alternatives]
        assert len(shares) == 10
        assert shares == sorted(shares, reverse=True)
        assert [bar.marked for bar in one.bars()].count(True) == (one.choice.rank <= 10)


def test_unknown_characters_are_named():
    tokenizer = CharTokenizer.train(["abc"])
    assert generation.unknown_characters(tokenizer, "axbya") == ["x", "y"]
    assert generation.unknown_warning(tokenizer, "abc") == generation.unknown_warning(ByteTokenizer(), "☃") == ""
    assert "“Z” ‹U+200B›: left out" in generation.unknown_warning(tokenizer, "a\u200bZ")
    assert "and 3 more" in generation.unknown_warning(tokenizer, "0123456789xyz")


@pytest.mark.parametrize(
    ("probability", "level", "text"),
    [(1.0, 0, "100 %"), (0.5, 0, "50.0 %"), (0.49, 1, "49.0 %"), (0.1, 2, "10.0 %"), (0.0999, 3, "9.99 %"),
     (0.02, 4, "2.00 %"), (0.0099, 5, "0.99 %"), (0.00009, 5, "< 0.01 %"), (0.0, 5, "0 %")],
)  # fmt: skip
def test_levels_and_percents(probability, level, text):
    assert level_of(probability) == level
    assert percent(probability) == text
