"""The Markdown pages as the site has them, and in which order.

The pages are written for readers of the folder: their links are paths in it. On the site a link to another page or to a
section leads to that page there; what has no page is named by its path.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from course.__main__ import SECTIONS
from docs.building import ROOT

NO_PAGES = ("_build", "_static", "building", "pictures")
"""Folders below docs/ that hold no pages."""

CONTENTS = {
    "The course": [*(f"course/{section}" for section in SECTIONS), "exercises", "glossary"],
    "How to": [
        "commands",
        "texts",
        "minutes",
        "resume",
        "several-processes",
        "fine-tuning",
        "add-a-block",
        "elsewhere",
        "looking-inside",
        "studio",
        "serving",
    ],
    "Beyond the course": [
        "beyond/index",
        "beyond/initialisation",
        "beyond/rope",
        "beyond/rmsnorm",
        "beyond/swiglu",
        "beyond/qk-norm",
        "beyond/muon",
        "beyond/kv-cache",
        "beyond/planner",
        "beyond/*",
        "from-gpt-to-chatgpt",
    ],
    "Figures": ["speed", "losses", "what-was-tried"],
    "Reference": [
        "reference/python",
        "reference/config",
        "reference/data",
        "reference/model",
        "reference/training",
        "reference/sampling",
        "reference/explain",
        "reference/serving",
        "reference/*",
    ],
    "The project": ["readme", "contributing", "changelog", "*"],
}
"""Captions, and their pages in order; what a pattern finds is in alphabetical order, and nothing stands twice."""


class BrokenLink(ValueError):
    """A link to what is not there; the message names page and link."""


def markdown_pages(root: Path = ROOT) -> Iterator[Path]:
    """README and its neighbours, and the pages of docs/, as paths in the project's folder."""
    for path in sorted(root.glob("*.md")):
        yield path.relative_to(root)
    for path in sorted((root / "docs").rglob("*.md")):
        inside = path.relative_to(root)
        if not set(inside.parts) & set(NO_PAGES):
            yield inside


def page_name(path: str | PurePosixPath) -> str | None:
    """What a file of the project is called on the site, with its ending; None where it has no page.

    >>> page_name("docs/texts.md"), page_name("course/s01_bigram.py"), page_name("README.md"), page_name("LICENSE")
    ('texts.md', 'course/s01_bigram.ipynb', 'readme.md', None)
    """
    path = PurePosixPath(path)
    if path.suffix == ".md" and path.parent == PurePosixPath():
        return path.name.lower()
    if path.parent.name == "course" and path.stem in SECTIONS:
        return f"course/{path.stem}.ipynb"
    inside = path.parts[0] == "docs" and (path.suffix == ".md" or path.parts[1:2] == ("pictures",))
    return str(path.relative_to("docs")) if inside else None


def with_links(markdown: str, page: Path, root: Path = ROOT) -> str:
    """A page's text with links as they are on the site; code is left as it is. Raises BrokenLink."""
    parts = re.split(r"(^```.*?^```[^\n]*$|`[^`\n]+`(?!\]\())", markdown, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [
        re.sub(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)\s]+)\)", lambda found: _link(found, page, root), part)
        for part in parts[::2]
    ]
    return "".join(parts)


def _link(found: re.Match[str], page: Path, root: Path) -> str:
    text, target = found[1], found[2]
    if re.match(r"[a-z]+:|#", target):
        return found[0]
    path, _, anchor = target.partition("#")
    inside = PurePosixPath(os.path.normpath(page.parent / path))
    if not (root / inside).exists():
        raise BrokenLink(f"{page}: the link {target!r} leads to {str(inside)!r}, which is not there")
    name = page_name(inside)
    if name is None:
        said = text[1:-1]
        return said if str(inside) in said else f"{said} (`{inside}`)"
    from_here = PurePosixPath(page_name(page.as_posix()) or "").parent
    return f"{text}({os.path.relpath(name, from_here)}{'#' + anchor if anchor else ''})"


def contents(pages: list[str]) -> dict[str, list[str]]:
    """The captions with those of the pages (names without ending) that exist, in order; the first page is no entry."""
    left = sorted(set(pages) - {"index"})
    found: dict[str, list[str]] = {}
    for caption, patterns in CONTENTS.items():
        for pattern in patterns:
            for page in [page for page in left if PurePosixPath(page).match(pattern)]:
                found.setdefault(caption, []).append(page)
                left.remove(page)
    assert not left, f"no caption for {left}"
    return found


def toctrees(pages: list[str]) -> str:
    """The contents as Sphinx wants them, for the end of the first page."""
    trees = []
    for caption, entries in contents(pages).items():
        listed = "\n".join(f"Read me <{entry}>" if entry == "readme" else entry for entry in entries)
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```")
    return "\n\n".join(trees)
