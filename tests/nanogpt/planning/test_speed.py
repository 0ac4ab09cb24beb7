import pytest
from tiny import tiny_config

from nanogpt.planning import budget
from nanogpt.planning.budget import Speed, Speeds, step_operations

CONFIG = tiny_config(batch_size=64)


def test_a_size_is_measured_once_and_one_that_takes_too_long_is_forecast(monkeypatch):
    asked, now = [], [0.0]

    def measure(config):
        asked.append(config.model.n_layer)
        now[0] += 1.0
        return Speed(step_operations(config) * 1e-6, 1e-9 * step_operations(config), 1.0)

    monkeypatch.setattr(budget.time, "perf_counter", lambda: now[0])
    speeds, sizes = Speeds(measure), [CONFIG.override(n_layer=layers) for layers in (1, 2, 3, 50)]
    for _ in range(2):
        assert [speeds(size, 40.0).step for size in sizes] == pytest.approx(
            [step_operations(size) * 1e-6 for size in sizes]
        )
    assert asked == [1]  # four seconds in all, one of them spent; but three steps of the next take longer than the rest
    assert speeds.spent == 1.0


def test_operations_by_hand():
    config = tiny_config(batch_size=5, accumulation=2)
    matrices = 2 * (13 * 3 * 30 + 30 * 13 + 13 * 2 * 17 + 17 * 13)
    assert step_operations(config) == 6 * (matrices + 37 * 13 + 2 * 11 * 30) * 5 * 2 * 11


def test_dropout_is_estimated_whatever_its_share():
    asked = []

    def measure(config):
        asked.append(config.model.dropout)
        return Speed(2.0, 3.0, 5.0)

    speeds = Speeds(measure)
    for share in (0.3, 0.1):
        assert speeds(CONFIG.override(dropout=share), 600) == Speed(2.0 * budget.DROPOUT_COST, 3.0, 5.0)
    assert asked == [0.0]


def test_dropout_of_attention_is_measured():
    asked = []
    speeds = Speeds(lambda config: asked.append(config.model.dropout) or Speed(2.0, 3.0, 5.0))
    for shares in ({"attention_dropout": None}, {"attention_dropout": 0.1}):
        assert speeds(CONFIG.override(dropout=0.3, **shares), 600).step == 2.0
    assert asked == [0.3, 0.3]
