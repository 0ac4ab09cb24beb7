"""The tables of README and docs, written from the records between their markers.

    python -m benchmarks.tables

A table has a marker, a record, and a function that makes it. Pages with `<!-- NAME -->` and `<!-- end NAME -->` are
found in README.md and docs/; a test compares them with what this command would write, so that no figure goes stale.
Where its record is missing, a table names the command that measures it.
"""

import json
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks import record as records

PICTURES = records.ROOT / "docs" / "pictures"
MARKER = re.compile(r"^<!-- (?!end -->)(?:end )?(\w+) -->$", re.MULTILINE)
LECTURE = {
    "s01_bigram": "2.49",
    "s04_self_attention": "2.40",
    "s05_multi_head": "2.28",
    "s06_feed_forward": "2.24–2.27",
    "s07_residual": "2.08–2.09",
    "s08_layer_norm": "2.06–2.08",
    "s10_gpt": "1.48 at full size",
}
"""Losses that the lecture and a viewer who ran each of its steps report: means of random batches, one seed."""
COMMANDS = {
    "profile_step_lecture": "profile_step --size lecture",
    "profile_step_lecture_float32": "profile_step --size lecture --precision float32",
}
"""Commands that write a record with another name."""


class Record(dict[str, Any]):
    """A JSON object whose values are attributes too."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


Make = Callable[[Record], str]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a page."""

    record: str
    make: Make
    picture: bool = False
    """a picture of the same name follows, if it is drawn"""
    spread: bool = False
    """the last line explains ±"""
    measured: bool = True
    """the last line says how it was measured; else the table says it"""


TABLES: dict[str, Table] = {}
"""The tables by the names of their markers; the first one of a record is printed when it is measured."""


def table(name: str, record: str | None = None, **options: bool) -> Callable[[Make], Make]:
    """Register the function that makes the table with this marker, from a record of the same name by default."""

    def register(make: Make) -> Make:
        TABLES[name] = Table(record=record or name, make=make, **options)
        return make

    return register


def main() -> None:
    """Write the tables of all pages."""
    for page in pages():
        page.write_text(fill(page.read_text(encoding="utf-8"), page), encoding="utf-8")
        print(f"wrote {page.relative_to(records.ROOT)}")


def pages() -> list[Path]:
    """Return the pages that have a marker."""
    found = [records.ROOT / "README.md", *sorted((records.ROOT / "docs").rglob("*.md"))]
    return [page for page in found if MARKER.search(page.read_text(encoding="utf-8"))]


def fill(text: str, page: Path) -> str:
    """Return a page's text with each table as the records have it, links relative to the page."""
    for name in dict.fromkeys(MARKER.findall(text)):
        opening, closing = f"<!-- {name} -->\n", f"<!-- end {name} -->"
        if text.count(opening) != 1 or text.count(closing) != 1:
            raise ValueError(f"{page.name} needs {opening.strip()} and {closing} once each")
        before, rest = text.split(opening)
        text = f"{before}{opening}{_make(name, page)}\n{closing}{rest.split(closing)[1]}"
    return text


def render(name: str, record: Mapping[str, Any]) -> str:
    """Return the first table of a record that was just measured; all of it as JSON where there is none."""
    text = json.dumps(record, indent=2)
    found = [one.make for one in TABLES.values() if one.record == name]
    return found[0](json.loads(text, object_hook=Record)) if found else text


def _make(name: str, page: Path) -> str:
    one = TABLES[name]
    path = records.RECORDS / f"{one.record}.json"
    if not path.exists():
        return f"Not measured yet: `python -m benchmarks.{COMMANDS.get(one.record, one.record)}`."
    record = json.loads(path.read_text(encoding="utf-8"), object_hook=Record)
    text = one.make(record)
    if one.measured:
        cores, processor = record.hardware.cores, record.hardware.processor
        versions = f"torch {record.versions.torch}, commit {record.commit}"
        text += f"\n\nMeasured by `{record.command}` on {cores} cores ({processor}), {versions}"
        text += "; ± is half the distance between the highest and the lowest seed." if one.spread else "."
    if one.picture and (PICTURES / f"{name}.svg").exists():
        text += f"\n\n![{name.replace('_', ' ')}](/docs/pictures/{name}.svg)"
    return re.sub(r"\]\(/([^)]+)\)", lambda link: f"]({os.path.relpath(records.ROOT / link[1], page.parent)})", text)


def grid(heading: str, rows: Iterable[str], *notes: str) -> str:
    """Return a Markdown table and paragraphs below it; columns whose heading ends with > are aligned right."""
    names = heading.split(" | ")
    lines = ["|" + "".join(f" {name.rstrip('>')} |" if name else " |" for name in names)]
    lines.append("|" + "".join("---:|" if name.endswith(">") else "---|" for name in names))
    return "\n".join([*lines, *(f"| {row} |" for row in rows), *(f"\n{note}" for note in notes if note)])


def spread(found: Record, digits: int) -> str:
    """Return the median, with lowest and highest if there are several measurements."""
    middle = f"{found.median:,.{digits}f}"
    if found.get("n", found.get("pairs")) == 1:
        return middle
    return f"{middle} ({found.low:,.{digits}f}–{found.high:,.{digits}f})"


def between(ends: Sequence[float] | None) -> str:
    """Return an interval."""
    return "–" if ends is None else f"{ends[0]:+.4f} to {ends[1]:+.4f}"


def number(value: float | None, form: str) -> str:
    """Return a number in a format, or a dash."""
    return "–" if value is None else format(value, form)


def commas(values: Iterable[Any]) -> str:
    """Return values with commas between them."""
    return ", ".join(map(str, values))


@table("ladder", spread=True)
def _ladder(record: Record) -> str:
    rows = []
    for row in (row for row in record.sections if not row.variant):
        loss = f"{row.val_loss:.3f}" + (f" ± {row.val_spread / 2:.3f}" if len(row.val_losses) > 1 else "")
        link = f"{int(row.section[1:3])} | [`{row.section}`](/course/{row.section}.py)"
        about = f"{fmean(row.seconds):.0f} | {LECTURE.get(row.section, '–')}"
        rows.append(f"{link} | {row.idea} | {row.parameters:,} | {loss} | {about}")
    return grid(" | section | the one new idea | parameters> | validation loss> | seconds> | lecture", rows)


@table("recipe", "cpu_recipe", spread=True)
def _recipe(record: Record) -> str:
    rows = (f"`--preset {name}` | {row.mean:.3f} ± {row.spread / 2:.3f}" for name, row in record.presets.items())
    sizes = "4 layers, 4 heads, 128 channels, block 64, batch 12, 2,000 steps"
    return grid(f"{sizes} | validation loss, whole-split>", rows)


@table("floors")
def _floors(record: Record) -> str:
    rows = (f"{row.name} | {number(row.loss, '.3f')} | {number(row.bits_per_byte, '.3f')}" for row in record.rows)
    return grid("Tiny Shakespeare's validation part, characters | nats/token> | bits per byte>", rows)


@table("kills")
def _kills(record: Record) -> str:
    moments = commas(f"{count} while {moment}" for moment, count in sorted(record.killed_while.items()))
    rows = {
        "kills (SIGKILL), each followed by a resume": f"{record.kills:,}: {moments}",
        "of these, left a half-written file": f"{record.left_half_written:,}",
        "steps": f"{record.steps:,}",
        "checkpoints lost": f"{record.lost_checkpoints:,}",
        "files and figures that differ at the end": f"{len(record.differences):,}",
        "bytes compared": f"{record.compared_bytes:,}",
    }
    return grid(" | ", map(" | ".join, rows.items()))


@table("large_text")
def _large_text(record: Record) -> str:
    rows = []
    for name, row in record.tokenizers.items():
        ours = f"{row.megabytes_per_second_per_core:.1f} | {row.encode_megabytes_per_second_per_core:.1f}"
        each = [(f"`{name}`", ours, row)]
        if "library" in row:
            alone = f"– | {row.library.megabytes_per_second_per_core:.1f}"
            each.append(("Hugging Face `tokenizers` alone, in memory", alone, row.library))
        for title, cores, one in each:
            size, memory = f"{one.megabytes / 1e3:.1f}", f"{one.peak_anonymous_megabytes:.0f}"
            rows.append(f"{title} | {size} | {one.megabytes_per_second:.1f} | {cores} | {memory}")
    heading = " | text, GB> | MB/s, both readings> | a core, both readings> | a core, tokens alone>"
    return grid(f"{heading} | memory, MB>", rows)


@table("time_to_loss", picture=True)
def _goals(record: Record) -> str:
    rows, notes = [], []
    for goal in record.goals.values():
        theirs, ratios = goal.theirs, goal.ratios
        loss = f"{goal.their_loss} (published)" if goal.their_loss else spread(theirs.loss, 3)
        time = spread(theirs.seconds, 0) + ", extrapolated" if goal.extrapolated else spread(theirs.seconds, 1)
        ours = f"{spread(goal.ours.seconds, 1)} | {spread(goal.ours.loss, 3)} | {goal.reached} of {goal.pairs}"
        both = f"{spread(ratios.seconds, 3)} | {spread(ratios.without_imports, 3)}"
        rows.append(f"{goal.title} | {ours} | {time} | {loss} | {both} | ≤ {goal.share:.3f} at ≤ {goal.loss}")
        command = f"nanogpt train shakespeare {' '.join(goal.words)} --steps {goal.steps}"
        notes.append(f"Ours: `{command}` ({goal.title}).")
    heading = " | ours: s> | loss> | reached> | nanoGPT: s> | loss> | ours / nanoGPT> | without imports> | goal>"
    return grid(heading, rows, "\n".join(notes))


@table("headline", "time_to_loss")
def _headline(record: Record) -> str:
    near, same, far = (record.goals[name] for name in ("cpu-loss", "cpu-time", "gpu-loss"))
    first = f"time to loss {near.loss} (nanoGPT: its whole CPU recipe)"
    last = f"time to loss {far.loss} (nanoGPT: its whole GPU recipe, which publishes this loss)"
    rows = [
        f"{first} | {duration(near.ours.seconds.median)} | {duration(near.theirs.seconds.median)}",
        f"loss after the time of that recipe | {same.ours.loss.median:.3f} | {same.theirs.loss.median:.3f}",
        f"{last} | {duration(far.ours.seconds.median)} | {duration(far.theirs.seconds.median)}, extrapolated",
    ]
    return grid(f"Tiny Shakespeare on {record.hardware.cores} CPU cores, whole-split loss | Nano-GPT> | nanoGPT>", rows)


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours.

    >>> [duration(seconds) for seconds in (4.8, 330.0, 41_000.0)]
    ['4.8 s', '5.5 min', '11.4 h']
    """
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@table("loss_in_minutes", picture=True)
def _minutes(record: Record) -> str:
    rows = []
    for row in record.rows:
        (low, high), share = row.loss_interval, row.share_of_time
        losses = f"{spread(row.loss, 3)} | {low:.3f}–{high:.3f} | {spread(row.best_loss, 3)}"
        time = f"{100 * share.median:.0f} % ({100 * share.low:.0f}–{100 * share.high:.0f})"
        rows.append(f"{row.minutes:g} | {losses} | {row.parameters:,.0f} | {time} | {len(row.runs)}")
    heading = "`--minutes`> | loss, last checkpoint> | 95 % over text> | best checkpoint> | parameters> | of its time>"
    return grid(f"{heading} | runs>", rows, _measured_before(record))


@table("minutes", "loss_in_minutes")
def _minutes_in_short(record: Record) -> str:
    rows = (f"{row.minutes:g} | {spread(row.loss, 3)} | {row.parameters:,.0f} | {len(row.runs)}" for row in record.rows)
    return grid("minutes> | validation loss, whole-split> | parameters> | runs>", rows, _measured_before(record))


@table("beyond_planner", "loss_in_minutes")
def _forecasts(record: Record) -> str:
    rows = []
    for row in record.rows:
        plans = [tomllib.loads(run.plan) for run in row.runs]
        inside = [plan["expected_low"] <= run.loss <= plan["expected_high"] for plan, run in zip(plans, row.runs)]
        expected, low, high = (median(plan[f"expected_{name}"] for plan in plans) for name in ("loss", "low", "high"))
        loss, share = row.loss.median, f"{100 * row.share_of_time.median:.0f} %"
        forecast = f"{expected:.3f} | {low:.3f}–{high:.3f} | {loss:.3f} | {loss - expected:+.3f}"
        about = f"{row.minutes:g} | {row.parameters:,.0f}"
        rows.append(f"{about} | {forecast} | {sum(inside)} of {len(inside)} | {share}")
    heading = "`--minutes`> | parameters> | expected loss> | interval> | measured> | above expected> | inside>"
    return grid(f"{heading} | of its time>", rows, _measured_before(record))


def _measured_before(record: Record) -> str:
    """Return a paragraph on the rows that were measured at another commit, if there are any."""
    commits = {f"{row.minutes:g}": {run.commit for run in row.runs} for row in record.rows}
    older = [f"{minutes} at {commas(sorted(found))}" for minutes, found in commits.items() if found != {record.commit}]
    return f"Minutes that were measured at an earlier commit: {'; '.join(older)}." if older else ""


@table("throughput", picture=True)
def _throughput(record: Record) -> str:
    rows = []
    for row in record.rows:
        size, ratios, speeds = row.size, row.ratios, [row[side].tokens_per_second for side in ("ours", "theirs")]
        batch = f"{size.block_size} × {size.batch_size}, {size.dropout:g}"
        about = f"{row.name} | {size.n_layer}, {size.n_embd} | {batch} | {row.precision}"
        both = f"{spread(ratios.tokens_per_second, 3)} | {spread(ratios.peak_megabytes, 3)}"
        rows.append(f"{about} | {spread(speeds[0], 0)} | {spread(speeds[1], 0)} | {both}")
    first = record.first_steps
    note = (
        f"From equal weights and batches, without dropout, the losses of the first {len(first.auto.ours)} steps differ "
        f"by {first.float32.largest_difference:.1e} at most where ours trains in float32, and by "
        f"{first.auto.largest_difference:.1e} in the number format that it takes by itself."
    )
    heading = "nanoGPT's size | layers, channels | block × batch, dropout | ours in | ours: tokens/s>"
    return grid(f"{heading} | nanoGPT: tokens/s> | ratio> | memory, ratio>", rows, note)


@table("generate")
def _generation(record: Record) -> str:
    rows = []
    for row in record.rows:
        floor = spread(row.share_of_floor, 3) if row.streams == 1 else "–"
        speeds = f"{spread(row.ours, 0)} | {spread(row.theirs, 0)} | {spread(row.ratios, 1)}"
        rows.append(f"{row.precision} | {row.streams} | {speeds} | {floor}")
    memory = [row.memory_bytes_per_second.median / 1e9 for row in record.rows]
    note = f"{record.tokens:,} tokens a stream. Memory was read at {min(memory):.0f} to {max(memory):.0f} GB/s."
    for late in record.get("long", []):
        note += f" A token of {late.precision} between the 9,000th and the 10,000th costs {spread(late, 3)} times one "
        note += "between the 300th and the 1,300th."
    heading = "weights | streams> | ours: tokens/s, all streams> | nanoGPT, one stream> | ratio>"
    return grid(f"{heading} | share of the floor's rate>", rows, note)


@table("beyond_cache", "generate")
def _cache(record: Record) -> str:
    rows, sizes = [], record.sizes
    note = f"{sizes.n_layer} layers, {sizes.n_embd} channels, block {sizes.block_size}."
    for row in (row for row in record.rows if row.streams == 1):
        for part in row.stretches:
            rows.append(f"{row.precision} | {part['from']:,} to {part.to:,} | {part.median:,.0f}")
        ratio, (low, high) = row.ratios, row.ratios.interval
        note += (
            f" In {row.precision} the whole text took nanoGPT, which keeps no cache, {ratio.median:.1f} times as long "
            f"(95 % {low:.1f} to {high:.1f}, {ratio.pairs} pairs; {row.theirs.median:,.0f} tokens/s)."
        )
    return grid("one stream, weights in | tokens | with the cache: tokens/s>", rows, note)


@table("memory")
def _memory(record: Record) -> str:
    measured, rows = {"parameters", "predicted_megabytes", "measured_megabytes", "ratio"}, []
    for row in record.rows:
        case = commas(f"{name} {value}" for name, value in row.items() if name not in measured)
        rows.append(f"{case} | {row.parameters:,} | {row.measured_megabytes:,.0f} | {row.ratio:.2f}")
    return grid("training | parameters> | measured: MB> | estimate / measured>", rows)


@table("profile_step", "profile_step_lecture")
@table("profile_step_float32", "profile_step_lecture_float32")
def profile_table(record: Record) -> str:
    """Return where a step's time goes."""
    total, products = sum(record.milliseconds_by_group.values()), record.products
    note = (
        f"Without the profiler a step takes {1e3 * record.step_seconds.median:,.0f} ms, "
        f"{record.tokens_per_second:,.0f} tokens/s. Its matrix products alone, in {record.precision}, take "
        f"{1e3 * products.seconds:,.0f} ms at {products.operations_per_second / 1e9:,.0f} GFLOP/s: "
        f"**{products.share:.0%}** of it."
    )
    rows = (f"{name} | {time:,.1f} | {time / total:.1%}" for name, time in record.milliseconds_by_group.items())
    return grid("part of the step | ms under the profiler> | share>", rows, note)


@table("startup")
def _startup(record: Record) -> str:
    rows = (f"{name} | {spread(row, 2)} | {row.goal or '–'}" for name, row in record.moments.items())
    return grid("from Enter to | s> | goal>", rows)


@table("scaling", picture=True)
def _scaling(record: Record) -> str:
    rows = []
    for name, series in record.series.items():
        unit = ", megabytes" if series.across == "megabytes" else ""
        for point in series.points:
            costs = f"{spread(point.microseconds_per_token, 1)} | {point.before_seconds.median:.1f}"
            rows.append(f"{name}{unit} | {point[series.across]:,} | {costs} | {point.peak_megabytes.median:,.0f}")
    exponents = commas(f"{one.exponent:z.2f} for {name}" for name, one in record.series.items() if one.exponent)
    heading = "what grows | to> | µs a token> | s before the steps> | memory, MB>"
    return grid(heading, rows, f"Exponents of the cost of a token: {exponents}.")


@table("ablation", picture=True)
def _ablation(record: Record) -> str:
    rows = [
        f"{text} | {row.name} | {_effect(row)} | {between(row.seeds)} | {between(row.text)} | {row.step_cost:.2f}"
        for text, found in record.texts.items()
        for row in found
    ]
    heading = "text | in place of a part of the recipe | loss above it> | 95 % over seeds> | 95 % over text>"
    note = f"{record.base.steps:,} steps of the recipe, seeds {commas(record.seeds)}."
    return grid(f"{heading} | step's cost>", rows, note)


def _effect(row: Record) -> str:
    return "diverged" if row.effect is None else f"{row.effect:+.4f}"


IDEAS = {
    "initialisation": ("first weights scaled by depth for zeros", "Initialisation"),
    "rope": ("learned positions for RoPE", "RoPE"),
    "rmsnorm": ("LayerNorm for RMSNorm", "RMSNorm"),
    "swiglu": ("GELU for SwiGLU", "SwiGLU"),
    "qk-norm": ("no normalised queries and keys", "Normalised queries and keys"),
    "muon": ("AdamW for everything", "Muon"),
    "kv-cache": ("half the heads for keys and values", "Sharing keys and values (on the page on the KV cache)"),
}
"""Pages of docs/beyond/: the variant of the ablation that shows what the page's idea is worth, and its title."""


def _idea(variant: str, record: Record) -> str:
    rows, verdicts = [], []
    for text, found in record.texts.items():
        recipe = next(row for row in found if not row.settings)
        for row in (row for row in found if row.name == variant):
            losses = f"{_mean_loss(recipe)} | {_mean_loss(row)} | {_effect(row)}"
            cost = f"{row.step_cost:.2f} of the recipe's"
            rows.append(f"{text} | {losses} | {between(row.seeds)} | {between(row.text)} | {cost}")
            verdicts.append(f"{text}: {verdict(row)}.")
    if not rows:
        return f'Not in the record: `python -m benchmarks.ablation --variants "{variant}"`.'
    heading = f"text | loss of the recipe> | with {variant}> | difference> | 95 % over seeds> | 95 % over text>"
    steps = f"{record.base.steps:,} steps of the recipe, seeds {commas(record.seeds)}."
    about = f"Nats a character on held-out text, at equal time: {steps}"
    return grid(f"{heading} | its step costs>", rows, " ".join([about, *verdicts]))


for _page, (_variant, _) in IDEAS.items():
    table(f"beyond_{_page.replace('-', '_')}", "ablation")(partial(_idea, _variant))


@table("beyond", "ablation")
def _overview(record: Record) -> str:
    links = {variant: f"[{title}](/docs/beyond/{page}.md)" for page, (variant, title) in IDEAS.items()}
    rows = [
        f"{links[row.name]} | {row.name} | {text} | {_effect(row)} | {between(row.seeds)} | {verdict(row)}"
        for text, found in record.texts.items()
        for row in found
        if row.name in links
    ]
    return grid("idea | exchanged | text | loss above the recipe's> | 95 % over seeds> | what it shows", rows)


def verdict(row: Mapping[str, Any]) -> str:
    """Return what the intervals of an exchange say about the exchanged part.

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


def _mean_loss(row: Record) -> str:
    losses = [loss for loss in row.losses if loss is not None]
    return f"{fmean(losses):.4f}" if losses else "–"


@table("losses")
def _losses(record: Record) -> str:
    rows = [
        f"{row.loss:.3f} | {row.step:,} | {math.exp(row.loss):.1f} characters | {row.known_words:.0%}"
        for row in record.rows
    ]
    model = record.settings
    note = (
        f"Whole-split losses of one training: {model.n_layer} layers, {model.n_embd} channels, block "
        f"{model.block_size}, {record.steps:,} steps. Words were counted in {record.characters:,} characters at each "
        f"level, fewer where a text ended by itself."
    )
    heading = "loss, nats a character> | after steps> | as unsure as among> | words that the training text has>"
    return grid(heading, rows, note)


def _sample(level: float | None, record: Record) -> str:
    row = next(row for row in record.rows if row.level == level)
    lines = [line.rstrip() for line in row.sample.strip("\n").splitlines()]
    about = f"Loss {row.loss:.3f}, after {row.step:,} steps. Measured by the same command:"
    return "\n".join([about, "", "```text", *lines, "```"])


for _name, _level in {"untrained": None, "25": 2.5, "20": 2.0, "17": 1.7, "15": 1.5}.items():
    table(f"losses_{_name}", "losses", measured=False)(partial(_sample, _level))


@table("answers")
def _answers(record: Record) -> str:
    kinds = {"learned": "that it was trained on", "reworded": "about the same, in other words", "new": "about others"}
    before, after, rows = record.models.before, record.models.after, []
    for kind, about in kinds.items():
        counts = " | ".join(f"{one[kind].ended} | {one[kind].right}" for one in (before, after))
        rows.append(f"{about} | {before[kind].asked} | {counts}")
    first, second = record.first, record.second
    note = (
        f"{first.parameters:,} parameters; {first.steps:,} steps on Tiny Shakespeare (loss {first.loss:.3f}), then "
        f"{second.steps:,} steps on {second.pairs} pairs, {second.learned} of them in the training part."
    )
    return grid("questions | asked> | before: end> | right> | after: end> | right>", rows, note)


@table("answers_shown", "answers")
def _answers_shown(record: Record) -> str:
    rows = [
        f"{one.question} | {_shorten(one)} | {_shorten(other)}"
        for kind in ("learned", "reworded", "new")
        for one, other in list(zip(record.models.before[kind].answers, record.models.after[kind].answers))[:3]
    ]
    return grid("question | before | after", rows, "A ⏎ is a line end, and … says that the answer goes on.")


def _shorten(one: Record, length: int = 60) -> str:
    whole = one.ended and len(one.answer) <= length
    return one.answer[:length].replace("\n", " ⏎ ").replace("|", "/") + ("" if whole else " …")


@table("tried")
def _tried(record: Record) -> str:
    def difference(row: Record) -> float:
        means = [row[name].mean for name in ("equal_time", "equal_steps")]
        return next((mean for mean in means if mean is not None), math.inf)

    parts = []
    for group in record.groups:
        rows = []
        for row in sorted(group.rows, key=difference):
            one, other = (
                f"{number(e.mean, '+.4f')} | {between(e.interval)}" for e in (row.equal_steps, row.equal_time)
            )
            about = f"{row.idea} | {'yes' if row.in_qwen3 else 'no'} | {one} | {number(row.step_cost, '.2f')} | {other}"
            rows.append(f"{about} | {row.equal_steps.pairs} | {row.verdict}")
        texts, seeds = commas(group.texts), commas(group.seeds)
        parts.append(f"Size `{group.size}`, {group.steps:,} steps of the recipe, texts {texts}, seeds {seeds}:")
        heading = "idea | a Qwen3 still | at equal steps> | 95 %> | step's cost> | at equal time> | 95 %> | pairs>"
        parts.append(grid(f"{heading} | verdict", rows))
    return "\n\n".join(parts)


@table("forecast", measured=False)
def _forecast(record: Record) -> str:
    rows = [
        f"{name} | {record.error_by_text[name]:.1%} | {share:.0%}" for name, share in record.coverage_by_text.items()
    ]
    note = (
        f"{record.rows} trainings; error of the fit {record.error_of_fit:.1%}; interval for a new text ± "
        f"{record.half_width:.1%}; coverage {record.coverage:.0%}."
    )
    return grid("text left out | error on it> | interval holds>", rows, note)


@table("llama_cpp")
def _llama_cpp(record: Record) -> str:
    rows = []
    for row in record.rows:
        for one in row.exports:
            same = f"{one.same_tokens} of {record.tokens} | {number(one.gap_where_they_part, '.1e')}"
            differences = f"{one.largest_difference:.1e} | {one.allowed_difference:.1e}"
            rows.append(f"{row.model} | {one.precision} | {one.bytes / 1e6:.1f} | {same} | {differences}")
    packages = commas(f"{name} {version}" for name, version in record.packages.items())
    heading = "model | weights | MB> | same likeliest tokens> | apart where they part> | logits differ by> | allowed>"
    return grid(heading, rows, f"With {packages}; keys and values in float32; all inside the context.")


@table("html_page")
def _html_page(record: Record) -> str:
    goals, speeds, browser = record.goals, record.characters_per_second, record.browser
    page, model = (f"{one.median:.0f} ({one.low:.0f}–{one.high:.0f})" for one in (speeds.page, speeds.model))
    rows = [
        f"page of {record.parameters:,} parameters | {record.bytes:,} bytes | < {goals.bytes:,}",
        f"a parameter | {record.bytes_per_parameter:.3f} bytes | ≤ {goals.bytes_per_parameter}",
        f"the page writes | {page} characters a second | ≥ {goals.characters_per_second}",
        f"the model in it alone | {model} characters a second | ",
    ]
    where = "on one core" if browser.one_core else "on all cores"
    note = f"In {browser.program} {browser.version} without a window, {where}."
    return grid(" | measured> | goal>", rows, note)


@table("fine_tuning")
def _fine_tuning(record: Record) -> str:
    setting, measured = record.setting, record.measured
    rows = [f"the imported model as it is | – | {measured.before:.3f}"]
    for name, title in (("whole", "`--from`"), ("lora", "`--from … --lora 8`"), ("from nothing", "from nothing")):
        row = measured[name]
        rows.append(f"{title} | {row.learning_rate:.1g} | {row.mean:.3f} ± {row.spread / 2:.3f}")
    heading = f"{setting.steps} steps on {setting.characters:,} characters of Tiny Shakespeare"
    return grid(f"{heading} | learning rate> | validation loss, nats a byte>", rows)


@table("fine_tuning_sweep", "fine_tuning")
def _fine_tuning_sweep(record: Record) -> str:
    found = [(name, row) for name, rows in record.sweep.items() for row in rows]
    rows = (f"{name} | {row.learning_rate:.1g} | {row.mean:.3f}" for name, row in found)
    return grid("as much of Don Quijote, one seed | learning rate> | validation loss, nats a byte>", rows)


@table("studio")
def _studio(record: Record) -> str:
    usable_goal, cost_goal = record.goals.values()
    starting, usable, writing = (
        f"{one.median:.2f} s ({one.low:.2f}–{one.high:.2f}, n = {one.n})"
        for one in (record.seconds[f"{name}_seconds"] for name in ("starting", "usable", "writing"))
    )
    speed = record.speed_open_over_closed
    low, high = speed.interval or (math.nan, math.nan)
    interval = f"95 % interval {100 - 100 * high:.1f} % to {100 - 100 * low:.1f} %, {speed.pairs} pairs"
    opened = f"a model of {record.parameters:,} parameters is open and the buttons work"
    cost = f"{100 - 100 * speed.median:.1f} % of its speed ({interval})"
    rows = [
        f"from the command until it says where it listens | {starting} | ",
        f"from there until {opened} | {usable} | < {usable_goal:g} s",
        f"from “Write” to the first letters | {writing} | ",
        f"what an open page, browser and all, costs a training beside it | {cost} | < {100 * cost_goal:.1f} %",
    ]
    note = f"In Chromium {record.browser} without a window, on the same cores."
    return grid(" | measured> | goal>", rows, note)


@table("serving")
def _serving(record: Record) -> str:
    sizes, left, rows = record.sizes, record.left, []
    for row in record.streams:
        waits = " | ".join(f"{row[name].median:.3f} s" for name in ("p50", "p95"))
        speeds = f"{row.streams} | {spread(row.rate, 0)} | {row.over_first.median:.1f}"
        rows.append(f"{row.precision} | {speeds} | {waits} | {row.texts:,} | {row.errors}")
    size = (
        f"{sizes['n-layer']} layers, {sizes['n-head']} heads, {sizes['n-embd']} channels, block {sizes['block-size']}"
    )
    heading = f"{size} | streams> | tokens/s> | of one stream's> | first token, p50> | p95> | texts> | errors>"
    before, after = (left[when] / 1e6 for when in ("before_bytes", "after_bytes"))
    note = (
        f"{left.clients:,} clients that left in the middle of a text: {before:.0f} MB before, {after:.0f} MB after; "
        f"the last ones' places were free after {left.freed_seconds:.2f} s."
    )
    return grid(heading, rows, note)


if __name__ == "__main__":
    main()
