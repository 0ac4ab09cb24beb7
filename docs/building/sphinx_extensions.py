"""A Sphinx extension: formulas as MathML, and our docstrings as reStructuredText.

Browsers draw MathML and screen readers speak it, so formulas need no script, no network and no LaTeX.

Our docstrings are plain text: `code` between single backticks, lists with "- ", examples with >>>, indented code or
tables, and Google's sections `Args:` and `Raises:`. `to_rst` escapes what would mean something else in
reStructuredText. (Sphinx's napoleon takes the words before a colon in a field's docstring for its type.)
"""

import dataclasses
import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

FIELDS = {"Args:": ":param", "Raises:": ":raises"}


def to_rst(lines: list[str]) -> list[str]:
    r"""Convert a docstring's lines to reStructuredText.

    >>> to_rst(["A `b` of *.md", "", "    code"])
    ['A ``b`` of \\*.md', '', '::', '', '    code', '']
    """
    found: list[str] = []
    for text in filter(None, re.split(r"\n\s*\n", "\n".join(line.rstrip() for line in lines).strip("\n"))):
        paragraph = text.splitlines()
        if text.startswith(">>>"):
            found += paragraph
        elif paragraph[0] in FIELDS:
            items = re.compile(r"^ {4}(\S[^:]*): ")
            found += [items.sub(rf"{FIELDS[paragraph[0]]} \1: ", _escape(line)) for line in paragraph[1:]]
        elif any(re.search(r"\S {3,}\S", line) for line in paragraph):  # columns, aligned by spaces
            found += [".. code-block:: text", "", *(f"    {line}" for line in paragraph)]
        elif all(line.startswith("    ") for line in paragraph):
            found += ["::", "", *paragraph]
        else:
            found += [_escape(line) for line in paragraph]
        found.append("")
    return found


def _escape(line: str) -> str:
    """Put code between double backticks, and escape the markup characters elsewhere."""
    parts = re.split(r"`([^`]+)`", line)
    plain = [re.sub(r"([\\*|])|(?<=\w)(_)(?!\w)", r"\\\1\2", part) for part in parts[::2]]
    code = [f"``{part}``" for part in parts[1::2]]
    for i, part in enumerate(plain[1:], start=1):
        if part[:1].isalnum():  # in reStructuredText code must end at the end of a word
            plain[i] = "\\ " + part
    return "".join(part for pair in zip(plain, [*code, ""]) for part in pair)


def rewrite_docstring(*arguments: Any) -> None:
    """Rewrite a docstring's lines, the last argument, in place."""
    lines: list[str] = arguments[-1]
    lines[:] = to_rst(lines)


def hide_signature(app: Any, kind: str, name: str, documented: Any, *_: Any) -> tuple[str, None] | None:
    """Hide the signature of a dataclass, whose fields are listed below it."""
    return ("", None) if kind == "class" and dataclasses.is_dataclass(documented) else None


def visit_inline(self: Any, node: nodes.math) -> None:
    """Write a formula within a line of text."""
    self.body.append(convert(node.astext(), display="inline"))
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    """Write a displayed formula."""
    self.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    """Connect the functions above to Sphinx."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", rewrite_docstring)
    app.connect("autodoc-process-signature", hide_signature)
    app.add_html_math_renderer("mathml", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
