"""The plan of a training, asked of a process."""

import asyncio
import json

import pytest
from tiny import refuses, write_text

from nanogpt.studio.learn.outlook import ask_outlook, read_outlook

ROW = {
    **{"minutes": 2.0, "parameters": 1000, "steps": 70, "tokens": 7000, "epochs": 3.5, "memory_bytes": 400_000_000},
    "train_tokens": 2000,
    "expected": {"loss": 1.5, "low": 1.25, "high": 1.75},
    "config": {"model": {"n_layer": 2, "n_head": 3, "n_embd": 30, "block_size": 16}},
}


def test_what_is_told():
    told = dict(read_outlook(json.dumps([ROW]).encode()).rows())
    assert told["Size"] == "1,000 parameters: 2 layers, 3 heads, 30 channels, context 16"
    assert told["Steps"] == "70, which read 7,000 tokens: the text 3.5 times"
    assert told["Expected loss"] == "1.50 nats a token; nine in ten fall between 1.25 and 1.75"
    without = read_outlook(json.dumps([ROW | {"expected": None}]).encode())
    assert "no forecast" in dict(without.rows())["Expected loss"]


@pytest.mark.parametrize("said", [b"", b"{}", b"[]", b"[[]]", json.dumps([ROW, ROW]).encode(), b"[" * 100_000])
def test_nonsense(said):
    refuses(lambda: read_outlook(said), "nanogpt plan")


@pytest.mark.slow
def test_a_real_plan_and_a_real_refusal(tmp_path):
    text = write_text("tale.txt", 5000)
    found = asyncio.run(ask_outlook(str(text), 0.1, tmp_path))
    assert found.minutes == 0.1
    assert found.steps > 0
    assert found.expected[1] < found.expected[0] <= found.expected[2]
    refuses(lambda: asyncio.run(ask_outlook(str(tmp_path / "none.txt"), 0.1, tmp_path)), "none.txt")


@pytest.mark.slow
def test_a_plan_that_nobody_waits_for_ends(tmp_path, monkeypatch):
    started = []
    original = asyncio.create_subprocess_exec

    async def spy(*words, **settings):
        started.append(await original(*words, **settings))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spy)

    async def give_up():
        task = asyncio.create_task(ask_outlook(str(write_text("tale.txt", 5000)), 5.0, tmp_path))
        await asyncio.sleep(0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    assert started[0].returncode is not None
    assert started[0].returncode != 0
