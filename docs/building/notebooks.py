"""The sections as notebooks without outputs: `python -m docs.building.notebooks [FOLDER]` (default: notebooks)."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from course.__main__ import SECTIONS
from docs.building.sections import link_times, number_cells, read_section, source_of

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
HOW = """*To run this notebook*, open it inside a copy of the project's folder, after `make docs` or `make course` has
installed what it needs. In Colab, upload a zip file of that folder first and unpack it: `!unzip -q nano-gpt.zip`. For a
shorter training, add a cell with `from course.flags import choose; choose(steps=500)` below the one that finds the
course."""
FIND = """\
# Find the course: in this folder, in one above it, or in one directly below it.
import sys
from pathlib import Path

here = Path.cwd()
folders = [here, *here.parents, *sorted(path for path in here.iterdir() if path.is_dir())]
found = [str(folder) for folder in folders if (folder / "course" / "console.py").is_file()]
if not found:
    raise FileNotFoundError(f"no folder 'course' in, above or below {here}: open this notebook inside the project")
sys.path.insert(0, found[0])"""


def make_notebook(section: str) -> Any:
    """Return a section as a notebook that runs anywhere in the project's folder."""
    notebook = read_section(source_of(section))
    notebook.metadata.update(KERNEL)
    first, *rest = notebook.cells
    notebook.cells = [first, new_markdown_cell(HOW), new_code_cell(FIND), *rest]
    link_times(notebook.cells)
    number_cells(section, notebook.cells)
    return notebook


def notebook_text(notebook: Any) -> str:
    """Return the JSON of a notebook's file."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Write all ten notebooks."""
    folder = Path(arguments[0] if arguments else "notebooks")
    folder.mkdir(parents=True, exist_ok=True)
    for section in SECTIONS:
        (folder / f"{section}.ipynb").write_text(notebook_text(make_notebook(section)), encoding="utf-8")
    print(f"{len(SECTIONS)} notebooks: {folder}/")


if __name__ == "__main__":
    main(sys.argv[1:])
