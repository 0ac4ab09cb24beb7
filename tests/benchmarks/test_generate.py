"""Rates by hand, and a small measurement of our side."""

import pytest

from benchmarks.generate import STRETCHES, generate, summary

SIZES = {"n_layer": 2, "n_head": 3, "n_embd": 30, "block_size": 7, "vocab_size": 13}


def test_rates_and_shares_by_hand():
    pair = {"seconds": 2.0, "their_seconds": 10.0, "floor_seconds": 0.5, "read_bytes": 3}
    pair |= {"memory_bytes_per_second": 5.0}
    faster = pair | {"seconds": 1.0, "stretches": [0.25, 0.5, None]}
    found = summary([pair | {"stretches": [0.5, 1.0, None]}, faster], streams=4, tokens=100)
    assert found["ours"]["median"] == 300.0  # of 4 x 100 / 2 and 4 x 100 / 1
    assert found["theirs"]["median"] == 10.0  # one stream
    assert found["ratios"]["median"] == 30.0
    assert found["share_of_floor"]["median"] == 0.375
    assert [(row["from"], row["to"], row["median"]) for row in found["stretches"]] == [
        (*STRETCHES[0], 12.0),
        (*STRETCHES[1], 6.0),
    ]


@pytest.mark.parametrize(("precision", "size"), [("float32", 4), ("bfloat16", 2), ("int8", 1)])
def test_a_step_reads_every_matrix_once(precision, size):
    found = generate(SIZES, streams=3, tokens=20, precision=precision)
    assert len(found["steps"]) == 20
    assert all(seconds > 0 for seconds in found["steps"])
    matrices = 2 * (30 * 90 + 30 * 30 + 2 * 30 * 120) + 13 * 30
    assert found["read_bytes"] == matrices * size
