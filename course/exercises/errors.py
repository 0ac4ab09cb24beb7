"""What a traceback means: the learner's own lines of it, and a sentence for what goes wrong most often."""

import re
import traceback
from pathlib import Path

MEANINGS = (
    (AttributeError, r"before Module\.__init__", "Call `super().__init__()` first, before you set any layer."),
    (
        AttributeError,
        r"has no attribute",
        "That name was never set: look for a slip of the pen, or set it in `__init__`.",
    ),
    (
        RuntimeError,
        r"Expected target size",
        "`F.cross_entropy` wants the classes in the second dimension: `flatten` logits to (B * T, V) and targets to "
        "(B * T).",
    ),
    (
        RuntimeError,
        r"Index tensor must have the same number of dimensions",
        "`gather` wants an index with as many dimensions: `targets[..., None]` adds one of size 1.",
    ),
    (
        RuntimeError,
        r"mat1 and mat2 shapes|size mismatch|Expected size for first two dimensions",
        "Two matrices do not fit: the last size of the first must be the last but one of the second. "
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
        "After `transpose` the numbers no longer lie in order, and `view` gives up: use `reshape` or `flatten`.",
    ),
    (RuntimeError, r"shape .* is invalid for input", "So many numbers do not fit that shape: count both products."),
    (
        RuntimeError,
        r"modified by an inplace operation|in-place operation",
        "A tensor was overwritten that the gradient still needs: write `x = x + ...` in place of `x += ...`.",
    ),
    (
        RuntimeError,
        r"can't allocate memory|not enough memory",
        "It asked for more memory than an exercise needs, by far.",
    ),
    (MemoryError, r"", "It asked for more memory than an exercise needs, by far."),
    (RecursionError, r"", "A function calls itself without end: does `forward` call itself, or the module?"),
    (
        NameError,
        r"is not defined",
        "That name is used and nowhere defined: an import is missing, a `self.`, or the quotes of a word.",
    ),
    (ModuleNotFoundError, r"", "No such module is installed; torch and the course's own sections are enough here."),
    (TypeError, r"positional argument|keyword argument", "It is called as the stub has it: keep the stub's arguments."),
    (EOFError, r"", "Nobody can type an answer while it is checked: leave out `input()`."),
    (SystemExit, r"", "It ended the program by itself: leave out `sys.exit()` and `exit()`."),
    (IndexError, r"", "An index lies outside of what there is."),
)


def tell(error: BaseException, path: Path) -> str:
    """What happened where in the learner's file, and what it means."""
    meaning = next((words for kind, pattern, words in MEANINGS if _fits(error, kind, pattern)), "")
    lines = [line for frame in _own_frames(error, path) for line in _frame_lines(frame)]
    if not lines:
        lines = ["in a check, when it called what your file defines, or used what came back"]
    lines.append(traceback.format_exception_only(error)[-1].strip())
    first = f"It stopped with an error. {meaning}".strip()
    return "\n  ".join([first, *lines])


def tell_syntax(error: SyntaxError) -> str:
    """Where Python could not read the file."""
    text = (error.text or "").strip()
    place = f"line {error.lineno}" if error.lineno else "your file"
    return f"Python cannot read {place}: {error.msg}." + (f"\n  {text}" if text else "")


def _fits(error: BaseException, kind: type[BaseException], pattern: str) -> bool:
    return isinstance(error, kind) and re.search(pattern, str(error)) is not None


def _own_frames(error: BaseException, path: Path) -> list[traceback.FrameSummary]:
    """The frames in the learner's file and in files beside it; the last three are enough."""
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if Path(frame.filename).parent == path.parent][-3:]


def _frame_lines(frame: traceback.FrameSummary) -> list[str]:
    place = f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}"
    return [place, f"    {frame.line}"] if frame.line else [place]
