"""The ladder of losses: what was recorded, and what a build measured beside it.

`compare` runs in a section's kernel, as the last cell of its page, which does not show its source.
"""

import json
from typing import Any

from benchmarks.tables import LECTURE
from docs.building import ROOT

RECORD = ROOT / "benchmarks" / "records" / "ladder.json"
TOLERANCE = 0.05
"""Nats: how far another machine's rounding, or another version of torch, may move a loss."""


def read_record() -> dict[str, Any]:
    """The recorded climb; see `benchmarks.ladder`."""
    return json.loads(RECORD.read_text(encoding="utf-8"))


def rows_of(record: dict[str, Any], section: str) -> list[dict[str, Any]]:
    """A section's rows: its variants, which were trained for comparison, and last its own."""
    rows = [row for row in record["sections"] if row["section"] == section]
    return sorted(rows, key=lambda row: not row["variant"])


def told(row: dict[str, Any]) -> str:
    """A recorded validation loss: `2.401 ± 0.002`, or without a spread where there was one seed."""
    spread = f" ± {row['val_spread'] / 2:.3f}" if len(row["val_losses"]) > 1 else ""
    return f"{row['val_loss']:.3f}{spread}"


def ladder_table(record: dict[str, Any], section: str) -> str:
    """The recorded losses up to a section, in Markdown; what this section reached stands in bold."""
    lines = [
        "| | | parameters | validation loss | to the rung before | in the lecture |",
        "|---|---|---:|---:|---:|---:|",
    ]
    before: float | None = None
    for name in dict.fromkeys(row["section"] for row in record["sections"]):
        for row in rows_of(record, name):
            lines.append(_table_row(row, None if row["variant"] else before, here=name == section))
        before = row["val_loss"]
        if name == section:
            break
    return "\n".join(lines)


def _table_row(row: dict[str, Any], before: float | None, here: bool) -> str:
    section, loss = row["section"], told(row)
    if row["variant"]:
        return f"| | *for comparison: {row['label']}* | {row['parameters']:,} | {loss} | | |"
    gain = "" if before is None else f"{row['val_loss'] - before:+.3f}".replace("-", "−")
    bold = "**" if here else ""
    number = int(section[1:3])
    return (
        f"| {bold}{number}{bold} | {bold}[{row['idea']}]({section}.ipynb){bold} | {row['parameters']:,} | "
        f"{bold}{loss}{bold} | {gain} | {LECTURE.get(section, '–')} |"
    )


def where_measured(record: dict[str, Any]) -> str:
    """In a sentence, how the recorded losses were measured."""
    machine = record["hardware"]
    return (
        f"Validation loss on Tiny Shakespeare in nats per character, over the whole validation part; measured by "
        f"`{record['command']}` on {machine['cores']} cores ({machine['processor']}), torch "
        f"{record['versions']['torch']}; ± is half the distance between the highest and the lowest seed. The lecture's "
        f"are means of random batches."
    )


def compare(section: str, result: Any, quick: bool) -> None:
    """Print what was measured beside what is recorded. Raises AssertionError where they differ, unless `quick`."""
    results = (*result.others, result)
    rows = rows_of(read_record(), section)
    assert len(rows) == len(results), f"{section}: {len(results)} trainings, but {len(rows)} in {RECORD.name}"
    for row, one in zip(rows, results):
        steps = f"{one.steps:,} steps" if one.steps == row["steps"] else f"{one.steps:,} steps, not {row['steps']:,}"
        print(f"this build, {one.label} ({steps}): {one.after.val:.3f}, recorded {told(row)}")
        if not quick:
            difference = abs(one.after.val - row["val_loss"])
            assert difference <= TOLERANCE, f"{section}, {one.label}: {one.after.val:.3f} is not {told(row)}"
