"""The files next to README: their paths and commands exist, the versions agree, the picture shows the real packages."""

import re
import tomllib
from pathlib import Path

import pytest

from nanogpt import __version__

ROOT = Path(__file__).parent.parent
PAGES = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/architecture.md")


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_the_paths_that_a_page_names_exist(name):
    for path in re.findall(r"`((?:nanogpt|course|tests|benchmarks|docs)/[\w/.-]*)`", read(name)):
        if "NAME" not in path and "NN" not in path:
            assert (ROOT / path).exists(), path


def test_one_version():
    assert tomllib.loads(read("pyproject.toml"))["project"]["version"] == __version__
    assert f"\nversion: {__version__}\n" in read("CITATION.cff")
    assert f"\n## {__version__}\n" in read("CHANGELOG.md")


def test_the_picture_shows_the_packages_in_the_order_that_the_linter_checks():
    (contract,) = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = [set(layer.replace("nanogpt.", "").split(" | ")) for layer in contract["layers"]]
    drawn = re.findall(r'<text class="name" x="[\d.]+" y="(\d+)">(\w+)<', read("docs/pictures/architecture.svg"))
    rows = sorted({int(y) for y, _ in drawn})
    assert [{name for y, name in drawn if int(y) == row} for row in rows] == layers


def test_the_templates_for_issues():
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md"):
        front = path.read_text(encoding="utf-8").split("---")[1]
        assert re.findall(r"^(\w+): .+$", front, re.MULTILINE) == ["name", "about", "labels"], path
