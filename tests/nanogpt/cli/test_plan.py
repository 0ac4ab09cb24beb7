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


def test_what_is_wrong(refuses):
    refuses("plan", "nowhere.txt", saying=["no file or folder 'nowhere.txt'"])
    refuses("plan", "tale.txt", "--memory", 0.1, saying=["--memory 0.1 allows"])
    refuses("plan", "tale.txt", "--minutes", 0, saying=["--minutes 0", "above 0"])
