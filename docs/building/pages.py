"""The Markdown pages with links as on the site, and the table of contents.

The pages are written for readers of the folder: their links are paths in it. On the site a link to another page or to a
section leads to its page; a file without a page is named by its path.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from course.__main__ import SECTIONS
from docs.building import ROOT

NO_PAGES = ("_build", "_static", "building", "pictures")
"""Folders below docs/ without pages."""

BEYOND = ("index", "initialisation", "rope", "rmsnorm", "swiglu", "qk-norm", "muon", "kv-cache", "planner", "*")
REFERENCE = ("python", "config", "data", "model", "training", "sampling", "evaluation", "explain", "*")
CONTENTS = {
    "Start": ["readme", "installation", "commands"],
    "Learn": [
        *(f"course/{section}" for section in SECTIONS),
        "exercises",
        *(f"beyond/{page}" for page in BEYOND),
        "from-gpt-to-chatgpt",
        "glossary",
    ],
    "Make": [
        *("texts", "minutes", "resume", "formats", "several-processes"),
        *("fine-tuning", "elsewhere", "studio", "serving"),
    ],
    "Research": ["architecture", "add-a-block", "looking-inside", "losses", "speed", "what-was-tried"],
    "Reference": [f"reference/{page}" for page in REFERENCE],
    "The project": ["contributing", "changelog", "*"],
}
"""Captions with their pages in order; a pattern takes the remaining pages that match, in alphabetical order."""


class BrokenLink(ValueError):
    """A link to a file that does not exist; the message names the page and the link."""


def markdown_pages(root: Path = ROOT) -> Iterator[Path]:
    """Yield the Markdown files of the project's folder and of docs/, as paths in the project's folder."""
    for path in [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]:
        inside = path.relative_to(root)
        if not set(inside.parts) & set(NO_PAGES):
            yield inside


def page_name(path: str | PurePosixPath) -> str | None:
    """Return the name on the site of a file of the project, or None if the file is not on the site.

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
    """Return a page's text with links as on the site, leaving code unchanged.

    Raises:
        BrokenLink: if a link leads to a file that does not exist.
    """
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
        raise BrokenLink(f"{page}: the link {target!r} leads to {str(inside)!r}, which does not exist")
    name = page_name(inside)
    if name is None:
        said = text[1:-1]
        return said if str(inside) in said else f"{said} (`{inside}`)"
    from_here = PurePosixPath(page_name(page.as_posix()) or "").parent
    return f"{text}({os.path.relpath(name, from_here)}{'#' + anchor if anchor else ''})"


def contents(pages: list[str]) -> dict[str, list[str]]:
    """Return the captions with their pages in order (names without ending; "index", the first page, is left out)."""
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
    """Return the contents as toctree directives, for the end of the first page."""
    trees = []
    for caption, entries in contents(pages).items():
        listed = "\n".join(f"Read me <{entry}>" if entry == "readme" else entry for entry in entries)
        trees.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```")
    return "\n\n".join(trees)
