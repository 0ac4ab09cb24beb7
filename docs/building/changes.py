"""What a section adds to the one before: new names, and how the model and its training differ.

A section is mostly prose, so a diff of the files would say little. The page compares the outline of the model, and the
code of `main`, which builds and trains it.
"""

import ast
import difflib
import importlib
import inspect
from functools import cache

from torch import nn

from course.console import one_thread

ALPHABET = "".join(chr(33 + i) for i in range(65)) * 20
"""A text with as many different characters as Tiny Shakespeare, which gives the models their usual sizes."""


def new_names(source: str) -> dict[str, str]:
    """Return a section's documented classes and functions, each with the first line of its docstring.

    Leaves out `main`, and the demonstrations that the section passes to `show` and `run`.
    """
    tree = ast.parse(source)
    left_out = {"main"}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name("show" | "run"), args=[ast.Name(name), *_]):
                left_out.add(name)
    return {
        node.name: says.partition("\n")[0]
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and node.name not in left_out
        and (says := ast.get_docstring(node))
    }


def main_of(source: str) -> str:
    """Return the code of a section's `main`, or an empty string."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == "main":
            return ast.get_source_segment(source, node) or ""
    return ""


def outline(module: nn.Module, name: str = "") -> str:
    """Return a model's submodules, one per line, indented by depth; equal neighbours share a line.

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
    """Return the outline of a section's model, in its size for a CPU."""
    main = importlib.import_module(f"course.{section}").main
    sizes = {"full": False} if "full" in inspect.signature(main).parameters else {}
    with one_thread():
        return outline(main(steps=1, text=ALPHABET, **sizes).model)


def difference(before: str, after: str) -> str:
    """Return a diff of two texts with all their lines, or an empty string if they are equal."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=10_000, lineterm="")
    return "\n".join(list(lines)[3:])
