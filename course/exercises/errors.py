"""Explanations of tracebacks: the learner's own lines, and a sentence on the most common causes."""

import re
import traceback
from pathlib import Path

TOO_MUCH_MEMORY = "It asked for far more memory than an exercise needs."
MEANINGS = (
    (AttributeError, r"before Module\.__init__", "Call `super().__init__()` first, before you set any layer."),
    (AttributeError, r"has no attribute", "That name was never set: look for a typo, or set it in `__init__`."),
    (
        RuntimeError,
        r"Expected target size",
        "`F.cross_entropy` expects the classes in the second dimension: `flatten` logits to (B * T, V) and targets to "
        "(B * T).",
    ),
    (
        RuntimeError,
        r"Index tensor must have the same number of dimensions",
        "`gather` needs an index with as many dimensions: `targets[..., None]` adds one of size 1.",
    ),
    (
        RuntimeError,
        r"mat1 and mat2 shapes|size mismatch|Expected size for first two dimensions",
        "Two matrices do not fit: the last size of the first must be the second-to-last size of the second. "
        "Print both shapes just before this line.",
    ),
    (
        RuntimeError,
        r"size of tensor a|not broadcastable|Sizes of tensors must match|stack expects",
        "Two tensors have different sizes where they should agree. Print both shapes just before this line.",
    ),
    (
        RuntimeError,
        r"view size is not compatible",
        "After `transpose` the numbers are no longer contiguous, and `view` fails: use `reshape` or `flatten`.",
    ),
    (RuntimeError, r"shape .* is invalid for input", "That many numbers do not fit that shape: compare both products."),
    (
        RuntimeError,
        r"modified by an inplace operation|in-place operation",
        "A tensor was overwritten that the gradient still needs: write `x = x + ...` instead of `x += ...`.",
    ),
    (RuntimeError, r"can't allocate memory|not enough memory", TOO_MUCH_MEMORY),
    (MemoryError, r"", TOO_MUCH_MEMORY),
    (RecursionError, r"", "A function calls itself without end: does `forward` call itself, or the module?"),
    (
        NameError,
        r"is not defined",
        "That name is used but not defined: an import is missing, a `self.`, or the quotes of a string.",
    ),
    (ModuleNotFoundError, r"", "No such module is installed; torch and the course's own sections are enough here."),
    (TypeError, r"positional argument|keyword argument", "It is called as in the stub: keep the stub's arguments."),
    (EOFError, r"", "A file that is checked cannot read input: remove `input()`."),
    (SystemExit, r"", "It ended the program: remove `sys.exit()` and `exit()`."),
    (IndexError, r"", "An index is out of range."),
)


def explain_error(error: BaseException, path: Path) -> str:
    """Say where in the learner's file an error happened, and what it means."""
    meaning = next(
        (text for kind, pattern, text in MEANINGS if isinstance(error, kind) and re.search(pattern, str(error))), ""
    )
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).parent == path.parent][-3:]  # the last three are enough
    lines = [line for frame in own for line in _frame_lines(frame)]
    if not lines:
        lines = ["in a check, when it called what your file defines, or used what it returned"]
    lines.append(traceback.format_exception_only(error)[-1].strip())
    return "\n  ".join([f"It stopped with an error. {meaning}".strip(), *lines])


def explain_syntax_error(error: SyntaxError) -> str:
    """Say where Python could not read the file."""
    text = (error.text or "").strip()
    where = f"line {error.lineno}" if error.lineno else "your file"
    return f"Python cannot read {where}: {error.msg}." + (f"\n  {text}" if text else "")


def _frame_lines(frame: traceback.FrameSummary) -> list[str]:
    location = f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}"
    return [location, f"    {frame.line}"] if frame.line else [location]
