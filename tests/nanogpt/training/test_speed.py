"""The speed of a machine, measured within bounds of time."""

import pytest
import torch
from tiny import tiny_config, token_ids

from nanogpt.data.tokenize import Dataset
from nanogpt.parallel.world import ALONE
from nanogpt.training import speed
from nanogpt.training.speed import measure_speed, seconds_per_step
from nanogpt.training.trainer import TrainStep, build_model

CONFIG = tiny_config(batch_size=64)
IDS = token_ids(2000).numpy()
DATA = Dataset(train=IDS[:1800], val=IDS[1800:], key="k")


@pytest.fixture
def clock(monkeypatch):
    """Replace steps and the clock: a step takes a time for each sequence, and one for the optimizer."""
    now, sequences = [0.0], []

    def set_(each, once):
        def step(self, step, lr):
            sequences.append(self.config.batch_sequences)
            now[0] += once + each * self.config.batch_sequences
            return token_ids(2).float()

        monkeypatch.setattr(TrainStep, "__call__", step)
        monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
        return sequences

    return set_


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize(("each", "once"), [(1e-4, 1e-3), (0.02, 0.01), (0.3, 0.2), (0.5, 0.0), (5.0, 1.0)])
def test_a_step_is_measured_whole_or_in_parts(clock, each, once, accumulation):
    sequences = clock(each, once)
    config = CONFIG.override(accumulation=accumulation)
    seconds = seconds_per_step(TrainStep(build_model(config), config.train, DATA, ALONE))
    assert seconds == pytest.approx(once + 64 * accumulation * each, rel=1e-6)
    assert max(sequences) == 2 if each >= 0.3 else sum(sequences) * each < 6


def test_a_small_size_is_measured_with_the_threads_that_will_train_it(monkeypatch):
    before, threads, measure = torch.get_num_threads(), [], speed.seconds_per_step
    monkeypatch.setattr(
        speed, "seconds_per_step", lambda step: threads.append(torch.get_num_threads()) or measure(step)
    )
    found = measure_speed(tiny_config(batch_size=3, threads=before + 2), DATA)
    assert 0 < found.read < found.written < found.step < 5
    assert (threads, torch.get_num_threads()) == ([before + 2], before)


@pytest.mark.parametrize(("step", "rows"), [(64.0, 1), (0.643, 89)])
def test_a_large_size_is_evaluated_in_part(monkeypatch, step, rows):
    asked = []
    monkeypatch.setattr(speed, "seconds_per_step", lambda train_step: step)
    monkeypatch.setattr(speed, "seconds_per_evaluated_token", lambda train_step, rows: asked.append(rows) or 1.0)
    measure_speed(CONFIG, DATA)
    assert asked == [rows]
