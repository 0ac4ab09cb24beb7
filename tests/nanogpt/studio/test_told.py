"""What the model thought, in words."""

import pytest
from tiny import make_run

from nanogpt.config import SampleConfig
from nanogpt.studio.told import about, first_prompt, read_told, unknown_in, unknown_told, write_told
from nanogpt.studio.words import level_of, percent
from nanogpt.text.tokenizer import ByteTokenizer, CharTokenizer


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def test_what_was_written_is_read_with_the_same_thoughts(run):
    ids = run.tokenizer.encode("hello").tolist()
    written = list(write_told(run, ids, SampleConfig(tokens=30, temperature=1.0)))
    again = list(read_told(run, ids + [one.choice.token for one in written], len(ids)))
    assert len(written) == len(again) > 0
    for one, other in zip(written, again):
        assert one.choice.token == other.choice.token
        assert one.choice.probability == pytest.approx(other.choice.probability, rel=1e-4)
        assert len(one.others) == 10
        shares = [each.probability for each in one.others]
        assert shares == sorted(shares, reverse=True)
        assert one.choice.rank > 10 or one.choice.token in [each.token for each in one.others]


def test_a_beginning_that_the_model_knows():
    assert first_prompt(CharTokenizer.train(["The "])) == "The "
    assert first_prompt(CharTokenizer.train(["the "])) == "the "
    assert first_prompt(CharTokenizer.train(["xyz"])) == ""


def test_unknown_characters():
    tokenizer = CharTokenizer.train(["abc"])
    assert unknown_in(tokenizer, "axbya") == ["x", "y"]
    assert unknown_told(tokenizer, "abc") == ""
    assert unknown_told(tokenizer, "a\u200bZ") == "The model never saw “Z” ‹U+200B›: left out."
    assert "and 3 more" in unknown_told(tokenizer, "0123456789xyz")
    assert unknown_told(ByteTokenizer(), "☃") == ""


def test_about_a_model(run):
    told = about(run)
    for word in (
        f"{run.model.parameter_count:,} parameters",
        "2 layers of 3 heads",
        "modern",
        "characters",
        "up to 11",
    ):
        assert word in told


@pytest.mark.parametrize(
    ("probability", "level", "told"),
    [(1.0, 0, "100 %"), (0.5, 0, "50.0 %"), (0.49, 1, "49.0 %"), (0.1, 2, "10.0 %"), (0.0999, 3, "9.99 %"),
     (0.02, 4, "2.00 %"), (0.0099, 5, "0.99 %"), (0.00009, 5, "< 0.01 %"), (0.0, 5, "0 %")],
)  # fmt: skip
def test_levels_and_percents(probability, level, told):
    assert level_of(probability) == level
    assert percent(probability) == told
