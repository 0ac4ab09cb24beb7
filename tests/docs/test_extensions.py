"""Docstrings and formulas as Sphinx gets them."""

import pytest

from docs.building.docstrings import to_rst
from docs.building.mathml import to_mathml


@pytest.mark.parametrize(
    ("line", "rst"),
    [
        ("a `code` b", "a ``code`` b"),
        ("`code`s and *.md", "``code``\\ s and \\*.md"),
        ("|x| and a_ and a_b", "\\|x\\| and a\\_ and a_b"),
        ("`*.md`", "``*.md``"),
        (r"a \n", r"a \\n"),
    ],
)
def test_a_line(line, rst):
    assert to_rst([line]) == [rst, ""]


def test_indented_and_lined_up_lines_are_kept_as_they_are():
    assert to_rst(["Do:", "", "    x = `1`", "    y"]) == ["Do:", "", "::", "", "    x = `1`", "    y", ""]
    assert to_rst(["a         the first", "long_b    the second"])[0:3] == [
        ".. code-block:: text",
        "",
        "    a         the first",
    ]


def test_examples_are_kept_as_they_are():
    assert to_rst([">>> a * b_", "6"]) == [">>> a * b_", "6", ""]


def test_a_formula_becomes_an_element_and_nothing_of_latex_is_left():
    formula = to_mathml(r"\mathrm{softmax}\left(\frac{Q K^\top}{\sqrt{d_k}}\right) V", "block")
    assert formula.startswith("<math")
    assert 'display="block"' in formula
    assert "<mfrac>" in formula
    assert "<msqrt>" in formula
    assert "\\" not in formula
