"""The benchmark of the server: that it counts, times, and sees clients leave."""

import asyncio

import pytest
from tiny import make_run

from benchmarks.ours import Ours
from benchmarks.serving import leaving, load, serving
from nanogpt.text.tokenizer import CharTokenizer


@pytest.mark.slow
def test_a_server_is_measured(tmp_path):
    alphabet = "".join(map(chr, [10, *range(32, 127)]))
    place = Ours(tmp_path, threads=1)
    make_run(place.run_folder, tokenizer=CharTokenizer(alphabet, end_of_document=False))
    with serving(place) as server:
        found = asyncio.run(load(server, 3, 1.0))
        assert found["errors"] == []
        assert found["rate"] > 10
        assert found["texts"] >= 3
        assert 0 < found["p50"] <= found["p95"]
        left = leaving(server, 3)
        assert left["before_bytes"] > 1e8
        assert 0 <= left["freed_seconds"] < 5
