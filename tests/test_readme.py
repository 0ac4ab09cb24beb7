"""README says what is true: its commands exist, its links lead somewhere, its figures stand in a record."""

import importlib.util
import re
from pathlib import Path

import pytest
from commands import typed, understand

from benchmarks.tables import PAGES, fill

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = typed(README)
NANOGPT = sorted({line for line in SHELL if line.startswith("nanogpt ")})


def test_there_are_commands_to_check():
    assert len(NANOGPT) >= 8


@pytest.mark.parametrize("command", NANOGPT)
def test_a_command_is_understood(command):
    understand(command)


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`?make ([\w-]+)", "\n".join(SHELL))) | set(re.findall(r"`make ([\w-]+)`", README))
    assert {"demo", "course", "test", "test-all"} <= named <= targets


def test_modules_named_with_python_m_exist():
    modules = set(re.findall(r"python -m ([\w.]+)", README))
    assert "course" in modules
    for module in modules:
        assert importlib.util.find_spec(module) is not None, module


def test_links_inside_the_repository_lead_somewhere():
    anchors = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in README.splitlines()
        if line.startswith("#")
    }
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_the_file_tree_names_what_exists():
    tree = README.split("## What is where")[1].split("```")[1]
    for name in re.findall(r"[\w.]+\.py\b", tree):
        assert list((ROOT / "nanogpt").rglob(name)), name
    for name in re.findall(r"^(\w+/)", tree, re.MULTILINE):
        assert (ROOT / name).is_dir(), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_those_of_the_records(page):
    text = page.read_text(encoding="utf-8")
    assert fill(text, PAGES[page]) == text, "run: python -m benchmarks.tables"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_links_and_modules_of_a_page_exist(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (page.parent / target).exists(), target
    for module in set(re.findall(r"python -m ([\w.]+)", text)):
        assert importlib.util.find_spec(module) is not None, module


@pytest.mark.slow
def test_the_python_example_runs(tmp_path, monkeypatch):
    """As printed, but for the minute: three seconds are enough to see it work."""
    monkeypatch.chdir(tmp_path)
    text = "Once upon a time there was a king who had twelve daughters, each one more beautiful than the other.\n"
    (tmp_path / "book.txt").write_text(text * 400, encoding="utf-8")
    code = README.split("```python\n")[1].split("```")[0]
    assert "minutes=1)" in code
    exec(compile(code.replace("minutes=1)", "minutes=0.15)"), "README.md", "exec"), {})
    assert (tmp_path / "runs" / "book-modern-1" / "config.toml").is_file()
