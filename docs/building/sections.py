"""A section of the course as a page: `course/sNN_topic.py`, its place in front of it, and behind it what it adds.

The page is a notebook that MyST-NB executes. Two of its cells are not shown: the first says how many steps to train
and holds the fingerprint of the whole course, so that no output is kept once any section has changed; the last compares
what was reached with what is recorded. Where there is no text to train on, the cells that would train are left alone,
and the page shows the recorded losses.
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
from docs.building.adds import difference, main_of, model_of, new_names
from docs.building.ladder import ladder_table, read_record, rows_of, told, where_measured

COURSE = ROOT / "course"
MAIN_GUARD = 'if __name__ == "__main__":\n'
LECTURE_ADDRESS = "https://www.youtube.com/watch?v=kCc8FmEb1nY"


@dataclass(frozen=True, kw_only=True)
class Build:
    """How the sections are executed."""

    trained: bool = True
    """Whether there is a text to train on."""
    steps: int | None = None
    """Optimizer steps of each training, in a quick build; None leaves each section's own."""


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """The sections before and after one, as (name, title)."""

    before: tuple[str, str] | None
    after: tuple[str, str] | None


def fingerprint(course: Path = COURSE) -> str:
    """Changes whenever any file of the course, or the version of torch, does."""
    found = hashlib.sha256(torch.__version__.encode())
    for path in sorted(course.glob("*.py")):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()[:16]


def read_section(source: str) -> Any:
    """A section's source as a notebook, without what the file says of itself.

    What stands under the main guard, so that importing the file runs nothing, is marked `main` and stands without it:
    a notebook is not imported.
    """
    notebook = nbformat.v4.new_notebook(cells=jupytext.reads(source, fmt="py:percent").cells)
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith(MAIN_GUARD):
            cell.source = textwrap.dedent(cell.source.removeprefix(MAIN_GUARD))
            cell.metadata["main"] = True
    return notebook


@cache
def source_of(section: str) -> str:
    return (COURSE / f"{section}.py").read_text(encoding="utf-8")


def title_of(source: str) -> str:
    """The heading: `4. Choosing whom to listen to: self-attention`."""
    return source.split("\n# # ", 1)[1].partition("\n")[0]


def with_times_linked(markdown: str) -> str:
    """Times in the lecture, `[01:02:00]`, as links to that place of it."""

    def link(match: re.Match[str]) -> str:
        hours, minutes, seconds = (int(part) for part in match[1].split(":"))
        return f"[{match[1]}]({LECTURE_ADDRESS}&t={3600 * hours + 60 * minutes + seconds}s)"

    return re.sub(r"\[(\d\d:\d\d:\d\d)\](?!\()", link, markdown)


# The page's parts


def make_page(section: str, build: Build) -> Any:
    """The page of a section of the course, as a notebook."""
    place = SECTIONS.index(section)
    around = Neighbours(
        before=_named(SECTIONS[place - 1]) if place else None,
        after=_named(SECTIONS[place + 1]) if place + 1 < len(SECTIONS) else None,
    )
    adds = what_it_adds(source_of(section), model_of(section))
    if around.before:
        name, title = around.before
        adds = what_it_adds(source_of(section), model_of(section), (title, source_of(name), model_of(name)))
    record = read_record()
    notebook = page_of(section, source_of(section), around, build, record)
    notebook.cells += [new_markdown_cell(adds), *_ladder_cells(section, build, record)]
    return notebook


def _named(section: str) -> tuple[str, str]:
    return section, title_of(source_of(section))


def page_of(section: str, source: str, around: Neighbours, build: Build, record: dict[str, Any]) -> Any:
    """A section's own cells, with the box at the top and marked for how they are executed."""
    notebook = read_section(source)
    first, *cells = notebook.cells
    title, bullets, prose = _split_first(first.source)
    top = [f"# {title}", box(section, bullets, around), *_build_notes(build), prose]
    notebook.cells = [_setup_cell(build), new_markdown_cell("\n\n".join(top)), *cells]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_times_linked(cell.source)
    _describe_pictures(notebook.cells, source)
    if not build.trained:
        notebook.cells = _leave_untrained(section, notebook.cells, record)
    number_cells(section, notebook.cells)
    return notebook


def _split_first(markdown: str) -> tuple[str, str, str]:
    """A section's first cell: heading, bullets, and the rest."""
    heading, bullets, prose = markdown.split("\n\n", 2)
    return heading.removeprefix("# "), bullets, prose


def box(section: str, bullets: str, around: Neighbours) -> str:
    """Where the section stands: in the course, in the lecture, in the paper."""
    ways = [
        f"← [{around.before[1]}]({around.before[0]}.ipynb)" if around.before else "",
        f"[{around.after[1]}]({around.after[0]}.ipynb) →" if around.after else "",
        f"{{download}}`notebook <../notebooks/{section}.ipynb>` for Jupyter and Colab",
        f"as a script, `python -m course.{section}`",
        f"its exercises, `python -m course.check {section[:3]}`",
    ]
    lines = ":::{admonition} Where this section stands\n:class: place\n\n"
    return f"{lines}{bullets}\n\n{' · '.join(way for way in ways if way)}\n:::"


def _build_notes(build: Build) -> list[str]:
    if not build.trained:
        return [
            ":::{important}\nThis page was built without Tiny Shakespeare, and so its model is not trained: where it "
            "would have been, the recorded losses stand, and what needs a trained model is left out. Set "
            "`NANOGPT_DATA` to a folder that has `shakespeare.txt`, and build again.\n:::"
        ]
    if build.steps is not None:
        return [
            f":::{{important}}\nThis is a quick build: each training here took {build.steps:,} steps, and so losses, "
            "samples and pictures are not those that the text speaks of.\n:::"
        ]
    return []


def _setup_cell(build: Build) -> Any:
    lines = [f"# the course's fingerprint: {fingerprint()}"]
    if build.steps is not None:
        lines += ["from course.flags import choose", f"choose(steps={build.steps})"]
    return new_code_cell("\n".join(lines), metadata={"tags": ["remove-cell"]})


def _describe_pictures(cells: Sequence[Any], source: str) -> None:
    """Give each picture a text in its place: the first line of what the function that draws it says of itself."""
    says = {
        node.name: (ast.get_docstring(node) or "").partition("\n")[0]
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef)
    }
    for cell in cells:
        shown = re.search(r"\bshow\((\w+)", cell.source) if cell.cell_type == "code" else None
        if shown and says.get(shown[1]):
            cell.metadata["mystnb"] = {"image": {"alt": says[shown[1]]}}


def _leave_untrained(section: str, cells: Sequence[Any], record: dict[str, Any]) -> list[Any]:
    """The cells, those that need a training marked to be skipped, and after the last training the recorded losses."""
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
            kept.append(new_markdown_cell(recorded_note(rows_of(record, section))))
    return kept


def recorded_note(rows: Sequence[dict[str, Any]]) -> str:
    """What a section reached when it was recorded."""
    lines = [
        f"- {row['label']}: {row['parameters']:,} parameters, {row['steps']:,} steps, training loss "
        f"{row['train_loss']:.3f}, validation loss {told(row)}"
        for row in rows
    ]
    return ":::{admonition} Not trained here: the recorded losses\n\n" + "\n".join(lines) + "\n:::"


def what_it_adds(source: str, model: str, before: tuple[str, str, str] | None = None) -> str:
    """Markdown: the new names, the model and `main`, against the section `before` (title, source, model)."""
    rows = [f"| `{one.name}` | {one.says.rstrip('.').replace('|', chr(92) + '|')} |" for one in new_names(source)]
    names = "| new here | |\n|---|---|\n" + "\n".join(rows)
    if before is None:
        model_text = f"The model:\n\n```text\n{model}\n```"
        return f"## What this section adds\n\n{names}\n\n{model_text}"
    title, source_before, model_before = before
    code = difference(main_of(source_before), main_of(source))
    return "\n\n".join(
        [
            "## What this section adds",
            names,
            f"The model, against that of *{title}*:",
            _fenced_difference(difference(model_before, model), model),
            f"<details><summary>The difference of <code>main</code></summary>\n\n```diff\n{code}\n```\n\n</details>",
        ]
    )


def _fenced_difference(changes: str, model: str) -> str:
    return f"```diff\n{changes}\n```" if changes else f"```text\n{model}\n```\n\nNothing in it has changed."


def _ladder_cells(section: str, build: Build, record: dict[str, Any]) -> list[Any]:
    text = f"## The ladder so far\n\n{ladder_table(record, section)}\n\n{where_measured(record)}"
    cells = [new_markdown_cell(text)]
    if build.trained:
        call = f"compare({section!r}, result, quick={build.steps is not None})"
        code = f"from docs.building.ladder import compare\n\n{call}"
        cells.append(new_code_cell(code, metadata={"tags": ["remove-input"]}))
    number_cells(f"{section}-ladder", cells)
    return cells


def number_cells(section: str, cells: Sequence[Any]) -> None:
    """Ids by place, in place of random ones: the same section gives the same page."""
    for number, cell in enumerate(cells):
        cell.id = f"{section}-{number}".replace("_", "-")
