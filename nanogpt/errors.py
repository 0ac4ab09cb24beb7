"""Errors that a user can cause and fix, and what their messages are made of."""

import contextlib
import os
import shlex
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path, PurePath


class UserError(ValueError):
    """A mistake that the user can fix: the message names the value and the next action.

    The command line prints it without a traceback and exits with code 2.
    """


class ReportedElsewhere(UserError):
    """A UserError that another process of the same training reports; this process only ends."""


class Diverged(UserError):
    """A loss or a gradient that is not finite, at `step`."""

    def __init__(self, step: int, message: str) -> None:
        super().__init__(message)
        self.step = step


class OutOfMemory(RuntimeError):
    """A training step ran out of memory; weights and optimizers are as they were."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out: Python's, a GPU's, or the CPU allocator's, whose error has no class."""
    messages = ("DefaultCPUAllocator", "not enough memory", "out of memory")
    return isinstance(error, MemoryError | OutOfMemory) or (
        isinstance(error, RuntimeError) and any(part in str(error) for part in messages)
    )


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: the nearest valid one, or all of them.

    >>> nearest("modren", ["lecture", "gpt2", "modern"])
    "did you mean 'modern'?"
    >>> nearest("x", ["lecture", "gpt2"])
    'valid: gpt2, lecture'
    """
    from difflib import get_close_matches

    names = list(valid)
    close = get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"valid: {', '.join(sorted(names))}"


def check_names(names: Iterable[str], valid: Collection[str], what: str) -> None:
    """Raise UserError for a name that is not valid; `what` begins the message."""
    for name in names:
        if name not in valid:
            raise UserError(f"{what} {name!r}; {nearest(name, valid)}")


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural unless there is one.

    >>> counted(1, "token"), counted(2000, "file")
    ('1 token', '2,000 files')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def shell_quote(path: str | os.PathLike[str], windows: bool = os.name == "nt") -> str:
    """Return a path as it is typed into a shell of this system, or of Windows.

    >>> shell_quote("runs/my book", windows=False), shell_quote("runs/my book", windows=True)
    ("'runs/my book'", '"runs/my book"')
    """
    plain = PurePath(path).as_posix()  # Windows takes / too
    quoted = shlex.quote(plain)
    # cmd.exe knows double quotes only, and no name on Windows contains one.
    return f'"{plain}"' if windows and quoted != plain else quoted


@contextlib.contextmanager
def reported_write(what: str, run: Path) -> Iterator[None]:
    """Raise UserError where the system refuses a write to a run folder inside the block."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        resume = f"continue with: nanogpt train --resume {shell_quote(run)}"
        if not run.is_dir():
            raise UserError(
                f"the run folder {str(run)!r} was moved or deleted during training: put it back, then {resume}"
            ) from None
        reason = getattr(error, "strerror", None) or str(error)
        action = "Free some disk space" if "space" in reason else "Fix that"
        raise UserError(
            f"cannot write {what} in {str(run)!r}: {reason}; what was saved before is whole. {action}, then {resume}"
        ) from None
