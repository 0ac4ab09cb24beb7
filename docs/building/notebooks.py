"""The sections as notebooks: `python -m docs.building.notebooks [FOLDER]` writes them, below `notebooks` if not said.

They are what the sections are, with a first cell that finds the course, and with no outputs.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell

from course.__main__ import SECTIONS
from docs.building.sections import number_cells, read_section, source_of, with_times_linked

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
HOW = """*To run this notebook*, open it inside a copy of the project's folder, where `make docs` or `make course` has
installed what it needs. In Colab, upload a zip of that folder first and unpack it: `!unzip -q nano-gpt.zip`. For a
shorter training, put a cell with `from course.flags import choose; choose(steps=500)` below the one that finds the
course."""
FIND = """\
# Finds the course: in this folder, in one above it, or in one right below it.
import sys
from pathlib import Path

here = Path.cwd()
folders = [here, *here.parents, *sorted(path for path in here.iterdir() if path.is_dir())]
found = [str(folder) for folder in folders if (folder / "course" / "console.py").is_file()]
if not found:
    raise FileNotFoundError(f"no folder 'course' in, above or below {here}: open this notebook inside the project")
sys.path.insert(0, found[0])"""


def make_notebook(section: str) -> Any:
    """A section as a notebook that can be opened anywhere in the project's folder."""
    notebook = read_section(source_of(section))
    notebook.metadata.update(KERNEL)
    first, *rest = notebook.cells
    notebook.cells = [first, new_markdown_cell(HOW), new_code_cell(FIND), *rest]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_times_linked(cell.source)
    number_cells(section, notebook.cells)
    return notebook


def notebook_text(notebook: Any) -> str:
    """A notebook as the JSON of its file; raises ValidationError where it is none."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Write all ten."""
    folder = Path(arguments[0] if arguments else "notebooks")
    folder.mkdir(parents=True, exist_ok=True)
    for section in SECTIONS:
        (folder / f"{section}.ipynb").write_text(notebook_text(make_notebook(section)), encoding="utf-8")
    print(f"{len(SECTIONS)} notebooks: {folder}/")


if __name__ == "__main__":
    main(sys.argv[1:])
