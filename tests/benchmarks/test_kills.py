"""A training that is killed and resumed again and again ends like an uninterrupted one."""

import shutil
import sys
from pathlib import Path

import pytest
from tiny import flip_a_bit, trained, write_text

from benchmarks.kills import differences, measure


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_at_random_moments_and_resumed_each_time():
    """The short form of `python -m benchmarks.kills`, whose record has 200 kills and more."""
    found = measure(Path(), str(write_text("tale.txt", 20_000)), steps=400, kills=9, seed=7)
    assert found["kills"] == 9
    assert found["lost_checkpoints"] == 0
    assert found["differences"] == []
    assert found["compared_bytes"] > 1_000_000


@pytest.mark.parametrize(
    "name",
    ["checkpoints/step-8/model.safetensors", "checkpoints/step-8/optimizer.safetensors", "history/step-1.safetensors"],
)
def test_one_bit_is_a_difference(name):
    one, other = trained("one"), trained("other")
    assert differences(one, other) == []
    flip_a_bit(other / name)
    assert differences(one, other) == [name]


def test_a_missing_file_and_another_figure_are_differences():
    one, other = trained("one"), trained("other")
    shutil.rmtree(other / "history")
    assert differences(one, other) == [f"history/step-{step}.safetensors" for step in (0, 1, 2, 4, 8)]
    metrics = other / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"step": 4', '"step": 5', 1))
    assert differences(one, other)[-1] == "metrics"
