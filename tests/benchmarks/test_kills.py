"""A training that is killed and resumed again and again ends like an uninterrupted one."""

import sys
from pathlib import Path

import pytest
<<<<<<< HEAD
from tiny import flip_a_bit, write_text
=======
from tiny import write_text
>>>>>>> 1bb26f9e81ca29e41122bd843c38a7f6d0790f97

from benchmarks.kills import measure


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_at_random_moments_and_resumed_each_time():
    """The short form of `python -m benchmarks.kills`, whose record has 200 kills and more."""
    found = measure(Path(), str(write_text("tale.txt", 20_000)), steps=400, kills=9, seed=7)
    assert found["kills"] == 9
    assert found["lost_checkpoints"] == 0
    assert found["differences"] == []
    assert found["compared_bytes"] > 1_000_000
<<<<<<< HEAD


@pytest.mark.parametrize(
    "name",
    [
        "checkpoints/step-30/model.safetensors",
        "checkpoints/step-30/optimizer.safetensors",
        "history/step-1.safetensors",
    ],
)
def test_one_bit_is_a_difference(finished_run, name):
    one, other = finished_run, Path(shutil.copytree(finished_run, "other"))
    assert differences(one, other) == []
    flip_a_bit(other / name)
    assert differences(one, other) == [name]


def test_a_missing_file_and_another_figure_are_differences(finished_run):
    one, other = finished_run, Path(shutil.copytree(finished_run, "other"))
    shutil.rmtree(other / "history")
    assert differences(one, other) == sorted(f"history/step-{step}.safetensors" for step in (0, 1, 2, 4, 8, 16))
    metrics = other / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace('"step": 3', '"step": 4', 1))
    assert differences(one, other)[-1] == "metrics"
=======
>>>>>>> 1bb26f9e81ca29e41122bd843c38a7f6d0790f97
