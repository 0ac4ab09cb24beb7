"""The tables of docs/speed.md, each made from its record (see `benchmarks.tables`)."""

from collections.abc import Sequence
from typing import Any


def goals_table(record: dict[str, Any]) -> str:
    """Time to a loss, ours beside nanoGPT's."""
    lines = [
        "| | ours: s | loss | reached | nanoGPT: s | loss | ours / nanoGPT | without imports | goal |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for goal in record["goals"].values():
        ours, theirs, ratios = goal["ours"], goal["theirs"], goal["ratios"]
        seconds = _middle(theirs["seconds"], 0 if goal["extrapolated"] else 1)
        their_loss = f"{goal['their_loss']} (published)" if goal["their_loss"] else _middle(theirs["loss"], 3)
        lines.append(
            f"| {goal['title']} | {_middle(ours['seconds'], 1)} | {_middle(ours['loss'], 3)} | "
            f"{goal['reached']} of {goal['pairs']} | {seconds}{', extrapolated' if goal['extrapolated'] else ''} | "
            f"{their_loss} | {_ratio(ratios['seconds'])} | {_ratio(ratios['without_imports'])} | "
            f"≤ {goal['share']:.3f} at ≤ {goal['loss']} |"
        )
    notes = [
        f"Ours: `nanogpt train shakespeare {' '.join(goal['words'])} --steps {goal['steps']}` ({goal['title']})."
        for goal in record["goals"].values()
    ]
    return "\n".join([*lines, "", *notes])


def headline_table(record: dict[str, Any]) -> str:
    """Time to a loss for whoever reads one table: medians alone."""
    near, same, far = (record["goals"][name] for name in ("cpu-loss", "cpu-time", "gpu-loss"))
    cores = record["hardware"]["cores"]
    ours, theirs = (f"{same[side]['loss']['median']:.3f}" for side in ("ours", "theirs"))
    lines = [
        f"| Tiny Shakespeare on {cores} CPU cores, whole-split loss | Nano-GPT | nanoGPT |",
        "|---|---:|---:|",
        f"| time to loss {near['loss']} (nanoGPT: its whole CPU recipe) | {_time(near['ours'])} | "
        f"{_time(near['theirs'])} |",
        f"| loss after the time of that recipe | {ours} | {theirs} |",
        f"| time to loss {far['loss']} (nanoGPT: its whole GPU recipe, which publishes this loss) | "
        f"{_time(far['ours'])} | {_time(far['theirs'])}, extrapolated |",
    ]
    return "\n".join(lines)


def _time(side: dict[str, Any]) -> str:
    """The median in seconds, minutes or hours.

    >>> [_time({"seconds": {"median": seconds}}) for seconds in (4.8, 330.0, 41_000.0)]
    ['4.8 s', '5.5 min', '11.4 h']
    """
    seconds = side["seconds"]["median"]
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def minutes_table(record: dict[str, Any]) -> str:
    """The loss after so many minutes."""
    lines = [
        "| `--minutes` | loss, last checkpoint | 95 % over text | best checkpoint | parameters | of its time | runs |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in record["rows"]:
        low, high = row["loss_interval"]
        share = row["share_of_time"]
        lines.append(
            f"| {row['minutes']:g} | {_middle(row['loss'], 3)} | {low:.3f}–{high:.3f} | "
            f"{_middle(row['best_loss'], 3)} | {row['parameters']:,.0f} | "
            f"{100 * share['median']:.0f} % ({100 * share['low']:.0f}–{100 * share['high']:.0f}) | {len(row['runs'])} |"
        )
    return "\n".join(lines) + measured_before(record)


def minutes_in_short(record: dict[str, Any]) -> str:
    """What a user who has so many minutes gets: the loss, and the size that the planner chose."""
    lines = ["| minutes | validation loss, whole-split | parameters | runs |", "|---:|---:|---:|---:|"]
    for row in record["rows"]:
        lines.append(
            f"| {row['minutes']:g} | {_middle(row['loss'], 3)} | {row['parameters']:,.0f} | {len(row['runs'])} |"
        )
    return "\n".join(lines) + measured_before(record)


def measured_before(record: dict[str, Any]) -> str:
    """A paragraph that names the rows that were measured at another commit than the rest, if there are any."""
    commits = {f"{row['minutes']:g}": {run["commit"] for run in row["runs"]} for row in record["rows"]}
    older = [f"{minutes} at {', '.join(found)}" for minutes, found in commits.items() if found != {record["commit"]}]
    return f"\n\nMinutes that were measured at an earlier commit: {'; '.join(older)}." if older else ""


def throughput_table(record: dict[str, Any]) -> str:
    """Tokens a second and memory by size."""
    lines = [
        "| nanoGPT's size | layers, channels | block × batch, dropout | ours in | ours: tokens/s | nanoGPT: tokens/s | "
        "ratio | memory, ratio |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    for row in record["rows"]:
        size = row["size"]
        ours, theirs = (_middle(row[side]["tokens_per_second"], 0) for side in ("ours", "theirs"))
        lines.append(
            f"| {row['name']} | {size['n_layer']}, {size['n_embd']} | {size['block_size']} × {size['batch_size']}, "
            f"{size['dropout']:g} | {row['precision']} | {ours} | {theirs} | "
            f"{_ratio(row['ratios']['tokens_per_second'])} | {_ratio(row['ratios']['peak_megabytes'])} |"
        )
    first = record["first_steps"]
    steps = len(first["auto"]["ours"])
    return "\n".join(lines) + (
        f"\n\nFrom equal weights and batches, without dropout, the losses of the first {steps} steps differ by "
        f"{first['float32']['largest_difference']:.1e} at most where ours trains in float32, and by "
        f"{first['auto']['largest_difference']:.1e} in the number format that it takes by itself."
    )


def generation_table(record: dict[str, Any]) -> str:
    """Generated tokens a second by precision and number of streams, and what a late token costs."""
    lines = [
        "| weights | streams | ours: tokens/s, all streams | nanoGPT, one stream | ratio | share of the floor's rate |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in record["rows"]:
        floor = _ratio(row["share_of_floor"]) if row["streams"] == 1 else "–"
        lines.append(
            f"| {row['precision']} | {row['streams']} | {_middle(row['ours'], 0)} | {_middle(row['theirs'], 0)} | "
            f"{_ratio(row['ratios'], 1)} | {floor} |"
        )
    rates = [row["memory_bytes_per_second"]["median"] / 1e9 for row in record["rows"]]
    text = f"\n\n{record['tokens']:,} tokens a stream. Memory was read at {min(rates):.0f} to {max(rates):.0f} GB/s."
    for late in record.get("long", []):
        text += f" A token of {late['precision']} between the 9,000th and the 10,000th costs {_ratio(late)} times one "
        text += "between the 300th and the 1,300th."
    return "\n".join(lines) + text


def memory_table(record: dict[str, Any]) -> str:
    """How far the estimate of a training's memory is off."""
    lines = ["| training | parameters | measured: MB | estimate / measured |", "|---|---:|---:|---:|"]
    for row in record["rows"]:
        told = {"parameters", "predicted_megabytes", "measured_megabytes", "ratio"}
        case = ", ".join(f"{name} {value}" for name, value in row.items() if name not in told)
        lines.append(f"| {case} | {row['parameters']:,} | {row['measured_megabytes']:,.0f} | {row['ratio']:.2f} |")
    return "\n".join(lines)


def profile_table(record: dict[str, Any]) -> str:
    """Where a step's time goes."""
    total = sum(record["milliseconds_by_group"].values())
    lines = ["| part of the step | ms under the profiler | share |", "|---|---:|---:|"]
    for name, milliseconds in record["milliseconds_by_group"].items():
        lines.append(f"| {name} | {milliseconds:,.1f} | {milliseconds / total:.1%} |")
    products = record["products"]
    return "\n".join(lines) + (
        f"\n\nWithout the profiler a step takes {1e3 * record['step_seconds']['median']:,.0f} ms, "
        f"{record['tokens_per_second']:,.0f} tokens/s. Its matrix products alone, in {record['precision']}, take "
        f"{1e3 * products['seconds']:,.0f} ms at {products['operations_per_second'] / 1e9:,.0f} GFLOP/s: "
        f"**{products['share']:.0%}** of it."
    )


def startup_table(record: dict[str, Any]) -> str:
    """Waits from Enter."""
    lines = ["| from Enter to | s | goal |", "|---|---:|---:|"]
    for name, row in record["moments"].items():
        lines.append(f"| {name} | {_middle(row, 2)} | {row['goal'] or '–'} |")
    return "\n".join(lines)


def scaling_table(record: dict[str, Any]) -> str:
    """What a token costs as things grow."""
    lines = ["| what grows | to | µs a token | s before the steps | memory, MB |", "|---|---:|---:|---:|---:|"]
    for name, series in record["series"].items():
        unit = ", megabytes" if series["across"] == "megabytes" else ""
        for point in series["points"]:
            lines.append(
                f"| {name}{unit} | {point[series['across']]:,} | {_middle(point['microseconds_per_token'], 1)} | "
                f"{point['before_seconds']['median']:.1f} | {point['peak_megabytes']['median']:,.0f} |"
            )
    exponents = ", ".join(
        f"{series['exponent']:z.2f} for {name}" for name, series in record["series"].items() if series["exponent"]
    )
    return "\n".join(lines) + f"\n\nExponents of the cost of a token: {exponents}."


def ablation_table(record: dict[str, Any]) -> str:
    """What each part is worth at equal time."""
    lines = [
        "| text | in place of a part of the recipe | loss above it | 95 % over seeds | 95 % over text | step's cost |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for text, rows in record["texts"].items():
        for row in rows:
            effect = "diverged" if row["effect"] is None else f"{row['effect']:+.4f}"
            lines.append(
                f"| {text} | {row['name']} | {effect} | {_between(row['seeds'])} | {_between(row['text'])} | "
                f"{row['step_cost']:.2f} |"
            )
    return "\n".join(lines) + f"\n\n{record['base']['steps']:,} steps of the recipe, seeds {_listed(record['seeds'])}."


def _middle(values: dict[str, Any], digits: int) -> str:
    """Median, and lowest and highest where there are several."""
    middle = f"{values['median']:,.{digits}f}"
    return middle if values["n"] == 1 else f"{middle} ({values['low']:,.{digits}f}–{values['high']:,.{digits}f})"


def _ratio(ratio: dict[str, Any], digits: int = 3) -> str:
    return _middle(ratio | {"n": ratio["pairs"]}, digits)


def _between(ends: Sequence[float] | None) -> str:
    return "–" if ends is None else f"{ends[0]:+.4f} to {ends[1]:+.4f}"


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


README_TABLES = {"headline": ("time_to_loss", headline_table), "minutes": ("loss_in_minutes", minutes_in_short)}

SPEED_TABLES = {
    "time_to_loss": ("time_to_loss", goals_table),
    "loss_in_minutes": ("loss_in_minutes", minutes_table),
    "throughput": ("throughput", throughput_table),
    "generate": ("generate", generation_table),
    "profile_step": ("profile_step_lecture", profile_table),
    "profile_step_float32": ("profile_step_lecture_float32", profile_table),
    "memory": ("memory", memory_table),
    "startup": ("startup", startup_table),
    "scaling": ("scaling", scaling_table),
    "ablation": ("ablation", ablation_table),
}
"""The tables by their markers' names: a record, and what makes its table."""
