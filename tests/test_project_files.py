"""What stands beside README: its links lead somewhere, its modules exist, its version is the package's."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from nanogpt import __version__

ROOT = Path(__file__).parent.parent
PAGES = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md"))


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_names_exists(name):
    text = read(name)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("http") or (ROOT / target).exists(), target
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module) is not None, module
    for path in re.findall(r"`((?:nanogpt|course|tests|benchmarks|docs)/[\w/.-]*)`", text):
        if "NAME" not in path and "NN" not in path:
            assert (ROOT / path).exists(), path


def test_its_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), re.MULTILINE))
    assert {"test", "test-all", "format"} <= set(re.findall(r"`make ([\w-]+)", read("CONTRIBUTING.md"))) <= targets


def test_one_version():
    assert tomllib.loads(read("pyproject.toml"))["project"]["version"] == __version__
    assert f"\nversion: {__version__}\n" in read("CITATION.cff")
    assert f"\n## {__version__}\n" in read("CHANGELOG.md")


def test_the_templates_for_issues():
    assert {path.stem for path in TEMPLATES} == {"bug", "figure", "question"}
    for path in TEMPLATES:
        front = path.read_text(encoding="utf-8").split("---")[1]
        assert re.findall(r"^(\w+): .+$", front, re.MULTILINE) == ["name", "about", "labels"], path
