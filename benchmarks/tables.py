"""The tables of README and docs, written from the records between their markers.

    python -m benchmarks.tables

A table has a marker, a record, and a macro in tables.jinja. Pages with `<!-- NAME -->` and `<!-- end NAME -->` are
found in README.md and docs/; a test compares them with what this command would write, so that no figure goes stale.
Where its record is missing, a table names the command that measures it.
"""

import json
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean, median
from typing import Any

import jinja2

from benchmarks import record as records

Record = Mapping[str, Any]

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
SAMPLES = {"losses_untrained": None, "losses_25": 2.5, "losses_20": 2.0, "losses_17": 1.7, "losses_15": 1.5}
"""Samples at a level of the loss, None before training."""
_OTHER_RECORD = {
    **{"recipe": "cpu_recipe", "headline": "time_to_loss", "minutes": "loss_in_minutes"},
    **{"beyond_planner": "loss_in_minutes", "beyond_cache": "generate", "beyond": "ablation"},
    **{"answers_shown": "answers", "fine_tuning_sweep": "fine_tuning", "profile_step": "profile_step_lecture"},
}
TABLES: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    **{name: (name, record, ()) for name, record in _OTHER_RECORD.items()},
    "profile_step_float32": ("profile_step", "profile_step_lecture_float32", ()),
    **{f"beyond_{page.replace('-', '_')}": ("idea", "ablation", (variant,)) for page, (variant, _) in IDEAS.items()},
    **{name: ("sample", "losses", (level,)) for name, level in SAMPLES.items()},
}
"""Macro, record and further arguments by marker, where macro and record have other names than the marker."""
HAS_PICTURE = ("time_to_loss", "loss_in_minutes", "throughput", "scaling", "ablation")
HAS_SEEDS = ("ladder", "recipe")
COMMANDS = {
    "profile_step_lecture": "profile_step --size lecture",
    "profile_step_lecture_float32": "profile_step --size lecture --precision float32",
}
"""Commands that write a record with another name."""


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


def _make(name: str, page: Path) -> str:
    macro, source, arguments = TABLES.get(name, (name, name, ()))
    if not (records.RECORDS / f"{source}.json").exists():
        return f"Not measured yet: `python -m benchmarks.{COMMANDS.get(source, source)}`."
    record = records.read_record(source)
    text = str(getattr(macros(), macro)(record, *arguments)).strip()
    if macro != "sample":
        text += f"\n\n{macros().measured(record, name in HAS_SEEDS)}"
    if name in HAS_PICTURE and (PICTURES / f"{name}.svg").exists():
        text += f"\n\n![{name.replace('_', ' ')}](/docs/pictures/{name}.svg)"
    return re.sub(r"\]\(/([^)]+)\)", lambda link: f"]({os.path.relpath(records.ROOT / link[1], page.parent)})", text)


def render(name: str, record: Record) -> str:
    """Return a record that was just measured as its table; as JSON where it has none."""
    text = json.dumps(record, indent=2)
    macro = {"cpu_recipe": "recipe"}.get(name, "profile_step" if name.startswith("profile_step") else name)
    return str(getattr(macros(), macro)(json.loads(text))).strip() if hasattr(macros(), macro) else text


@cache
def macros() -> Any:
    """Return the macros of tables.jinja, as functions of a record."""
    where = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=where, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.ChainableUndefined
    )
    environment.filters |= FILTERS
    return environment.get_template("tables.jinja", globals={"lecture": LECTURE, "ideas": IDEAS} | GLOBALS).module


def number(value: float | None, form: str, missing: str = "–") -> str:
    """Return a number in a format of Python's."""
    return missing if value is None else format(value, form)


def spread(found: Record, digits: int) -> str:
    """Return the median, with lowest and highest if there are several measurements; a dash without any."""
    if not found:
        return "–"
    middle = f"{found['median']:,.{digits}f}"
    if found.get("n", found.get("pairs")) == 1:
        return middle
    return f"{middle} ({found['low']:,.{digits}f}–{found['high']:,.{digits}f})"


def between(ends: Sequence[float] | None) -> str:
    """Return an interval."""
    return "–" if ends is None else f"{ends[0]:+.4f} to {ends[1]:+.4f}"


def duration(value: float) -> str:
    """Return seconds as seconds, minutes or hours.

    >>> [duration(value) for value in (4.8, 330.0, 41_000.0)]
    ['4.8 s', '5.5 min', '11.4 h']
    """
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None."""
    found = [value for value in values if value is not None]
    return fmean(found) if found else None


def older_rows(record: Record) -> str:
    """Return a paragraph on the rows that were measured at another commit, if there are any."""
    commits = {f"{row['minutes']:g}": {run.get("commit") for run in row["runs"]} for row in record["rows"]}
    older = [f"{key} at {', '.join(map(str, found))}" for key, found in commits.items() if found != {record["commit"]}]
    return f"\nMinutes that were measured at an earlier commit: {'; '.join(older)}." if older else ""


def expected(runs: Sequence[Record]) -> dict[str, float]:
    """Return the medians of the losses that plans expected, and how many runs reached a loss inside their interval."""
    plans = [tomllib.loads(run["plan"]) for run in runs]
    found: dict[str, float] = {
        name: median(plan[f"expected_{name}"] for plan in plans) for name in ("loss", "low", "high")
    }
    inside = [plan["expected_low"] <= run["loss"] <= plan["expected_high"] for plan, run in zip(plans, runs)]
    return found | {"inside": sum(inside)}


def rows_of(record: Record, variant: str) -> list[tuple[str, Record, Record]]:
    """Return each text, its row of a variant, and its row of the recipe."""
    recipes = {text: next(row for row in rows if not row["settings"]) for text, rows in record["texts"].items()}
    each = [(text, row) for text, rows in record["texts"].items() for row in rows if row["name"] == variant]
    return [(text, row, recipes[text]) for text, row in each]


def verdict(row: Record) -> str:
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


def by_effect(rows: Sequence[Record]) -> list[Record]:
    """Sort ideas by their difference at equal time, else at equal steps; what diverged comes last."""
    means = {row["idea"]: [row["equal_time"]["mean"], row["equal_steps"]["mean"], math.inf] for row in rows}
    return sorted(rows, key=lambda row: next(mean for mean in means[row["idea"]] if mean is not None))


def plain_lines(text: str) -> str:
    """Return a text without empty lines around it and spaces at line ends."""
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def shorten(one: Record, length: int = 60) -> str:
    """Return the beginning of an answer, for a cell."""
    whole = one["ended"] and len(one["answer"]) <= length
    return str(one["answer"][:length]).replace("\n", " ⏎ ").replace("|", "/") + ("" if whole else " …")


FILTERS: dict[str, Callable[..., Any]] = {
    **{"f": number, "spread": spread, "between": between, "duration": duration, "mean": mean},
    **{"expected": expected, "rows_of": rows_of, "verdict": verdict, "by_effect": by_effect, "exp": math.exp},
    **{"plain_lines": plain_lines, "shorten": shorten},
}
GLOBALS: dict[str, Any] = {"older_rows": older_rows, "nan": math.nan}


if __name__ == "__main__":
    main()
