"""The recorded losses of the ten sections, and a comparison with those of a build.

`compare` runs in a section's kernel, in the last cell of its page, whose source is hidden.
"""

import json
from typing import Any

from benchmarks.tables import LECTURE
from docs.building import ROOT

RECORD = ROOT / "benchmarks" / "records" / "ladder.json"
TOLERANCE = 0.05
"""Nats by which a loss may differ on another machine, or with another version of torch."""


def read_record() -> dict[str, Any]:
    """Return the record that `benchmarks.ladder` wrote."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def rows_of(record: dict[str, Any], section: str) -> list[dict[str, Any]]:
    """Return a section's rows in the record: first the variants trained for comparison, last its own."""
    rows = [row for row in record["sections"] if row["section"] == section]
    return sorted(rows, key=lambda row: not row["variant"])


def loss_with_spread(row: dict[str, Any]) -> str:
    """Return a recorded validation loss, such as `2.401 ± 0.002`; without a spread if there was one seed."""
    spread = f" ± {row['val_spread'] / 2:.3f}" if len(row["val_losses"]) > 1 else ""
    return f"{row['val_loss']:.3f}{spread}"


def table_of_losses(record: dict[str, Any], section: str) -> str:
    """Return a Markdown table of the recorded losses up to a section, which is in bold."""
    lines = [
        "| | | parameters | validation loss | change | in the lecture |",
        "|---|---|---:|---:|---:|---:|",
    ]
    before: float | None = None
    for name in dict.fromkeys(row["section"] for row in record["sections"]):
        for row in rows_of(record, name):
            lines.append(_table_row(row, None if row["variant"] else before, bold="**" if name == section else ""))
        before = row["val_loss"]
        if name == section:
            break
    return "\n".join(lines)


def _table_row(row: dict[str, Any], before: float | None, bold: str) -> str:
    section, loss = row["section"], loss_with_spread(row)
    if row["variant"]:
        return f"| | *for comparison: {row['label']}* | {row['parameters']:,} | {loss} | | |"
    change = "" if before is None else f"{row['val_loss'] - before:+.3f}".replace("-", "−")
    return (
        f"| {bold}{int(section[1:3])}{bold} | {bold}[{row['idea']}]({section}.ipynb){bold} | {row['parameters']:,} | "
        f"{bold}{loss}{bold} | {change} | {LECTURE.get(section, '–')} |"
    )


def how_measured(record: dict[str, Any]) -> str:
    """Return a sentence on how the recorded losses were measured."""
    machine = record["hardware"]
    return (
        f"Validation loss on Tiny Shakespeare in nats per character, over the whole validation part; measured by "
        f"`{record['command']}` on {machine['cores']} cores ({machine['processor']}), torch "
        f"{record['versions']['torch']}; ± is half the distance between the highest and the lowest seed. The lecture "
        f"reports means of random batches."
    )


def compare(section: str, result: Any, quick: bool) -> None:
    """Print a build's losses next to the recorded ones.

    Raises:
        AssertionError: if a loss differs by more than `TOLERANCE`, unless `quick`; if the record has other trainings.
    """
    results = (*result.others, result)
    rows = rows_of(read_record(), section)
    assert len(rows) == len(results), f"{section}: {len(results)} trainings, but {len(rows)} in {RECORD.name}"
    for row, one in zip(rows, results):
        recorded = loss_with_spread(row)
        steps = f"{one.steps:,} steps" if one.steps == row["steps"] else f"{one.steps:,} steps, not {row['steps']:,}"
        print(f"this build, {one.label} ({steps}): {one.after.val:.3f}, recorded {recorded}")
        close = abs(one.after.val - row["val_loss"]) <= TOLERANCE
        assert quick or close, f"{section}, {one.label}: {one.after.val:.3f} is not {recorded}"
