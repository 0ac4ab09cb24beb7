import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "benchmarks" / "records" / "ladder.json"
HIGHEST = {
    "s01_bigram": 2.52,
    "s04_self_attention": 2.43,
    "s05_multi_head": 2.31,
    "s06_feed_forward": 2.28,
    "s07_residual": 2.12,
    "s08_layer_norm": 2.09,
}


@pytest.fixture(scope="module")
def losses() -> dict[str, float]:
    if not RECORD.exists():
        pytest.skip("no recorded losses; run: python -m benchmarks.ladder")
    rows = json.loads(RECORD.read_text(encoding="utf-8"))["sections"]
    return {row["section"]: row["val_loss"] for row in rows if not row["variant"]}


@pytest.mark.parametrize("section", HIGHEST)
def test_a_section_reaches_its_loss(section: str, losses: dict[str, float]) -> None:
    assert losses[section] <= HIGHEST[section]


def test_each_section_from_the_fourth_is_below_the_one_before(losses: dict[str, float]) -> None:
    values = [losses[section] for section in HIGHEST if section != "s01_bigram"]
    assert values == sorted(values, reverse=True)
