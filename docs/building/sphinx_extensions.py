"""Our docstrings as reStructuredText, which Sphinx reads them as: a Sphinx extension.

They are plain text: `code` between single backticks, lists with "- ", examples with >>>, and code or tables as
indented lines. What would mean something else to reStructuredText is escaped.
"""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any


def to_rst(lines: list[str]) -> list[str]:
    """A docstring's lines as reStructuredText.

    >>> to_rst(["A `b` of *.md", "", "    code"])
    ['A ``b`` of \\\\*.md', '', '::', '', '    code', '']
    """
    found: list[str] = []
    for paragraph in _paragraphs(lines):
        if paragraph[0].startswith(">>>"):
            found += paragraph
        elif any(re.search(r"\S {3,}\S", line) for line in paragraph):  # columns, lined up by blanks
            found += [".. code-block:: text", "", *(f"    {line}" for line in paragraph)]
        elif all(line.startswith("    ") for line in paragraph):
            found += ["::", "", *paragraph]
        else:
            found += [_escape(line) for line in paragraph]
        found.append("")
    return found


def _paragraphs(lines: list[str]) -> Iterator[list[str]]:
    """Runs of lines that are not blank."""
    paragraph: list[str] = []
    for line in lines:
        if line.strip():
            paragraph.append(line.rstrip())
        elif paragraph:
            yield paragraph
            paragraph = []
    if paragraph:
        yield paragraph


def _escape(line: str) -> str:
    """Code in double backticks, and elsewhere nothing that has a meaning."""
    parts = re.split(r"`([^`]+)`", line)
    plain = [re.sub(r"([\\*|])|(?<=\w)(_)(?!\w)", r"\\\1\2", part) for part in parts[::2]]
    code = [f"``{part}``" for part in parts[1::2]]
    for place, part in enumerate(plain[1:], start=1):
        if part[:1].isalnum():  # reStructuredText ends code only where a word ends
            plain[place] = "\\ " + part
    return "".join(part for pair in zip(plain, [*code, ""]) for part in pair)


def rewrite_docstring(*of_sphinx: Any) -> None:
    """What Sphinx calls with each docstring; its lines come last."""
    lines: list[str] = of_sphinx[-1]
    lines[:] = to_rst(lines)


def drop_fields(*of_sphinx: Any) -> tuple[str, None] | None:
    """What Sphinx calls with each signature: a dataclass is shown without it, as its fields are listed below."""
    _, kind, _, thing, *_ = of_sphinx
    return ("", None) if kind == "class" and dataclasses.is_dataclass(thing) else None


def setup(app: Any) -> dict[str, Any]:
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", rewrite_docstring)
    app.connect("autodoc-process-signature", drop_fields)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
