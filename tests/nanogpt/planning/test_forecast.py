"""The law of the forecast and a text's features; its fit is tested in tests/benchmarks/test_forecast.py."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from tiny import tiny_config

from nanogpt.config import load_preset
from nanogpt.planning.forecast import (
    NAMES,
    Forecast,
    TextFeatures,
    Training,
    columns,
    is_known,
    law,
    load_forecast,
    measure_text,
)

TEXT = TextFeatures(train_tokens=2_000_000, uniform=4.0, bigram=2.4, trigram=1.5)
RUN = Training(matrices=3_000_000, tokens=500_000, batch_tokens=5000, block_size=128, dropout=0.25)


def test_the_law_by_hand():
    c = dict.fromkeys(NAMES, 1.0) | {"size": 0.6, "tokens": 0.1, "context": 0.02, "excess": 0.07, "trigram_share": 0.5}
    c |= {"floor": 0.3, "updates": 0.05, "updates_power": 2.0}
    # A quarter dropped: tokens and updates are worth three quarters.
    ratio = 0.3 + 0.6 / 3 + 0.1 / 0.375 + 0.05 / 0.75**2 + 0.02 / 2
    ratio += 0.07 * (3 / 2) * math.log(1 + (0.375 / 32) ** 2)
    assert law(c, columns([TEXT], [RUN]))[0] == pytest.approx(math.sqrt(2.4 * 1.5) * ratio)
    again = replace(RUN, tokens=6_000_000)
    ratio = 0.3 + 0.6 / 3 + 0.1 / (2 + 2 * 1.0 * (1 - math.exp(-1.25 / 1.0))) + 0.05 / 9**2 + 0.02 / 2
    ratio += 0.07 * (3 / 2) * math.log(1 + (4.5 / 32) ** 2)
    assert law(c, columns([TEXT], [again]))[0] == pytest.approx(math.sqrt(2.4 * 1.5) * ratio)


def forecast(text=TEXT, **changed):
    return load_forecast().predict(text, replace(RUN, **changed))


@given(tokens=some.integers(10_000, 10**9), more=some.floats(1.01, 100))
def test_a_longer_text_is_never_worse(tokens, more):
    text = replace(TEXT, train_tokens=tokens)
    longer = replace(TEXT, train_tokens=int(tokens * more) + 1)
    assert forecast(longer).loss <= forecast(text).loss + 1e-9


@given(tokens=some.integers(1000, 10**9), more=some.floats(1.01, 100))
def test_more_tokens_of_a_text_that_is_read_once_are_never_worse(tokens, more):
    text = replace(TEXT, train_tokens=10**12)
    assert forecast(text, tokens=int(tokens * more) + 1).loss <= forecast(text, tokens=tokens).loss + 1e-9


def test_a_harder_text_has_a_higher_loss_and_none_is_above_guessing():
    assert forecast(replace(TEXT, trigram=1.9)).loss > forecast().loss
    assert forecast(tokens=1).loss == TEXT.uniform
    assert forecast(tokens=1).high == TEXT.uniform


def test_dropout_helps_a_large_model_on_a_short_text():
    short = replace(TEXT, train_tokens=100_000)
    assert forecast(short, tokens=10**7, dropout=0.3).loss < forecast(short, tokens=10**7, dropout=0.0).loss


def test_the_interval_by_hand():
    """Half of it is 2 sqrt(0.1² + the slope in the floor's logarithm, squared, times that's variance)."""
    c = load_forecast().coefficients
    covariance = np.zeros((len(NAMES), len(NAMES)))
    sure = Forecast(c, covariance, text_error=0.1, quantile=2.0).predict(TEXT, RUN)
    assert math.log(sure.high / sure.loss) == pytest.approx(0.2) == math.log(sure.loss / sure.low)
    covariance[0, 0] = 0.3**2
    open_ = Forecast(c, covariance, text_error=0.1, quantile=2.0).predict(TEXT, RUN)
    slope = c["floor"] * TEXT.trigram ** c["trigram_share"] * TEXT.bigram ** (1 - c["trigram_share"]) / sure.loss
    assert math.log(open_.loss / open_.low) == pytest.approx(2 * math.sqrt(0.1**2 + (0.3 * slope) ** 2), rel=1e-4)


def test_a_training_is_described_by_its_config():
    config = tiny_config(batch_size=5, accumulation=3, dropout=0.1)
    matrices = 2 * (13 * 3 * 30 + 30 * 13 + 13 * 2 * 17 + 17 * 13)
    found = Training.of(config, 7)
    assert found == Training(matrices=matrices, tokens=7 * 15 * 11, batch_tokens=15 * 11, block_size=11, dropout=0.1)


def test_only_the_default_kind_is_known():
    default = load_preset("modern")
    assert is_known(default.override(n_layer=7, n_embd=64, dropout=0.3))
    for other in (load_preset("gpt2"), default.override(optimizer="adamw"), default.override(norm="layer")):
        assert not is_known(other)


def test_features_of_tokens_that_follow_each_other():
    """0 1 0 1 …: nothing to guess once one token is known."""
    ids = np.tile(np.array([0, 1], dtype=np.uint8), 5000)
    found = measure_text(ids, ids[:1000], 2)
    assert (found.train_tokens, found.uniform) == (10_000, pytest.approx(math.log(2)))
    assert found.bigram < 0.01
    assert found.trigram < 0.01


def test_features_of_noise_and_of_next_to_nothing():
    noise = np.random.default_rng(5).integers(0, 7, 50_000).astype(np.uint8)
    found = measure_text(noise, noise[::-1][:5000], 7)
    assert found.bigram == pytest.approx(math.log(7), abs=0.01)
    assert measure_text(noise, noise[:2], 7).trigram == measure_text(noise[:2], noise, 7).trigram == math.log(7)
    assert measure_text(noise[:3], noise[:3], 7).trigram > 0


def test_it_is_the_validation_part_that_is_measured_and_all_of_the_training_part_that_counts(monkeypatch):
    monkeypatch.setattr("nanogpt.planning.forecast.COUNTED", 1000)
    monkeypatch.setattr("nanogpt.planning.forecast.MEASURED", 500)
    easy, hard = np.zeros(20_000, dtype=np.uint8), np.random.default_rng(5).integers(1, 7, 20_000).astype(np.uint8)
    both = np.concatenate([easy, hard])
    assert measure_text(both, easy, 7).bigram < 0.1
    assert measure_text(both, hard, 7).bigram > 1.7
    assert measure_text(both, hard, 7).bigram < measure_text(easy, hard, 7).bigram
