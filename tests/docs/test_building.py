"""The pages before anything is executed: sections, links, contents, docstrings; and the check of the built site."""

import shutil
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_section import RECORD, TINY
from torch import nn

from course.__main__ import SECTIONS
from docs.building import losses
from docs.building.__main__ import check_site
from docs.building.changes import difference, main_of, new_names, outline
from docs.building.pages import BrokenLink, contents, markdown_pages, page_name, toctrees, with_links
from docs.building.sections import COURSE, Build, course_hash, page_of, source_of, title_of, what_it_adds
from docs.building.sphinx_extensions import to_rst


def page(**build):
    return page_of("s01_bigram", TINY, ["", "[2. The next](s02_averaging.ipynb) →"], Build(**build), RECORD)


def markdown(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def tags(notebook, part):
    (found,) = [cell for cell in notebook.cells if part in cell.source and "def " not in cell.source]
    return found.metadata.get("tags", [])


class TestSections:
    def test_the_box_is_between_title_and_prose_and_times_are_links(self):
        text = markdown(page())
        assert text.startswith("# 1. A tiny section\n\n:::{admonition}")
        parts = ("**New here:**", "[2. The next](s02_averaging.ipynb) →", "../notebooks/s01_bigram.ipynb", "Twice $x$")
        assert sorted(parts, key=text.index) == list(parts)
        assert "[00:01:02](https://www.youtube.com/watch?v=kCc8FmEb1nY&t=62s)" in text
        assert "[01:00:00](https://example.org)" in text

    def test_the_code_is_the_section_s_except_for_the_guards(self):
        cells = [cell for cell in page().cells if cell.cell_type == "code"][1:]
        for cell in cells:
            guarded = 'if __name__ == "__main__":\n' + textwrap.indent(cell.source, "    ")
            assert (guarded if cell.metadata.get("main") else cell.source) in TINY
        assert len(cells) == TINY.count("\n# %%\n")
        assert sum("main" in cell.metadata for cell in cells) == TINY.count("__main__")

    def test_a_quick_build_says_so_and_hides_its_setup(self):
        setup = page(steps=20).cells[0]
        assert "choose(steps=20)" in setup.source
        assert setup.metadata["tags"] == ["remove-cell"]
        assert "20 steps" in markdown(page(steps=20))
        assert "choose" not in page().cells[0].source
        assert "{important}" not in markdown(page())

    def test_without_a_text_nothing_that_needs_training_is_executed(self):
        notebook = page(trained=False)
        assert tags(notebook, "run(main)") == tags(notebook, "finish(result)") == ["skip-execution"]
        assert tags(notebook, "show(show_double)") == []
        recorded = "bigram: 1,234 parameters, 3,000 steps, training loss 1.500, validation loss 2.500 ± 0.100"
        assert recorded in markdown(notebook)
        assert recorded not in markdown(page())

    def test_a_picture_has_an_alternative_text(self):
        (cell,) = [cell for cell in page().cells if cell.source.endswith("show(show_double)")]
        assert cell.metadata["mystnb"]["image"]["alt"] == "Two numbers and their doubles."

    def test_any_change_of_the_course_changes_every_page_and_nothing_else_does(self, tmp_path):
        shutil.copytree(COURSE, tmp_path / "course", ignore=shutil.ignore_patterns("__pycache__", "exercises"))
        assert course_hash(tmp_path / "course") == course_hash()
        assert course_hash() in page().cells[0].source
        assert page() == page()
        with (tmp_path / "course" / "console.py").open("a") as file:
            file.write("\n")
        assert course_hash(tmp_path / "course") != course_hash()

    def test_what_it_adds(self):
        before = ("0. Before", TINY.replace("steps=3", "steps=7"), "Model\n  body: Old")
        text = what_it_adds(TINY, "Model\n  body: New", before)
        assert "| `double` | Twice x: any number |" in text
        assert "```diff\n Model\n-  body: Old\n+  body: New\n```" in text
        assert "-def main(steps=7, report=quiet):\n+def main(steps=3, report=quiet):" in text
        assert "diff" not in what_it_adds(TINY, "Model")

    def test_new_names_main_and_differences(self):
        assert new_names(TINY) == {"double": "Twice x: any number."}
        assert main_of(TINY).startswith("def main(steps=3")
        assert main_of(TINY).endswith("**common)")
        assert main_of("x = 1") == difference("a", "a") == ""
        assert difference("a\nb\nc", "a\nB\nc") == " a\n-b\n+B\n c"

    def test_equal_neighbours_share_a_line_of_an_outline(self):
        pairs = [nn.ModuleDict({"query": nn.Linear(2, 3), "key": nn.Linear(2, 3)}) for _ in range(3)]
        assert outline(nn.Sequential(*pairs, nn.ReLU())).splitlines() == [
            "Sequential",
            "  0 to 2: ModuleDict",
            "    query, key: Linear(in_features=2, out_features=3, bias=True)",
            "  3: ReLU()",
        ]

    @pytest.mark.parametrize("section", SECTIONS)
    def test_every_section_has_its_parts_and_every_training_can_be_skipped(self, section):
        source = source_of(section)
        notebook = page_of(section, source, [], Build(trained=False), RECORD | {"sections": []})
        assert title_of(source).startswith(f"{SECTIONS.index(section) + 1}. ")
        for heading in ("New here", "In the lecture", "In the paper", "Takes", "Expect"):
            assert f"**{heading}" in notebook.cells[1].source.split("\n:::\n")[0], heading
        for cell in notebook.cells:
            if cell.metadata.get("main") and "run(" in cell.source:
                assert cell.metadata["tags"] == ["skip-execution"]
        assert tags(notebook, "finish(result)") == ["skip-execution"]


class TestLosses:
    @pytest.fixture(autouse=True)
    def _recorded(self, monkeypatch):
        monkeypatch.setattr(losses, "read_record", lambda: RECORD)

    def trained(self, label, loss, steps=3000, others=()):
        return SimpleNamespace(label=label, steps=steps, after=SimpleNamespace(val=loss), others=others)

    def test_the_table_ends_with_the_section_and_shows_each_change(self):
        assert losses.table_of_losses(RECORD, "s02_averaging").splitlines()[2:] == [
            "| 1 | [a table](s01_bigram.ipynb) | 1,234 | 2.500 ± 0.100 |  | 2.49 |",
            "| | *for comparison: another mean* | 1,234 | 2.800 | | |",
            "| **2** | **[a mean](s02_averaging.ipynb)** | 1,234 | **2.750 ± 0.000** | +0.250 | – |",
        ]
        assert "| 2.250 | −0.500 |" in losses.table_of_losses(RECORD, "s03_positions").replace("**", "")

    def test_a_build_prints_its_losses_and_the_recorded_ones(self, capsys):
        result = self.trained("mean", 2.76, others=(self.trained("another mean", 2.81),))
        losses.compare("s02_averaging", result, quick=False)
        assert capsys.readouterr().out.splitlines() == [
            "this build, another mean (3,000 steps): 2.810, recorded 2.800",
            "this build, mean (3,000 steps): 2.760, recorded 2.750 ± 0.000",
        ]

    def test_another_loss_or_another_number_of_trainings_fails_the_build(self, capsys):
        with pytest.raises(AssertionError, match=r"2\.350 is not 2\.250"):
            losses.compare("s03_positions", self.trained("place", 2.35), quick=False)
        losses.compare("s03_positions", self.trained("place", 3.9, steps=20), quick=True)
        assert "(20 steps, not 3,000): 3.900" in capsys.readouterr().out
        with pytest.raises(AssertionError, match="1 trainings, but 2"):
            losses.compare("s02_averaging", self.trained("mean", 2.76), quick=True)


class TestPages:
    @pytest.fixture
    def project(self, tmp_path):
        names = "README.md LICENSE docs/texts.md docs/beyond/rope.md docs/pictures/a.svg course/s01_bigram.py"
        for path in map(tmp_path.joinpath, names.split()):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")
        return tmp_path

    @pytest.mark.parametrize(
        ("page", "link", "on_the_site"),
        [
            ("README.md", "![a](docs/pictures/a.svg)", "![a](pictures/a.svg)"),
            ("README.md", "[`a`](course/s01_bigram.py)", "[`a`](course/s01_bigram.ipynb)"),
            ("README.md", "[a](#numbers)", "[a](#numbers)"),
            ("README.md", "[licence](LICENSE)", "licence (`LICENSE`)"),
            ("README.md", "[LICENSE](LICENSE)", "LICENSE"),
            ("docs/texts.md", "[a](../README.md#numbers)", "[a](readme.md#numbers)"),
            ("docs/beyond/rope.md", "[a](../texts.md)", "[a](../texts.md)"),
            ("docs/beyond/rope.md", "[a](../../course/s01_bigram.py)", "[a](../course/s01_bigram.ipynb)"),
            ("docs/texts.md", "[folder](beyond)", "folder (`docs/beyond`)"),
            ("docs/texts.md", "[a](https://example.org/x.md)", "[a](https://example.org/x.md)"),
            ("docs/texts.md", "`[a](nowhere.md)`", "`[a](nowhere.md)`"),
            ("docs/texts.md", "```\n[a](nowhere.md)\n```", "```\n[a](nowhere.md)\n```"),
        ],
    )
    def test_links_on_the_site(self, page, link, on_the_site, project):
        assert with_links(f"See\n{link}\n", Path(page), project) == f"See\n{on_the_site}\n"

    def test_a_broken_link_is_an_error(self, project):
        with pytest.raises(BrokenLink, match=r"docs/texts.md: the link 'no.md'"):
            with_links("[a](no.md)", Path("docs/texts.md"), project)

    def test_the_contents_have_an_order(self):
        pages = ["index", "readme", "studio", "texts", "beyond/rope", "beyond/index", "course/s01_bigram", "new"]
        assert contents(pages) == {
            "Start": ["readme"],
            "Learn": ["course/s01_bigram", "beyond/index", "beyond/rope"],
            "Make": ["texts", "studio"],
            "The project": ["new"],
        }
        assert "Read me <readme>\n" in toctrees(pages)

    def test_the_contents_have_every_page(self):
        names = [page_name(path).rpartition(".")[0] for path in markdown_pages()]
        found = contents(names)
        assert sum(map(len, found.values())) == len(names) - 1
        assert found["The project"][:2] == ["contributing", "changelog"]


@pytest.mark.parametrize(
    ("lines", "rst"),
    [
        (["a `code` b"], ["a ``code`` b", ""]),
        (["`code`s and *.md"], ["``code``\\ s and \\*.md", ""]),
        (["|x| and a_ and a_b"], ["\\|x\\| and a\\_ and a_b", ""]),
        ([r"a \n"], [r"a \\n", ""]),
        ([">>> a * b_", "6"], [">>> a * b_", "6", ""]),
        (["Do:", "", "    x = `1`", "    y"], ["Do:", "", "::", "", "    x = `1`", "    y", ""]),
        (["a    first", "b    second"], [".. code-block:: text", "", "    a    first", "    b    second", ""]),
        (
            ["Raises:", "    E: If a_", "        b: c.", "    F: No."],
            [":raises E: If a\\_", "        b: c.", ":raises F: No.", ""],
        ),
        ([], []),
    ],
)
def test_docstrings_as_restructuredtext(lines, rst):
    assert to_rst(lines) == rst


def test_the_check_of_the_site_finds_broken_links_and_loaded_files(tmp_path):
    (tmp_path / "a.html").write_text('<h1 id="top">A</h1><a href="b.html#end">b</a><a href="https://example.org">x</a>')
    (tmp_path / "b.html").write_text('<p id="end"><a href="#end">here</a><img src="p.png"><a href="mailto:a@b.c">m</a>')
    (tmp_path / "p.png").write_bytes(b"")
    assert check_site(tmp_path) == []
    broken = ('<a href="{}">', ["gone.html", "#gone"]), ('<img src="{}">', ["gone.png"])
    loaded = (
        ('<script src="{}"></script>', ["https://e.org/x.js"]),
        ('<link rel="stylesheet" href="{}">', ["//e.org/c"]),
    )
    targets = [(tag, target) for tag, names in (*broken, *loaded) for target in names]
    (tmp_path / "a.html").write_text("".join(tag.format(target) for tag, target in targets))
    problems = check_site(tmp_path)
    assert len(problems) == len(targets)
    assert all(any(target in problem for problem in problems) for _, target in targets)
