"""A section of the course as a page: `course/sNN_topic.py` with its links at the top and its changes at the end.

The page is a notebook that MyST-NB executes. Its first cell, which is hidden, sets the number of steps and holds a hash
of the whole course, so that a change in any section invalidates all cached outputs. Its last cell compares the losses
with the recorded ones. Without a text to train on, cells that need training are skipped, and the page shows the
recorded losses.
"""

import ast
import hashlib
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell

from course.__main__ import SECTIONS
from docs.building import ROOT
from docs.building.changes import difference, main_of, model_of, new_names
from docs.building.losses import how_measured, loss_with_spread, read_record, rows_of, table_of_losses

COURSE = ROOT / "course"
MAIN_GUARD = 'if __name__ == "__main__":\n'
LECTURE_ADDRESS = "https://www.youtube.com/watch?v=kCc8FmEb1nY"


@dataclass(frozen=True, kw_only=True)
class Build:
    """How the sections are executed."""

    trained: bool = True
    """whether there is a text to train on"""
    steps: int | None = None
    """optimizer steps of each training in a quick build; None: the section's own number"""


def course_hash(course: Path = COURSE) -> str:
    """Return a hash of the course's files and torch's version."""
    found = hashlib.sha256(torch.__version__.encode())
    for path in sorted(course.glob("*.py")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:16]


@cache
def source_of(section: str) -> str:
    """Return the source of a section of the course."""
    return (COURSE / f"{section}.py").read_text(encoding="utf-8")


def title_of(source: str) -> str:
    """Return a section's heading, such as `4. Choosing whom to listen to: self-attention`."""
    return source.split("\n# # ", 1)[1].partition("\n")[0]


def read_section(source: str) -> Any:
    """Convert a section's source to a notebook.

    Cells under the main guard are marked `main` and lose the guard, which a notebook does not need.
    """
    notebook = nbformat.v4.new_notebook(cells=jupytext.reads(source, fmt="py:percent").cells)
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith(MAIN_GUARD):
            cell.source = textwrap.dedent(cell.source.removeprefix(MAIN_GUARD))
            cell.metadata["main"] = True
    return notebook


def link_times(cells: Sequence[Any]) -> None:
    """Turn times in the lecture, such as `[01:02:00]`, into links to the video."""

    def link(match: re.Match[str]) -> str:
        hours, minutes, seconds = (int(part) for part in match[1].split(":"))
        return f"[{match[1]}]({LECTURE_ADDRESS}&t={3600 * hours + 60 * minutes + seconds}s)"

    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\[(\d\d:\d\d:\d\d)\](?!\()", link, cell.source)


def number_cells(section: str, cells: Sequence[Any]) -> None:
    """Replace random cell ids by numbers, so that the same section always gives the same page."""
    for number, cell in enumerate(cells):
        cell.id = f"{section}-{number}".replace("_", "-")


def make_page(section: str, build: Build) -> Any:
    """Return the page of a section of the course, as a notebook."""
    i = SECTIONS.index(section)
    before = SECTIONS[i - 1] if i else None
    after = SECTIONS[i + 1] if i + 1 < len(SECTIONS) else None
    links = [
        f"← [{title_of(source_of(before))}]({before}.ipynb)" if before else "",
        f"[{title_of(source_of(after))}]({after}.ipynb) →" if after else "",
    ]
    compared = (title_of(source_of(before)), source_of(before), model_of(before)) if before else None
    record = read_record()
    notebook = page_of(section, source_of(section), links, build, record)
    notebook.cells.append(new_markdown_cell(what_it_adds(source_of(section), model_of(section), compared)))
    notebook.cells += _cells_of_losses(section, build, record)
    return notebook


def page_of(section: str, source: str, links: Sequence[str], build: Build, record: dict[str, Any]) -> Any:
    """Return a section's own cells, with a box of links at the top, and with tags for how to execute them."""
    notebook = read_section(source)
    first, *cells = notebook.cells
    heading, bullets, prose = first.source.split("\n\n", 2)
    top = "\n\n".join([heading, _box(section, bullets, links), *_build_notes(build), prose])
    notebook.cells = [_setup_cell(build), new_markdown_cell(top), *cells]
    link_times(notebook.cells)
    _describe_pictures(notebook.cells, source)
    if not build.trained:
        notebook.cells = _skip_training(section, notebook.cells, record)
    number_cells(section, notebook.cells)
    return notebook


def _box(section: str, bullets: str, links: Sequence[str]) -> str:
    """Return the box at the top: the section in the course, in the lecture and in the paper."""
    links = [
        *filter(None, links),
        f"{{download}}`notebook <../notebooks/{section}.ipynb>` for Jupyter and Colab",
        f"as a script: `python -m course.{section}`",
        f"exercises: `python -m course.check {section[:3]}`",
    ]
    return f":::{{admonition}} This section\n:class: section-links\n\n{bullets}\n\n{' · '.join(links)}\n:::"


def _build_notes(build: Build) -> list[str]:
    if not build.trained:
        return [
            ":::{important}\nThis page was built without Tiny Shakespeare, so its model is not trained. The page shows "
            "the recorded losses, and skips what needs a trained model. To train it, set `NANOGPT_DATA` to a folder "
            "with `shakespeare.txt` and build again.\n:::"
        ]
    if build.steps is not None:
        return [
            f":::{{important}}\nThis is a quick build with {build.steps:,} steps per training: losses, samples and "
            "pictures differ from what the text says.\n:::"
        ]
    return []


def _setup_cell(build: Build) -> Any:
    lines = [f"# hash of the course: {course_hash()}"]
    if build.steps is not None:
        lines += ["from course.flags import choose", f"choose(steps={build.steps})"]
    return new_code_cell("\n".join(lines), metadata={"tags": ["remove-cell"]})


def _describe_pictures(cells: Sequence[Any], source: str) -> None:
    """Give each picture an alternative text: the first docstring line of the function that draws it."""
    says = {
        node.name: (ast.get_docstring(node) or "").partition("\n")[0]
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    }
    for cell in cells:
        shown = re.search(r"\bshow\((\w+)", cell.source) if cell.cell_type == "code" else None
        if shown and says.get(shown[1]):
            cell.metadata["mystnb"] = {"image": {"alt": says[shown[1]]}}


def _skip_training(section: str, cells: Sequence[Any], record: dict[str, Any]) -> list[Any]:
    """Return the cells with those that need training tagged to be skipped, and with the recorded losses."""
    trained: set[str] = set()
    kept: list[Any] = []
    for cell in cells:
        kept.append(cell)
        if not cell.metadata.get("main"):
            continue
        trained |= set(re.findall(r"(\w+) = run\(", cell.source))
        if any(re.search(rf"\b{name}\b", cell.source) for name in trained):
            cell.metadata.setdefault("tags", []).append("skip-execution")
        if "= run(main)" in cell.source:
            kept.append(new_markdown_cell(_recorded_losses(rows_of(record, section))))
    return kept


def _recorded_losses(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        f"- {row['label']}: {row['parameters']:,} parameters, {row['steps']:,} steps, training loss "
        f"{row['train_loss']:.3f}, validation loss {loss_with_spread(row)}"
        for row in rows
    ]
    return ":::{admonition} Not trained here: the recorded losses\n\n" + "\n".join(lines) + "\n:::"


def what_it_adds(source: str, model: str, before: tuple[str, str, str] | None = None) -> str:
    """Return Markdown with the new names and the changes since the section `before` (title, source, model)."""
    escaped = {name: says.rstrip(".").replace("|", r"\|") for name, says in new_names(source).items()}
    rows = [f"| `{name}` | {says} |" for name, says in escaped.items()]
    parts = ["## What this section adds", "\n".join(["| new here | |\n|---|---|", *rows])]
    if before is None:
        return "\n\n".join([*parts, "The model:", f"```text\n{model}\n```"])
    title, source_before, model_before = before
    changes = difference(model_before, model)
    code = difference(main_of(source_before), main_of(source))
    return "\n\n".join(
        [
            *parts,
            f"The model, compared with *{title}*:",
            f"```diff\n{changes}\n```" if changes else f"```text\n{model}\n```\n\nIt has not changed.",
            f"<details><summary>Changes in <code>main</code></summary>\n\n```diff\n{code}\n```\n\n</details>",
        ]
    )


def _cells_of_losses(section: str, build: Build, record: dict[str, Any]) -> list[Any]:
    cells = [new_markdown_cell(f"## Losses so far\n\n{table_of_losses(record, section)}\n\n{how_measured(record)}")]
    if build.trained:
        call = f"compare({section!r}, result, quick={build.steps is not None})"
        code = f"from docs.building.losses import compare\n\n{call}"
        cells.append(new_code_cell(code, metadata={"tags": ["remove-input"]}))
    number_cells(f"{section}-losses", cells)
    return cells
