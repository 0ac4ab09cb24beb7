"""README's tables, written from the records between their markers.

    python -m benchmarks.tables

A test compares README with what this would write, so that no figure there goes stale.
"""

import json
from pathlib import Path
from typing import Any

from benchmarks.record import RECORDS

README = RECORDS.parent.parent / "README.md"

# What the lecture and a viewer who ran each of its steps report: means of random batches, one seed.
LECTURE = {
    "s01_bigram": "2.49",
    "s04_self_attention": "2.40",
    "s05_multi_head": "2.28",
    "s06_feed_forward": "2.24–2.27",
    "s07_residual": "2.08–2.09",
    "s08_layer_norm": "2.06–2.08",
    "s10_gpt": "1.48 at full size",
}


def fill(text: str) -> str:
    """README's text with each table between `<!-- NAME -->` and `<!-- end NAME -->` as the records have it."""
    for name, (record, make) in TABLES.items():
        opening, closing = f"<!-- {name} -->\n", f"<!-- end {name} -->"
        if text.count(opening) != 1 or text.count(closing) != 1:
            raise ValueError(f"README needs one place for the table {name!r}, between {opening.strip()} and {closing}")
        before, rest = text.split(opening)
        _, after = rest.split(closing)
        numbers = json.loads((RECORDS / f"{record}.json").read_text(encoding="utf-8"))
        text = f"{before}{opening}{make(numbers)}\n{closing}{after}"
    return text


def ladder_table(record: dict[str, Any]) -> str:
    """The ten sections: idea, parameters, loss, time, and what the lecture reports."""
    lines = [
        "| | section | the one new idea | parameters | validation loss | seconds | lecture |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    for row in record["sections"]:
        if row["variant"]:
            continue
        number = int(row["section"][1:3])
        spread = f" ± {row['val_spread'] / 2:.3f}" if len(row["val_losses"]) > 1 else ""
        seconds = sum(row["seconds"]) / len(row["seconds"])
        lines.append(
            f"| {number} | [`{row['section']}`](course/{row['section']}.py) | {row['idea']} | {row['parameters']:,} | "
            f"{row['val_loss']:.3f}{spread} | {seconds:.0f} | {LECTURE.get(row['section'], '–')} |"
        )
    return "\n".join(lines) + "\n\n" + _measured(record)


def recipe_table(record: dict[str, Any]) -> str:
    """The presets at nanoGPT's CPU size, beside nanoGPT."""
    lines = [
        "| 4 layers, 4 heads, 128 channels, block 64, batch 12, 2,000 steps | validation loss, whole-split |",
        "|---|---:|",
    ]
    for preset, row in record["presets"].items():
        lines.append(f"| `--preset {preset}` | {row['mean']:.3f} ± {row['spread'] / 2:.3f} |")
    lines.append(f"| nanoGPT's CPU recipe, its checkpoint measured the same way, once | {record['nanoGPT']} |")
    return "\n".join(lines) + "\n\n" + _measured(record)


def floors_table(record: dict[str, Any]) -> str:
    """What the same text costs without a network."""
    lines = ["| Tiny Shakespeare's validation part, characters | nats/token | bits per byte |", "|---|---:|---:|"]
    for row in record["rows"]:
        loss, bits = ("–" if row[key] is None else f"{row[key]:.3f}" for key in ("loss", "bits_per_byte"))
        lines.append(f"| {row['name']} | {loss} | {bits} |")
    return "\n".join(lines) + "\n\n" + _measured(record, seeds=False)


def _measured(record: dict[str, Any], seeds: bool = True) -> str:
    machine, versions = record["hardware"], record["versions"]
    return (
        f"Measured by `{record['command']}` on {machine['cores']} cores ({machine['processor']}), torch "
        f"{versions['torch']}, commit {record['commit']}"
        + ("; ± is half the distance between the highest and the lowest seed." if seeds else ".")
    )


TABLES = {
    "ladder": ("ladder", ladder_table),
    "recipe": ("cpu_recipe", recipe_table),
    "floors": ("floors", floors_table),
}
"""The tables by their markers' names: a record, and what makes its table."""


def main() -> None:
    """Write README anew."""
    README.write_text(fill(README.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {Path(README).name}")


if __name__ == "__main__":
    main()
