"""The command line of `python -m course` and `python -m course.sNN_...`: steps, seed, text, output.

The flags are read only in a process started by one of these commands. In a notebook `__name__` is "__main__" as well,
but the arguments are the kernel's; there, `choose(steps=500)` in a cell before the training sets steps, seed and text.
"""

import argparse
import functools
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from nanogpt.errors import UserError
from nanogpt.text.corpus import load_corpus

LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of the command line; None means the section's default."""

    section: str = ""
    steps: int | None = None
    seed: int | None = None
    text: str | None = None
    """the text itself, not its path"""
    notes: tuple[str, ...] = ()
    events: bool = False
    sections: tuple[int, ...] = ()
    """numbers of the sections to run; only of `python -m course`"""

    def arguments(self) -> dict[str, Any]:
        """Return steps, seed and text, if given, as keyword arguments for a section's `main`."""
        given = {"steps": self.steps, "seed": self.seed, "text": self.text}
        return {name: value for name, value in given.items() if value is not None}


_chosen: dict[str, Any] = {}
"""the arguments of `choose`"""


def choose(*, steps: int | None = None, seed: int | None = None, text: str | None = None) -> None:
    """Set steps, seed and text for the trainings that follow, in a notebook, where there are no flags."""
    _chosen.update(steps=steps, seed=seed, text=text)


def started_as() -> str:
    """Return the section that this process was started for, such as `s04_self_attention`; `course` for all, or ''."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = spec.name if spec is not None else ""
    if name == "course.__main__":
        return "course"
    return name.removeprefix("course.") if re.fullmatch(r"course\.s\d\d_\w+", name) else ""


def read_options() -> Options:
    """Return the options of this process's command line, or of `choose` if it was not started as a section."""
    section = started_as()
    return _parse(section, tuple(sys.argv[1:])) if section else Options(**_chosen)


@functools.cache
def _parse(section: str, arguments: tuple[str, ...]) -> Options:
    parser = _parser(section)
    given = parser.parse_args(arguments)
    try:
        corpus = load_corpus(given.text)
        text = corpus.text
    except UserError as error:  # no such file, not a text, no network
        parser.error(str(error))
    return Options(
        section=section,
        steps=given.steps,
        seed=given.seed,
        text=text,
        notes=corpus.notes,
        events=given.events,
        sections=tuple(given.sections) if section == "course" else (),
    )


class OneLineParser(argparse.ArgumentParser):
    """An argument parser that prints an error as one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser(section: str) -> argparse.ArgumentParser:
    whole = section == "course"
    command = "python -m course" if whole else f"python -m course.{section}"
    parser = OneLineParser(
        prog=command,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="run the ten sections: train each, print a table of losses, draw them"
        if whole
        else "run one section: demonstrations, training, pictures",
        epilog=f"example:\n  {command} --steps 500 --seed 7 --text my_book.txt\n\n"
        "Pictures are written to runs/course in the current folder, if matplotlib is installed.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--steps", type=_steps, metavar="N", help="training steps of each section (default: the section's own)"
    )
    parser.add_argument("--seed", type=_seed, metavar="N", help="seed for weights, batches and samples (default: 1337)")
    parser.add_argument(
        "--text",
        metavar="TEXT",
        help="a file, a folder, - for standard input, or a named corpus: shakespeare, python "
        "(default: shakespeare if available, else python)",
    )
    parser.add_argument(
        "--events",
        action="store_true",
        help="print JSON lines (step, loss, sample, demo, picture, done) instead of text",
    )
    if whole:
        parser.add_argument(
            "--sections",
            type=_sections,
            metavar="A-B",
            default=tuple(range(1, 11)),
            help="run only these, such as 1-8 or 4 (default: 1-10)",
        )
    return parser


def _steps(value: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", value) or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number of steps; give a whole number from 1, such as 500")
    return int(value)


def _seed(value: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", value) or not 0 <= int(value) <= LARGEST_SEED:
        raise argparse.ArgumentTypeError(f"{value!r} is not a seed; give a whole number from 0, such as 1337")
    return int(value)


def _sections(value: str) -> Sequence[int]:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", value)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last <= 10:
        raise argparse.ArgumentTypeError(
            f"{value!r} is not a range of sections; give one or a range from 1 to 10, such as 1-8"
        )
    return range(first, last + 1)
