"""The server is measured: tokens, waiting times, and clients that leave."""

import asyncio

import pytest
from tiny import make_run

from benchmarks.processes import Workspace
from benchmarks.serving import load, measure_leaving, serving
from nanogpt.text.tokenizer import CharTokenizer


@pytest.mark.slow
def test_a_server_is_measured(tmp_path):
    alphabet = "".join(map(chr, [10, *range(32, 127)]))
    work = Workspace(tmp_path, threads=1)
    make_run(work.run_folder, tokenizer=CharTokenizer(alphabet, end_of_document=False))
    with serving(work) as server:
        found = asyncio.run(load(server, 3, 1.0))
        assert found["errors"] == []
        assert found["rate"] > 10
        assert found["texts"] >= 3
        assert 0 < found["p50"] <= found["p95"]
        left = measure_leaving(server, 3)
        assert left["before_bytes"] > 1e8
        assert 0 <= left["freed_seconds"] < 5
