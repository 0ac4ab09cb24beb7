"""What goes to updates, and what to looking at a training on the way."""

import pytest
from tiny import tiny_config, token_ids

from nanogpt.data.dataset import Dataset
from nanogpt.planning.budget import EVALUATIONS, FEWEST_TOKENS, final_tokens, steps_within, with_evaluations
from nanogpt.planning.speed import Speed

CONFIG = tiny_config(batch_size=16, eval_tokens=30_000, sample_tokens=100)


@pytest.fixture
def data():
    ids = token_ids(50_000).numpy()
    return Dataset(train=ids, val=ids, key="k")


def test_steps_by_hand(data):
    config = CONFIG.override(final_eval_tokens=20_000)
    beside = (11 * 30_000 + 20_000) * 1e-5 + 10 * 100 * 1e-3
    assert steps_within(config, data, 60, Speed(0.1, 1e-5, 1e-3)) == int((60 - beside) / 0.1)
    assert steps_within(config, data, -5.0, Speed(1.0, 1.0, 1.0)) == 10


def test_a_long_training_looks_as_it_was_asked_to(data):
    assert with_evaluations(CONFIG, data, 3600, Speed(0.1, 1e-5, 1e-3), ()) == CONFIG


@pytest.mark.parametrize("seconds", [10, 30, 100])
@pytest.mark.parametrize("slow", [1, 10])
def test_a_short_one_looks_less(data, seconds, slow):
    speed = Speed(0.1, 2e-5 * slow, 5e-3 * slow)
    config = with_evaluations(CONFIG, data, seconds, speed, ())
    on_the_way = (EVALUATIONS + 1) * config.train.eval_tokens * speed.read
    assert on_the_way <= 0.0601 * seconds or config.train.eval_tokens == FEWEST_TOKENS
    assert EVALUATIONS * config.train.sample_tokens * speed.written <= 0.0301 * seconds
    final = final_tokens(config, data)
    assert final * speed.read <= 0.0501 * seconds or final == config.train.eval_tokens


def test_what_a_file_of_settings_reads_at_the_end_is_not_raised(data):
    for seconds, final in ((1, 2500), (10, 5000), (1000, 5000)):  # at 20 microseconds a token
        config = CONFIG.override(eval_tokens=2048, final_eval_tokens=5000)
        found = with_evaluations(config, data, seconds, Speed(0.1, 2e-5, 1e-3), ())
        assert found.train.final_eval_tokens == final


def test_no_time_is_left(data):
    """A long text was read in a short time: it still trains, and writes nothing on the way."""
    found = with_evaluations(CONFIG, data, -5.0, Speed(0.1, 2e-5, 1e-3), ()).train
    assert (found.eval_tokens, found.final_eval_tokens, found.sample_tokens) == (FEWEST_TOKENS, FEWEST_TOKENS, 0)


def test_what_was_named_stays(data):
    named = {"eval_tokens", "sample_tokens", "final_eval_tokens"}
    assert with_evaluations(CONFIG, data, 1, Speed(1.0, 1.0, 1.0), named) == CONFIG
