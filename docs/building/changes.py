"""What a section adds to the one before: new names, and how the model and its training differ.

A section is a whole file, mostly prose, so that a difference of files would say little. What changes from one to the
next is the model; so it is the model's outline that is compared, and `main`, which builds and trains it.
"""

import ast
import difflib
import importlib
import inspect
from dataclasses import dataclass
from functools import cache

from torch import nn

from course.console import one_thread

ALPHABET = "".join(chr(33 + i) for i in range(65)) * 20
"""A text with as many different characters as Tiny Shakespeare, so that the models have their sizes."""


@dataclass(frozen=True)
class Name:
    """A class or function that later sections can import."""

    name: str
    says: str
    """The first line of its docstring."""


def new_names(source: str) -> list[Name]:
    """What a section defines with a docstring, without `main` and the demonstrations that `show` and `run` call."""
    tree = ast.parse(source)
    called = {
        node.args[0].id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("show", "run")
        and node.args
        and isinstance(node.args[0], ast.Name)
    }
    return [
        Name(node.name, says.partition("\n")[0])
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and node.name not in {*called, "main"}
        and (says := ast.get_docstring(node))
    ]


def main_of(source: str) -> str:
    """The code of a section's `main`."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == "main":
            return ast.get_source_segment(source, node) or ""
    return ""


def outline(module: nn.Module, name: str = "") -> str:
    """A model's parts, one a line, indented below what they belong to; equal neighbours are told once.

    >>> print(outline(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.ReLU())))
    Sequential
      0: Linear(in_features=2, out_features=3, bias=True)
      1, 2: ReLU()
    """
    children = list(module.named_children())
    own = type(module).__name__ + ("" if children else f"({module.extra_repr()})")
    lines = [f"{name}: {own}" if name else own]
    first = 0
    while first < len(children):
        bare = outline(children[first][1])
        last = first
        while last + 1 < len(children) and outline(children[last + 1][1]) == bare:
            last += 1
        names = [child[0] for child in children[first : last + 1]]
        label = f"{names[0]} to {names[-1]}" if len(names) > 2 and names[0].isdigit() else ", ".join(names)
        lines += [f"  {line}" for line in f"{label}: {bare}".splitlines()]
        first = last + 1
    return "\n".join(lines)


@cache
def model_of(section: str) -> str:
    """The outline of the model that a section of the course trains, at the sizes that it has on a CPU."""
    main = importlib.import_module(f"course.{section}").main
    sizes = {"full": False} if "full" in inspect.signature(main).parameters else {}
    with one_thread():
        return outline(main(steps=1, text=ALPHABET, **sizes).model)


def difference(before: str, after: str) -> str:
    """Both texts in one, lines that went marked by -, lines that came by +."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=10_000, lineterm="")
    return "\n".join(list(lines)[3:])
