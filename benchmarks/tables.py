"""The tables of README and docs, written from the records between their markers.

    python -m benchmarks.tables

A test compares these pages with what this would write, so that no figure there goes stale. A figure that has no record
yet is said to have none, and how it is measured.
"""

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.beyond_tables import ANSWERS_TABLES, BEYOND_PAGES, BEYOND_TABLES, LOSSES_TABLES
from benchmarks.export_tables import EXPORT_TABLES, FINE_TUNING_TABLES
from benchmarks.pictures import PICTURES
from benchmarks.record import RECORDS
from benchmarks.speed_tables import README_TABLES, SPEED_TABLES
from benchmarks.studio_tables import SERVING_TABLES, STUDIO_TABLES
from benchmarks.tried_tables import tried_table

ROOT = RECORDS.parent.parent

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


def fill(text: str, names: Sequence[str]) -> str:
    """A page's text with each table between `<!-- NAME -->` and `<!-- end NAME -->` as the records have it."""
    for name in names:
        opening, closing = f"<!-- {name} -->\n", f"<!-- end {name} -->"
        if text.count(opening) != 1 or text.count(closing) != 1:
            raise ValueError(f"one place is needed for the table {name!r}, between {opening.strip()} and {closing}")
        before, rest = text.split(opening)
        _, after = rest.split(closing)
        text = f"{before}{opening}{_table(name)}\n{closing}{after}"
    return text


def _table(name: str) -> str:
    record, make = TABLES[name]
    path = RECORDS / f"{record}.json"
    if not path.exists():
        return f"Not measured yet: `python -m benchmarks.{COMMANDS.get(record, record)}`."
    numbers = json.loads(path.read_text(encoding="utf-8"))
    table = make(numbers)
    if "Measured by" not in table:
        table += "\n\n" + _measured(numbers, seeds=False)
    if name in SPEED_TABLES and (PICTURES / f"{name}.svg").exists():
        table += f"\n\n![{name.replace('_', ' ')}](pictures/{name}.svg)"
    return table


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
            f"| {number} | [`{row['section']}`](../course/{row['section']}.py) | {row['idea']} | {row['parameters']:,} | "
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
    return "\n".join(lines) + "\n\n" + _measured(record)


def floors_table(record: dict[str, Any]) -> str:
    """What the same text costs without a network."""
    lines = ["| Tiny Shakespeare's validation part, characters | nats/token | bits per byte |", "|---|---:|---:|"]
    for row in record["rows"]:
        loss, bits = ("–" if row[key] is None else f"{row[key]:.3f}" for key in ("loss", "bits_per_byte"))
        lines.append(f"| {row['name']} | {loss} | {bits} |")
    return "\n".join(lines) + "\n\n" + _measured(record, seeds=False)


def kills_table(record: dict[str, Any]) -> str:
    """What a run that was killed again and again has in common with one that was not."""
    moments = ", ".join(f"{count} while {moment}" for moment, count in sorted(record["killed_while"].items()))
    rows = {
        "kills (SIGKILL), each followed by a resume": f"{record['kills']:,}: {moments}",
        "of these, left a half-written file": f"{record['left_half_written']:,}",
        "steps": f"{record['steps']:,}",
        "checkpoints lost": f"{record['lost_checkpoints']:,}",
        "files and figures that differ at the end": f"{len(record['differences']):,}",
        "bytes compared": f"{record['compared_bytes']:,}",
    }
    lines = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    return "\n".join(lines) + "\n\n" + _measured(record, seeds=False)


def large_text_table(record: dict[str, Any]) -> str:
    """How fast a text becomes tokens, and in how much memory."""
    lines = [
        "| | text, GB | MB/s, both readings | a core, both readings | a core, tokens alone | memory, MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in record["tokenizers"].items():
        lines.append(
            f"| `{name}` | {row['megabytes'] / 1e3:.1f} | {row['megabytes_per_second']:.1f} | "
            f"{row['megabytes_per_second_per_core']:.1f} | {row['encode_megabytes_per_second_per_core']:.1f} | "
            f"{row['peak_anonymous_megabytes']:.0f} |"
        )
        if "library" in row:
            library = row["library"]
            lines.append(
                f"| Hugging Face `tokenizers` alone, in memory | {library['megabytes'] / 1e3:.1f} | "
                f"{library['megabytes_per_second']:.1f} | – | {library['megabytes_per_second_per_core']:.1f} | "
                f"{library['peak_anonymous_megabytes']:.0f} |"
            )
    return "\n".join(lines) + "\n\n" + _measured(record, seeds=False)


def _measured(record: dict[str, Any], seeds: bool = True) -> str:
    machine, versions = record["hardware"], record["versions"]
    return (
        f"Measured by `{record['command']}` on {machine['cores']} cores ({machine['processor']}), torch "
        f"{versions['torch']}, commit {record['commit']}"
        + ("; ± is half the distance between the highest and the lowest seed." if seeds else ".")
    )


TABLES = {
    **README_TABLES,
    "ladder": ("ladder", ladder_table),
    "recipe": ("cpu_recipe", recipe_table),
    "floors": ("floors", floors_table),
    "kills": ("kills", kills_table),
    "large_text": ("large_text", large_text_table),
    "tried": ("tried", tried_table),
    **FINE_TUNING_TABLES,
    **EXPORT_TABLES,
    **SPEED_TABLES,
    **STUDIO_TABLES,
    **SERVING_TABLES,
    **BEYOND_TABLES,
    **LOSSES_TABLES,
    **ANSWERS_TABLES,
}
"""The tables by their markers' names: a record, and what makes its table."""

COMMANDS = {
    "profile_step_lecture": "profile_step --size lecture",
    "profile_step_lecture_float32": "profile_step --size lecture --precision float32",
}
"""What makes a record whose command has another name."""

PAGES = {
    ROOT / "README.md": ("headline", "minutes"),
    ROOT / "docs" / "index.md": ("ladder",),
    ROOT / "docs" / "resume.md": ("kills",),
    ROOT / "docs" / "texts.md": ("large_text",),
    ROOT / "docs" / "speed.md": (*SPEED_TABLES, "recipe"),
    ROOT / "docs" / "what-was-tried.md": ("tried",),
    ROOT / "docs" / "elsewhere.md": tuple(EXPORT_TABLES),
    ROOT / "docs" / "fine-tuning.md": tuple(FINE_TUNING_TABLES),
    ROOT / "docs" / "studio.md": tuple(STUDIO_TABLES),
    ROOT / "docs" / "serving.md": tuple(SERVING_TABLES),
    ROOT / "docs" / "losses.md": (*LOSSES_TABLES, "floors"),
    ROOT / "docs" / "from-gpt-to-chatgpt.md": tuple(ANSWERS_TABLES),
    **{ROOT / "docs" / "beyond" / f"{page}.md": names for page, names in BEYOND_PAGES.items()},
}
"""The pages that have tables, and which."""


def main() -> None:
    """Write the pages anew."""
    for page, names in PAGES.items():
        page.write_text(fill(page.read_text(encoding="utf-8"), names), encoding="utf-8")
        print(f"wrote {page.name}")


if __name__ == "__main__":
    main()
