import json

import pytest
from tiny import write_text

from nanogpt.planning.budget import Speed, step_operations
from nanogpt.training import speed


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """One that does 10^11 operations a second."""
    monkeypatch.setattr(speed, "measure_speed", lambda config, *_: Speed(step_operations(config) / 1e11, 1e-5, 1e-3))
    write_text("tale.txt", 50_000)


def test_json(nanogpt):
    (found,) = json.loads(nanogpt("plan", "tale.txt", "--minutes", 2, "--json").out)
    assert found["minutes"] == 2
    assert found["epochs"] == pytest.approx(found["tokens"] / found["train_tokens"])
    assert found["expected"]["low"] < found["expected"]["loss"] < found["expected"]["high"]
    assert found["config"]["model"]["vocab_size"] > 0
