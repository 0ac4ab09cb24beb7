"""The course's exercises, two to four a section; `python -m course.check` lists them and checks answers.

`eNN_*.py` hold the exercises of a section: what is asked, the stub, and the checks in their order. `base` says what an
exercise is and goes through its checks; `probe`, `attention`, `several_heads` and `writing` look at what a learner
wrote; `errors` says what a traceback means; `worker` does all that in a process of its own; `runner` starts it and ends
it in time.
`solutions/` holds an answer to each, as a learner would write it.
"""

import importlib
from typing import TYPE_CHECKING

from course.__main__ import SECTIONS

if TYPE_CHECKING:
    from course.exercises.base import Exercise


def exercises_of(section: str) -> "tuple[Exercise, ...]":
    """The exercises of a section, given by its whole name: `s04_self_attention`."""
    exercises: tuple[Exercise, ...] = importlib.import_module(f"course.exercises.e{section[1:]}").EXERCISES
    return exercises


def section_named(name: str) -> str | None:
    """The whole name of a section for `s04`, `4`, `04` or `s04_self_attention`; None where there is no such section."""
    digits = name.lower().removeprefix("s").partition("_")[0]
    if not (digits.isascii() and digits.isdigit()) or not 1 <= int(digits) <= len(SECTIONS):
        return None
    section = SECTIONS[int(digits) - 1]
    return section if "_" not in name or name == section else None
