"""The site is built and notebooks run in their own processes, as a reader's commands do it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from tiny_section import RECORD, TEXT, TINY

from course.__main__ import SECTIONS
from docs.building import ROOT
from docs.building.notebooks import main, make_notebook, notebook_text
from docs.building.sections import Build, make_page, page_of


def run(*arguments: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # fmt: skip


def build_tiny(folder: Path, source: str) -> subprocess.CompletedProcess:
    page = notebook_text(page_of("s01_bigram", source, [], Build(), RECORD))
    index = "# Site\n\n```{toctree}\ncourse/s01_bigram\n```\n"
    for name, text in (("course/s01_bigram.ipynb", page), ("notebooks/s01_bigram.ipynb", page), ("index.md", index)):
        path = folder / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    code = "import sys; from pathlib import Path; from docs.building.__main__ import run_sphinx; "
    return run("-c", f"{code}out = Path({str(folder)!r}); sys.exit(run_sphinx(out / 'source', out))")


@pytest.mark.slow
def test_a_section_is_built_with_its_outputs(tmp_path):
    built = build_tiny(tmp_path, TINY)
    assert built.returncode == 0, built.stderr
    html = (tmp_path / "html" / "course" / "s01_bigram.html").read_text(encoding="utf-8")
    for shown in ("3 doubled is 6", "tiny: 1 parameters, 3 steps", "<math"):
        assert shown in html
    assert "hash of the course" not in html


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [("== 6", "== 7", "assert double(3) == 7"), ("Twice $x$", "Twice [$x$](nowhere.md)", "nowhere.md")],
    ids=["a false claim", "a broken link"],
)
def test_what_is_false_fails_the_build(right, wrong, named, tmp_path):
    built = build_tiny(tmp_path, TINY.replace(right, wrong, 1))
    assert built.returncode != 0
    assert named in built.stderr


@pytest.mark.slow
def test_the_whole_site_is_built_offline_without_a_text(tmp_path):
    """Without Tiny Shakespeare nothing is trained or downloaded; a warning, a broken link or a false claim fails."""
    built = run("-m", "docs.building", "--out", str(tmp_path))
    assert built.returncode == 0, built.stderr
    assert str(tmp_path / "html" / "index.html") in built.stdout
    for section in SECTIONS:
        html = (tmp_path / "html" / "course" / f"{section}.html").read_text(encoding="utf-8")
        text = re.sub(r"<[^>]+>", "", re.sub(r"<(style|script|pre).*?</\1>", "", html, flags=re.DOTALL))
        for shown in ("built without Tiny Shakespeare", "the recorded losses", "Losses so far"):
            assert shown in text
        assert "$" not in text, "a formula that the parser did not recognize"
    changes = re.sub(r"<[^>]+>", "", (tmp_path / "html" / "course" / "s04_self_attention.html").read_text("utf-8"))
    assert "-  body: Averaging()\n+  body: Head\n" in changes
    assert "nanogpt.load" in (tmp_path / "html" / "reference" / "python.html").read_text(encoding="utf-8")
    assert not list(tmp_path.rglob("shakespeare.txt"))


def execute(notebook, folder: Path) -> str:
    """Run a notebook inside the project's folder with 5 steps on a short text; return what it prints."""
    setup = f"from course.flags import choose\nchoose(steps=5, text={TEXT!r})"
    notebook.cells.insert(3, nbformat.v4.new_code_cell(setup))
    path = folder / "page.ipynb"
    path.write_text(nbformat.writes(notebook), encoding="utf-8")
    done = run(
        "-c",
        "import os, nbformat; from nbclient import NotebookClient; "
        f"os.environ['PYTHONPATH'] = {str(ROOT)!r}; page = nbformat.read({str(path)!r}, 4); "
        f"NotebookClient(page, timeout=300, resources={{'metadata': {{'path': {str(ROOT)!r}}}}}).execute(); "
        f"nbformat.write(page, {str(path)!r})",
    )
    assert done.returncode == 0, done.stderr
    outputs = [output for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    return "".join(output.get("text", "") for output in outputs)


@pytest.mark.slow
def test_a_quick_build_trains_and_says_so(tmp_path):
    page = make_page("s04_self_attention", Build(steps=5))
    assert "quick build" in page.cells[1].source
    assert "this build, one head (5 steps, not 5,000)" in execute(page, tmp_path)


@pytest.mark.slow
def test_a_notebook_runs(tmp_path):
    assert "5 steps in" in execute(make_notebook("s02_averaging"), tmp_path)


def test_notebooks_are_written_without_outputs(tmp_path, capsys):
    main([str(tmp_path / "new" / "folder")])
    assert "10 notebooks" in capsys.readouterr().out
    for section in SECTIONS:
        notebook = nbformat.read(tmp_path / "new" / "folder" / f"{section}.ipynb", 4)
        assert notebook.metadata.kernelspec.name == "python3"
        assert not any(cell.get("outputs") for cell in notebook.cells)
        assert notebook.cells[0].source.startswith("# ")


def test_the_first_code_cell_of_a_notebook_finds_the_course(tmp_path, monkeypatch):
    (find,) = [cell.source for cell in make_notebook("s01_bigram").cells if "sys.path.insert" in cell.source]
    monkeypatch.setattr(sys, "path", list(sys.path))
    for folder in (ROOT, ROOT / "docs" / "pictures", ROOT.parent):
        monkeypatch.chdir(folder)
        exec(find, {})
        assert (Path(sys.path[0]) / "course" / "console.py").is_file()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="open this notebook inside the project"):
        exec(find, {})
