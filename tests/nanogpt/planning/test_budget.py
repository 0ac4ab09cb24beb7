import pytest
import torch
from tiny import tiny_config, token_ids

from nanogpt.data.tokenize import Dataset
from nanogpt.planning import budget
from nanogpt.planning.budget import (
    COMPILE_SECONDS,
    EVALUATIONS,
    FEWEST_TOKENS,
    Speed,
    final_tokens,
    steps_within,
    with_compile,
    with_evaluations,
)

CONFIG = tiny_config(batch_size=16, eval_tokens=30_000, sample_tokens=100)
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture(scope="module")
def data():
    ids = token_ids(50_000).numpy()
    return Dataset(train=ids, val=ids, key="k")


def test_steps_by_hand(data):
    config = CONFIG.override(final_eval_tokens=20_000)
    others = (11 * 30_000 + 20_000) * 1e-5 + 10 * 100 * 1e-3
    assert steps_within(config, data, 60, Speed(0.1, 1e-5, 1e-3)) == int((60 - others) / 0.1)
    assert steps_within(config, data, -5.0, Speed(1.0, 1.0, 1.0)) == 10


@pytest.mark.parametrize("seconds", [10, 30, 100])
@pytest.mark.parametrize("slow", [1, 10])
def test_a_short_training_evaluates_less(data, seconds, slow):
    speed = Speed(0.1, 2e-5 * slow, 5e-3 * slow)
    config = with_evaluations(CONFIG, data, seconds, speed, ())
    on_the_way = (EVALUATIONS + 1) * config.train.eval_tokens * speed.read
    assert on_the_way <= 0.0601 * seconds or config.train.eval_tokens == FEWEST_TOKENS
    assert EVALUATIONS * config.train.sample_tokens * speed.written <= 0.0301 * seconds
    final = final_tokens(config, data)
    assert final * speed.read <= 0.0501 * seconds or final == config.train.eval_tokens


@pytest.mark.parametrize(("seconds", "final"), [(1, 2500), (10, 5000), (1000, 5000)])
def test_the_final_evaluation_of_a_preset_is_not_made_longer(data, seconds, final):
    config = CONFIG.override(eval_tokens=2048, final_eval_tokens=5000)
    assert with_evaluations(config, data, seconds, Speed(0.1, 2e-5, 1e-3), ()).train.final_eval_tokens == final


def test_no_time_is_left(data):
    """Reading a long text took all the time: train a little, and write no samples."""
    found = with_evaluations(CONFIG, data, -5.0, Speed(0.1, 2e-5, 1e-3), ()).train
    assert (found.eval_tokens, found.final_eval_tokens, found.sample_tokens) == (FEWEST_TOKENS, FEWEST_TOKENS, 0)


def test_named_settings_stay(data):
    named = {"eval_tokens", "sample_tokens", "final_eval_tokens"}
    assert with_evaluations(CONFIG, data, 1, Speed(1.0, 1.0, 1.0), named) == CONFIG


@pytest.mark.parametrize(
    ("seconds", "step", "compiler", "mode", "device", "chosen"),
    [
        (60, 0.1, True, "auto", CPU, "off"),
        (1800, 0.1, True, "auto", CPU, "off"),
        (3600, 3.0, True, "auto", CPU, "on"),
        (3600, 0.1, True, "auto", CPU, "on"),
        (3600, 0.1, False, "auto", CPU, "off"),
        (60, 0.1, True, "on", CPU, "on"),
        (36_000, 0.1, True, "off", CPU, "off"),
        (300, 1.0, False, "auto", CUDA, "off"),
        (900, 1.0, False, "auto", CUDA, "auto"),
    ],
)
def test_compile_where_it_saves_more_than_it_takes(  # noqa: PLR0917
    monkeypatch, seconds, step, compiler, mode, device, chosen
):
    monkeypatch.setattr(budget, "has_compiler", lambda: compiler)
    config, taken, speed = with_compile(tiny_config(compile=mode), seconds, Speed(step, 1e-5, 1e-3), device)
    assert config == tiny_config(compile=chosen)
    assert taken == (0.0 if chosen == "off" else COMPILE_SECONDS)
    assert speed.step == pytest.approx(step * (0.95 if mode == "auto" and chosen == "on" else 1))
