"""From a section to its page, before anything is executed."""

import shutil
import textwrap

import pytest
from tiny_section import RECORD, TINY

from course.__main__ import SECTIONS
from docs.building.sections import (
    COURSE,
    Build,
    Neighbours,
    fingerprint,
    page_of,
    source_of,
    title_of,
    what_it_adds,
    with_times_linked,
)

AROUND = Neighbours(before=None, after=("s02_averaging", "2. The next"))


def page(**build):
    return page_of("s01_bigram", TINY, AROUND, Build(**build), RECORD)


def markdown(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def tags(notebook, part):
    (found,) = [cell for cell in notebook.cells if part in cell.source and "def " not in cell.source]
    return found.metadata.get("tags", [])


def test_the_box_stands_between_title_and_prose():
    text = markdown(page())
    title, rest = text.split("\n\n", 1)
    assert title == "# 1. A tiny section"
    assert rest.startswith(":::{admonition} Where this section stands")
    assert "[2. The next](s02_averaging.ipynb) →" in rest
    assert "←" not in rest
    assert "../notebooks/s01_bigram.ipynb" in rest
    assert rest.index("**New here:**") < rest.index("python -m course.s01_bigram") < rest.index("Twice $x$")


def test_times_lead_to_the_lecture_and_links_stay():
    text = markdown(page())
    assert "[00:01:02](https://www.youtube.com/watch?v=kCc8FmEb1nY&t=62s)" in text
    assert "[01:00:00](https://example.org)" in text
    assert with_times_linked("[01:48:53]").endswith("&t=6533s)")


def test_the_code_of_a_section_is_on_its_page_as_it_is_but_for_the_guards():
    cells = [cell for cell in page().cells if cell.cell_type == "code"][1:]
    for cell in cells:
        guarded = 'if __name__ == "__main__":\n' + textwrap.indent(cell.source, "    ")
        assert (guarded if cell.metadata.get("main") else cell.source) in TINY
        assert "__main__" not in cell.source
    assert len(cells) == TINY.count("\n# %%\n")
    assert sum("main" in cell.metadata for cell in cells) == TINY.count("__main__")


def test_an_ordinary_build_says_nothing_of_itself_and_a_quick_one_does():
    assert "quick build" not in markdown(page())
    assert "20 steps" in markdown(page(steps=20))
    setup = page(steps=20).cells[0]
    assert "choose(steps=20)" in setup.source
    assert setup.metadata["tags"] == ["remove-cell"]
    assert "choose" not in page().cells[0].source


def test_without_a_text_nothing_that_needs_a_training_is_executed():
    notebook = page(trained=False)
    assert tags(notebook, "run(main)") == ["skip-execution"]
    assert tags(notebook, "finish(result)") == ["skip-execution"]
    assert tags(notebook, "show(show_double)") == []
    text = markdown(notebook)
    assert "built without Tiny Shakespeare" in text
    assert "bigram: 1,234 parameters, 3,000 steps, training loss 1.500, validation loss 2.500 ± 0.100" in text
    assert "Tiny Shakespeare" not in markdown(page())


def test_a_picture_has_a_text_in_its_place():
    (cell,) = [cell for cell in page().cells if cell.source.endswith("show(show_double)")]
    assert cell.metadata["mystnb"]["image"]["alt"] == "Two numbers and their doubles."


def test_any_change_of_the_course_changes_the_first_cell_of_every_page(tmp_path):
    shutil.copytree(COURSE, tmp_path / "course", ignore=shutil.ignore_patterns("__pycache__", "exercises"))
    assert fingerprint(tmp_path / "course") == fingerprint()
    assert fingerprint() in page().cells[0].source
    console = tmp_path / "course" / "console.py"
    console.write_text(console.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert fingerprint(tmp_path / "course") != fingerprint()


def test_the_same_section_gives_the_same_page():
    assert page() == page()


def test_what_it_adds_against_the_section_before():
    text = what_it_adds(
        TINY, "Model\n  body: New", ("0. Before", TINY.replace("steps=3", "steps=7"), "Model\n  body: Old")
    )
    assert "| `double` | Twice x: any number |" in text
    assert "```diff\n Model\n-  body: Old\n+  body: New\n```" in text
    assert "-def main(steps=7, report=quiet):\n+def main(steps=3, report=quiet):" in text
    assert "against" not in what_it_adds(TINY, "Model")


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_has_its_parts_and_every_training_can_be_left_out(section):
    """Whatever a section's cells are called, none of them trains where there is no text."""
    source = source_of(section)
    notebook = page_of(section, source, AROUND, Build(trained=False), RECORD | {"sections": []})
    assert title_of(source).startswith(f"{SECTIONS.index(section) + 1}. ")
    for heading in ("New here", "In the lecture", "In the paper", "Takes", "Expect"):
        assert f"**{heading}" in notebook.cells[1].source.split("\n:::\n")[0], heading
    for cell in notebook.cells:
        if cell.metadata.get("main") and "run(" in cell.source:
            assert cell.metadata["tags"] == ["skip-execution"]
    assert tags(notebook, "finish(result)") == ["skip-execution"]
