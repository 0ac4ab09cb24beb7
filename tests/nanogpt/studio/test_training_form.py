import asyncio
import json
import re

import pytest
from tiny import refuses, write_text

pytest.importorskip("nicegui")

from nanogpt.studio.training_form import plan_facts, preview_plan

ROW = {
    **{"minutes": 2.0, "parameters": 1000, "steps": 70, "tokens": 7000, "epochs": 3.5, "memory_bytes": 400_000_000},
    "train_tokens": 2000,
    "expected": {"loss": 1.5, "low": 1.25, "high": 1.75},
    "config": {"model": {"n_layer": 2, "n_head": 3, "n_embd": 30, "block_size": 16}},
}


def test_the_facts_of_a_plan():
    found = plan_facts(json.dumps([ROW]).encode())
    assert found["Time"].startswith("2 minutes")
    assert "1.25 and 1.75" in found["Expected loss"]
    assert "no forecast" in plan_facts(json.dumps([ROW | {"expected": None}]).encode())["Expected loss"]


@pytest.mark.slow
def test_a_real_plan_and_a_real_refusal(tmp_path):
    text = write_text("tale.txt", 5000)
    found = asyncio.run(preview_plan(str(text), 0.1, tmp_path))
    assert found["Time"].startswith("6 seconds")
    loss, low, high = map(float, re.findall(r"\d+\.\d+", found["Expected loss"]))
    assert low < loss <= high
    refuses(lambda: asyncio.run(preview_plan(str(tmp_path / "none.txt"), 0.1, tmp_path)), "none.txt")


@pytest.mark.slow
def test_a_cancelled_preview_ends_its_process(tmp_path, monkeypatch):
    started, original = [], asyncio.create_subprocess_exec

    async def spy(*words, **settings):
        started.append(await original(*words, **settings))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spy)

    async def cancel():
        task = asyncio.create_task(preview_plan(str(write_text("tale.txt", 5000)), 5.0, tmp_path))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert started[0].returncode not in (None, 0)
