"""The tables of docs/beyond/, docs/losses.md and docs/from-gpt-to-chatgpt.md (see `benchmarks.tables`).

What a part of the recipe is worth is its row of the ablation; the verdict below a row is read off its intervals, so
that it cannot say other than the numbers do.
"""

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from benchmarks.speed_tables import measured_before

Table = tuple[str, Callable[[dict[str, Any]], str]]

IDEAS = {
    "initialisation": "first weights scaled by depth for zeros",
    "rope": "learned positions for RoPE",
    "rmsnorm": "LayerNorm for RMSNorm",
    "swiglu": "GELU for SwiGLU",
    "qk-norm": "no normalised queries and keys",
    "muon": "AdamW for everything",
    "kv-cache": "half the heads for keys and values",
}
"""Pages of docs/beyond/, and the exchange of the ablation that tells what its idea is worth."""
TITLES = {
    "initialisation": "Initialisation",
    "rope": "RoPE",
    "rmsnorm": "RMSNorm",
    "swiglu": "SwiGLU",
    "qk-norm": "Normalised queries and keys",
    "muon": "Muon",
    "kv-cache": "Sharing keys and values (on the page on the KV cache)",
}


def idea_table(variant: str) -> Callable[[dict[str, Any]], str]:
    """What makes the table of one exchange, a row for each text."""

    def make(record: dict[str, Any]) -> str:
        rows = [(text, row) for text, all_rows in record["texts"].items() for row in all_rows if row["name"] == variant]
        if not rows:
            return f'Not in the record: `python -m benchmarks.ablation --variants "{variant}"`.'
        lines = [
            f"| text | loss of the recipe | with {variant} | difference | 95 % over seeds | 95 % over text | "
            f"its step costs |",
            "|---|---:|---:|---:|---:|---:|---:|",
        ]
        for text, row in rows:
            recipe = next(one for one in record["texts"][text] if not one["settings"])
            lines.append(
                f"| {text} | {_mean(recipe)} | {_mean(row)} | {_effect(row)} | {_between(row['seeds'])} | "
                f"{_between(row['text'])} | {row['step_cost']:.2f} of the recipe's |"
            )
        seeds, steps = ", ".join(map(str, record["seeds"])), record["base"]["steps"]
        told = [f"{text}: {verdict(row)}." for text, row in rows]
        about = f"Nats a character on held-out text, at equal time: {steps:,} steps of the recipe, seeds {seeds}."
        return "\n".join([*lines, "", " ".join([about, *told])])

    return make


def overview_table(record: dict[str, Any]) -> str:
    """All ideas that the ablation has, the largest effect first."""
    lines = ["| idea | exchanged | text | loss above the recipe's | 95 % over seeds | what it shows |"]
    lines.append("|---|---|---|---:|---:|---|")
    for text, rows in record["texts"].items():
        for row in rows:
            page = next((page for page, variant in IDEAS.items() if variant == row["name"]), None)
            if page is not None:
                lines.append(
                    f"| [{TITLES[page]}]({page}.md) | {row['name']} | {text} | {_effect(row)} | "
                    f"{_between(row['seeds'])} | {verdict(row)} |"
                )
    return "\n".join(lines)


def verdict(row: Mapping[str, Any]) -> str:
    """What the intervals of an exchange allow to say of the part that was exchanged.

    >>> verdict({"effect": 0.05, "seeds": [0.02, 0.08], "text": [0.01, 0.09]})
    'the part pays'
    >>> verdict({"effect": 0.00, "seeds": [-0.02, 0.02], "text": [-0.01, 0.01]})
    'no difference was seen'
    >>> verdict({"effect": -0.05, "seeds": [-0.08, -0.02], "text": [-0.09, -0.01]})
    'the part costs'
    """
    if row["effect"] is None:
        return "without the part a training diverged"
    intervals = [interval for interval in (row["seeds"], row["text"]) if interval]
    if not intervals:
        return "too few seeds to tell"
    if all(low > 0 for low, _ in intervals):
        return "the part pays"
    return "the part costs" if all(high < 0 for _, high in intervals) else "no difference was seen"


def _mean(row: Mapping[str, Any]) -> str:
    losses = [loss for loss in row["losses"] if loss is not None]
    return f"{fmean(losses):.4f}" if losses else "–"


def _effect(row: Mapping[str, Any]) -> str:
    return "diverged" if row["effect"] is None else f"{row['effect']:+.4f}"


def _between(ends: Sequence[float] | None) -> str:
    return "–" if ends is None else f"{ends[0]:+.4f} to {ends[1]:+.4f}"


def cache_table(record: dict[str, Any]) -> str:
    """One stream with a cache beside nanoGPT, which keeps none, by how far the text has come."""
    lines = ["| one stream, weights in | tokens | with the cache: tokens/s |", "|---|---|---:|"]
    notes = []
    for row in record["rows"]:
        if row["streams"] != 1:
            continue
        for part in row["stretches"]:
            lines.append(f"| {row['precision']} | {part['from']:,} to {part['to']:,} | {part['median']:,.0f} |")
        ratio, theirs = row["ratios"], row["theirs"]
        notes.append(
            f"In {row['precision']} the whole text took nanoGPT, which keeps no cache, {ratio['median']:.1f} times as "
            f"long (95 % {ratio['interval'][0]:.1f} to {ratio['interval'][1]:.1f}, {ratio['pairs']} pairs; "
            f"{theirs['median']:,.0f} tokens/s)."
        )
    sizes = record["sizes"]
    about = f"{sizes['n_layer']} layers, {sizes['n_embd']} channels, block {sizes['block_size']}."
    return "\n".join([*lines, "", " ".join([about, *notes])])


def forecast_table(record: dict[str, Any]) -> str:
    """What the planner expected of its own trainings, and what came of them."""
    lines = [
        "| `--minutes` | parameters | expected loss | interval | measured | above expected | inside | of its time |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in record["rows"]:
        plans = [tomllib.loads(run["plan"]) for run in row["runs"]]
        inside = [plan["expected_low"] <= run["loss"] <= plan["expected_high"] for plan, run in zip(plans, row["runs"])]
        expected, low, high = (median(plan[f"expected_{name}"] for plan in plans) for name in ("loss", "low", "high"))
        lines.append(
            f"| {row['minutes']:g} | {row['parameters']:,.0f} | {expected:.3f} | {low:.3f}–{high:.3f} | "
            f"{row['loss']['median']:.3f} | {row['loss']['median'] - expected:+.3f} | {sum(inside)} of {len(inside)} | "
            f"{100 * row['share_of_time']['median']:.0f} % |"
        )
    return "\n".join(lines) + measured_before(record)


def losses_table(record: dict[str, Any]) -> str:
    """The levels: where in the training they were passed, and what is countable in the samples."""
    lines = [
        "| loss, nats a character | after steps | as unsure as among | words that the training text has |",
        "|---:|---:|---:|---:|",
    ]
    for row in record["rows"]:
        lines.append(
            f"| {row['loss']:.3f} | {row['step']:,} | {math.exp(row['loss']):.1f} characters | "
            f"{row['known_words']:.0%} |"
        )
    model = record["settings"]
    about = (
        f"Whole-split losses of one training: {model['n_layer']} layers, {model['n_embd']} channels, block "
        f"{model['block_size']}, {record['steps']:,} steps. Words were counted in {record['characters']:,} characters "
        f"at each level, fewer where a text ended by itself."
    )
    return "\n".join([*lines, "", about])


def sample_block(level: float | None) -> Callable[[dict[str, Any]], str]:
    """What makes the sample at a level."""

    def make(record: dict[str, Any]) -> str:
        row = next(row for row in record["rows"] if row["level"] == level)
        told = f"Loss {row['loss']:.3f}, after {row['step']:,} steps."
        lines = [line.rstrip() for line in row["sample"].strip("\n").splitlines()]
        return "\n".join([f"{told} Measured by the same command:", "", "```text", *lines, "```"])

    return make


def answers_table(record: dict[str, Any]) -> str:
    """How many answers end, and how many are right, before and after."""
    kinds = {"learned": "that it was trained on", "reworded": "about the same, in other words", "new": "about others"}
    lines = [
        "| questions | asked | before: end | right | after: end | right |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    before, after = (record["models"][name] for name in ("before", "after"))
    for kind, told in kinds.items():
        one, other = before[kind], after[kind]
        lines.append(
            f"| {told} | {one['asked']} | {one['ended']} | {one['right']} | {other['ended']} | {other['right']} |"
        )
    first, second = record["first"], record["second"]
    about = (
        f"{first['parameters']:,} parameters; {first['steps']:,} steps on Tiny Shakespeare (loss {first['loss']:.3f}), "
        f"then {second['steps']:,} steps on {second['pairs']} pairs, {second['learned']} of them in the training part."
    )
    return "\n".join([*lines, "", about])


def answers_shown(record: dict[str, Any]) -> str:
    """Some questions of each kind, with both models' answers as they are."""
    lines = ["| question | before | after |", "|---|---|---|"]
    before, after = (record["models"][name] for name in ("before", "after"))
    for kind, shown in (("learned", 3), ("reworded", 3), ("new", 3)):
        for one, other in list(zip(before[kind]["answers"], after[kind]["answers"]))[:shown]:
            lines.append(f"| {one['question']} | {_cell(one)} | {_cell(other)} |")
    return "\n".join([*lines, "", "A ⏎ is a line end, and … says that the answer goes on."])


def _cell(answer: Mapping[str, Any]) -> str:
    text = answer["answer"] if len(answer["answer"]) <= 60 else answer["answer"][:60]
    whole = answer["ended"] and text == answer["answer"]
    return text.replace("\n", " ⏎ ").replace("|", "/") + ("" if whole else " …")


LEVELS: dict[str, float | None] = {
    **{"losses_untrained": None, "losses_25": 2.5, "losses_20": 2.0},
    **{"losses_17": 1.7, "losses_15": 1.5},
}
LOSSES_TABLES: dict[str, Table] = {
    "losses": ("losses", losses_table),
    **{name: ("losses", sample_block(level)) for name, level in LEVELS.items()},
}
ANSWERS_TABLES: dict[str, Table] = {
    "answers": ("answers", answers_table),
    "answers_shown": ("answers", answers_shown),
}
IDEA_TABLES: dict[str, Table] = {
    f"beyond_{page.replace('-', '_')}": ("ablation", idea_table(variant)) for page, variant in IDEAS.items()
}
BEYOND_TABLES: dict[str, Table] = {
    "beyond": ("ablation", overview_table),
    "beyond_cache": ("generate", cache_table),
    "beyond_planner": ("loss_in_minutes", forecast_table),
    **IDEA_TABLES,
}
BEYOND_PAGES = {
    "index": ("beyond",),
    "kv-cache": ("beyond_cache", "beyond_kv_cache"),
    "planner": ("beyond_planner",),
    **{page: (f"beyond_{page.replace('-', '_')}",) for page in IDEAS if page != "kv-cache"},
}
"""Pages of docs/beyond/ and their tables."""
