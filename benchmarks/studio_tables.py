"""The tables of docs/studio.md and docs/serving.md, each made from its record (see `benchmarks.tables`)."""

from typing import Any


def studio_table(record: dict[str, Any]) -> str:
    """How soon the page can be used, and what it costs a training, beside what was asked."""
    usable_goal, cost_goal = record["goals"].values()
    seconds, speed = record["seconds"], record["speed_open_over_closed"]
    low, high = speed["interval"]
    ends = f"95 % interval {_percent(1 - high)} to {_percent(1 - low)}, {speed['pairs']} pairs"
    rows = {
        "from the command until it says where it listens": (_seconds(seconds["starting_seconds"]), ""),
        f"from there until a model of {record['parameters']:,} parameters is open and the buttons work": (
            _seconds(seconds["usable_seconds"]),
            f"< {usable_goal:g} s",
        ),
        "from “Write” to the first letters": (_seconds(seconds["writing_seconds"]), ""),
        "what an open page, browser and all, costs a training beside it": (
            f"{_percent(1 - speed['median'])} of its speed ({ends})",
            f"< {_percent(cost_goal)}",
        ),
    }
    lines = ["| | measured | goal |", "|---|---:|---:|"]
    lines += [f"| {name} | {found} | {goal} |" for name, (found, goal) in rows.items()]
    return "\n".join([*lines, "", f"In Chromium {record['browser']} without a window, on the same cores."])


def serving_table(record: dict[str, Any]) -> str:
    """Tokens a second and the wait for the first token, by streams."""
    sizes = record["sizes"]
    lines = [
        f"| {sizes['n-layer']} layers, {sizes['n-head']} heads, {sizes['n-embd']} channels, block "
        f"{sizes['block-size']} | streams | tokens/s | of one stream's | first token, p50 | p95 | texts | errors |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in record["streams"]:
        share, p50, p95 = row["over_first"], row["p50"]["median"], row["p95"]["median"]
        lines.append(
            f"| {row['precision']} | {row['streams']} | {_whole(row['rate'])} | {share['median']:.1f} | "
            f"{p50:.3f} s | {p95:.3f} s | {row['texts']:,} | {row['errors']} |"
        )
    left = record["left"]
    before, after = (left[when] / 1e6 for when in ("before_bytes", "after_bytes"))
    told = (
        f"{left['clients']:,} clients that left in the middle of a text: {before:.0f} MB before, {after:.0f} MB after; "
        f"the last ones' places were free after {left['freed_seconds']:.2f} s."
    )
    return "\n".join([*lines, "", told])


def _seconds(values: dict[str, Any]) -> str:
    return f"{values['median']:.2f} s ({values['low']:.2f}–{values['high']:.2f}, n = {values['n']})"


def _whole(values: dict[str, Any]) -> str:
    if values["n"] == 1:
        return f"{values['median']:,.0f}"
    return f"{values['median']:,.0f} ({values['low']:,.0f}–{values['high']:,.0f})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


STUDIO_TABLES = {"studio": ("studio", studio_table)}
SERVING_TABLES = {"serving": ("serving", serving_table)}
