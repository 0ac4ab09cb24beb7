"""Formulas as MathML, made while building: a Sphinx extension.

Today's browsers draw MathML themselves, and screen readers speak it. So a page needs no script and no network for its
formulas, as MathJax from elsewhere would, and the machine that builds it no LaTeX, as pictures would.
"""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert


def to_mathml(latex: str, display: str) -> str:
    """A formula as a `<math>` element; `display` is "inline" or "block".

    >>> to_mathml("x^2", "inline")[:5]
    '<math'
    """
    return convert(latex, display=display)


def visit_inline(self: Any, node: nodes.math) -> None:
    """Write a formula in a line of text."""
    self.body.append(to_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    """Write a formula on a line of its own."""
    self.body.append(f'<div class="math">{to_mathml(node.astext(), "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
