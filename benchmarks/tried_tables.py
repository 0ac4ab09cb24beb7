"""The table of docs/what-was-tried.md, made from its record (see `benchmarks.tables`)."""

from collections.abc import Mapping
from typing import Any

from benchmarks.tried import in_order


def tried_table(record: dict[str, Any]) -> str:
    """Every idea that was measured, by size and length of the recipe's run."""
    return "\n\n".join(_group(group) for group in record["groups"])


def _group(group: Mapping[str, Any]) -> str:
    lines = [
        f"Size `{group['size']}`, {group['steps']:,} steps of the recipe, texts {', '.join(group['texts'])}, seeds "
        f"{', '.join(map(str, group['seeds']))}:",
        "",
        "| idea | a Qwen3 still | at equal steps | 95 % | step's cost | at equal time | 95 % | pairs | verdict |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in in_order(group["rows"]):
        cost = "–" if row["step_cost"] is None else f"{row['step_cost']:.2f}"
        lines.append(
            f"| {row['idea']} | {'yes' if row['in_qwen3'] else 'no'} | {_effect(row['equal_steps'])} | {cost} | "
            f"{_effect(row['equal_time'])} | {row['equal_steps']['pairs']} | {row['verdict']} |"
        )
    return "\n".join(lines)


def _effect(found: Mapping[str, Any]) -> str:
    """Two cells."""
    mean = "–" if found["mean"] is None else f"{found['mean']:+.4f}"
    ends = "–" if found["interval"] is None else f"{found['interval'][0]:+.4f} to {found['interval'][1]:+.4f}"
    return f"{mean} | {ends}"
