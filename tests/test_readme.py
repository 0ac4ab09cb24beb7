"""README and docs/ are true: commands parse, links lead somewhere, modules exist, tables are those of the records."""

import importlib.util
import re
from pathlib import Path

import pytest
from commands import typed, understand

from benchmarks.tables import fill, pages
from docs.building.pages import markdown_pages, with_links

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def anchors(page):
    """Return the anchors of a page's headings."""
    headings = (line.lstrip("# ") for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("#"))
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", sorted(markdown_pages()), ids=str)
def test_a_page_names_what_exists(name):
    """Commands of `nanogpt` parse, modules can be found, links lead to files and headings, also on the site."""
    page = ROOT / name
    text = page.read_text(encoding="utf-8")
    with_links(text, name)
    for command in typed(text):
        if re.match(r"nanogpt \w", command):
            understand(command)
    for module in re.findall(r"(?:python -m|\.\. automodule::) ([\w.]+)", text):
        assert importlib.util.find_spec(module) is not None, module
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if not target.startswith("http"):
            path, _, anchor = target.partition("#")
            there = page.parent / path if path else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target


def test_the_pages_have_commands():
    commands = {line for page in markdown_pages() for line in typed((ROOT / page).read_text(encoding="utf-8"))}
    assert sum(bool(re.match("nanogpt [a-z]", line)) for line in commands) >= 45
    assert sum(line.startswith("nanogpt ") for line in typed(README)) >= 5


@pytest.mark.parametrize(
    ("page", "expected"),
    [("README.md", {"demo", "test", "studio", "course"}), ("CONTRIBUTING.md", {"test", "test-all", "format"})],
)
def test_the_make_targets_of_a_page_exist(page, expected):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`?make ([\w-]+)", "\n".join(typed(text)))) | set(re.findall(r"`make ([\w-]+)", text))
    assert expected <= named <= targets


def test_the_folders_are_those_that_exist():
    tree = README.split("## Folders")[1].split("```")[1]
    assert all((ROOT / name).is_dir() for name in re.findall(r"^(\w+)/", tree, re.MULTILINE))
    packages = {path.parent.name for path in (ROOT / "nanogpt").glob("*/__init__.py")}
    assert packages <= set(re.findall(r"(\w+)/", tree))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_tables_are_those_of_the_records(page):
    text = page.read_text(encoding="utf-8")
    assert fill(text, page) == text, "run: python -m benchmarks.tables"


@pytest.mark.slow
def test_the_python_example_runs(tmp_path, monkeypatch):
    """As printed, but for the minute: a few seconds are enough to see it work."""
    monkeypatch.chdir(tmp_path)
    text = "Once upon a time there was a king who had twelve daughters, each one more beautiful than the other.\n"
    (tmp_path / "book.txt").write_text(text * 400, encoding="utf-8")
    code = README.split("```python\n")[1].split("```")[0]
    assert "minutes=1)" in code
    exec(compile(code.replace("minutes=1)", "minutes=0.15)"), "README.md", "exec"), {})
    assert (tmp_path / "runs" / "book-modern-1" / "config.toml").is_file()
