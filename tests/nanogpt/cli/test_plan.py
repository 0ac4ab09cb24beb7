"""`nanogpt plan`: a table, or JSON."""

import json
import re
from pathlib import Path

import pytest
from tiny import write_text

from nanogpt.planning.speed import Speed, step_operations
from nanogpt.training import speed


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """One that does 10^11 operations a second."""
    monkeypatch.setattr(speed, "measure_speed", lambda config, *_: Speed(step_operations(config) / 1e11, 1e-5, 1e-3))
    write_text("tale.txt", 50_000)


def test_the_table(nanogpt):
    found = nanogpt("plan", "tale.txt", "--minutes", 1, 5, "--dropout", 0.25)
    assert found.code == 0
    headings, *rows = found.out.splitlines()
    assert headings.split()[:5] == ["minutes", "parameters", "layers", "channels", "block"]
    assert [row.split()[0] for row in rows] == ["1", "5"]
    for row in rows:
        assert " 0.25 " in row
        assert re.search(r"\d\.\d GB  +\d\.\d\d \(\d\.\d\d to \d\.\d\d\)$", row)
    assert len({len(row) for row in (headings, *rows)}) == 1
    assert not Path("runs").exists()


def test_a_kind_that_no_run_was_recorded_of_has_no_forecast(nanogpt):
    row = nanogpt("plan", "tale.txt", "--minutes", 1, "--preset", "gpt2", "--accumulation", 3).out.splitlines()[1]
    assert " 12 x 3 " in row
    assert row.endswith(" –")


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
