"""The speed of a machine, measured within bounds of time."""

import pytest
import torch
from tiny import SMALL_RUN, tiny_config, token_ids

from nanogpt.data.batches import Dataset
from nanogpt.training import speed
from nanogpt.training.speed import measure_speed, seconds_per_step
from nanogpt.training.trainer import TrainStep, build_model


@pytest.fixture
def data():
    ids = token_ids(2000).numpy()
    return Dataset(train=ids[:1800], val=ids[1800:], key="k")


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that only steps move: by `each` per sequence, and by `once` for the optimizer."""
    now, asked = [0.0], []

    def set_(each, once):
        def step(self, step, lr):
            asked.append(self.config.batch_sequences)
            now[0] += once + each * self.config.batch_sequences
            return token_ids(2).float()

        monkeypatch.setattr(TrainStep, "__call__", step)
        monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
        return asked

    return set_


def train_step(config, data):
    return TrainStep(build_model(config), config.train, data)


CONFIG = tiny_config(batch_size=64)


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize(("each", "once"), [(1e-4, 1e-3), (0.02, 0.01), (0.3, 0.2), (5.0, 1.0)])
def test_a_step_is_measured_whole_or_from_parts_of_it(data, clock, each, once, accumulation):
    clock(each, once)
    config = CONFIG.override(accumulation=accumulation)
    expected = once + 64 * accumulation * each
    assert seconds_per_step(train_step(config, data)) == pytest.approx(expected, rel=1e-6)


def test_a_large_step_is_not_measured_whole(data, clock):
    asked = clock(0.5, 0.0)
    seconds_per_step(train_step(CONFIG, data))
    assert sum(asked) * 0.5 < 6
    assert max(asked) == 2


def test_a_small_size_is_measured(data):
    found = measure_speed(tiny_config(**SMALL_RUN), data)
    assert 0 < found.read < found.written < found.step < 1


def test_a_size_is_measured_with_the_threads_that_will_train_it(data, monkeypatch):
    before, asked = torch.get_num_threads(), []
    monkeypatch.setattr(speed, "seconds_per_step", lambda train_step: asked.append(torch.get_num_threads()) or 1.0)
    measure_speed(tiny_config(**SMALL_RUN, threads=before + 2), data)
    assert (asked, torch.get_num_threads()) == ([before + 2], before)


def test_a_large_size_is_read_in_part(data, monkeypatch):
    asked = []
    monkeypatch.setattr(speed, "seconds_per_step", lambda train_step: 64.0)
    monkeypatch.setattr(speed, "seconds_per_evaluated_token", lambda train_step, rows: asked.append(rows) or 1.0)
    measure_speed(CONFIG, data)
    monkeypatch.setattr(speed, "seconds_per_step", lambda train_step: 0.643)
    measure_speed(CONFIG, data)
    assert asked == [1, 89]
