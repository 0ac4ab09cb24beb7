"""A training that is killed and resumed again and again ends like an uninterrupted one."""

import sys
from pathlib import Path

import pytest
from tiny import write_text

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
