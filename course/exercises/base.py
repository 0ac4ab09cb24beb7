"""What an exercise is, and how its checks are gone through.

A check is a function of what the learner wrote. It returns None if all is well, a sentence if not, or `Passed` with
something to show. Checks stand in an order, each taking for granted what those before it have found right, and the
first that fails is the last that is looked at: so a mistake is told once, by the check that is about it.
"""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from course.exercises.errors import tell

State = Literal["running", "passed", "failed", "todo"]


@dataclass(frozen=True)
class Passed:
    """All is well, and there is something to show."""

    note: str


@dataclass(frozen=True)
class Check:
    """One thing that must be so."""

    name: str
    """Read after a tick: "the future stays hidden"."""
    run: Callable[[Any], str | Passed | None]


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """Something to write, by the name that the learner's file gives it."""

    name: str
    task: str
    stub: str
    look: str
    """The heading in the section under which to look when stuck."""
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Effect:
    """What an experiment showed: the answer to the question, and a sentence with the numbers."""

    answer: str | float
    shown: str


@dataclass(frozen=True)
class Finding:
    """What one check found, in words for the learner."""

    check: str
    state: State
    says: str = ""


def examine(exercise: Exercise, thing: Any, path: Path) -> Iterator[Finding]:
    """Go through the checks of what the file at `path` defines, up to the first that fails.

    Each is announced as "running" before it is run, so that whoever listens knows where a process was that died.
    """
    if thing is None:
        yield Finding(exercise.checks[0].name, "todo")
        return
    for check in exercise.checks:
        yield Finding(check.name, "running")
        finding = _apply(check, thing, path)
        yield finding
        if finding.state != "passed":
            return


def _apply(check: Check, thing: Any, path: Path) -> Finding:
    torch.manual_seed(0)
    try:
        verdict = check.run(thing)
    except NotImplementedError:
        return Finding(check.name, "todo")
    except (Exception, SystemExit) as error:
        return Finding(check.name, "failed", tell(error, path))
    if isinstance(verdict, str):
        return Finding(check.name, "failed", verdict)
    return Finding(check.name, "passed", verdict.note if verdict else "")


def break_it(
    *,
    name: str,
    task: str,
    look: str,
    experiment: Callable[[], Effect],
    choices: Sequence[str] = (),
    within: float = 0.0,
) -> Exercise:
    """An exercise in which the learner says beforehand what an experiment will show.

    Either one of `choices`, or, where there are none, a number that may be off by `within`.
    """
    wanted = " or ".join(repr(choice) for choice in choices) if choices else "a number"

    def is_an_answer(prediction: Any) -> str | None:
        if choices and prediction not in choices:
            return f"{prediction!r} is none of the answers: write {wanted}."
        if not choices and (isinstance(prediction, bool) or not isinstance(prediction, int | float)):
            return f"{prediction!r} is no number: write one, such as 2.5."
        return None

    def is_as_predicted(prediction: Any) -> str | Passed:
        effect = experiment()
        if choices:
            right = prediction == effect.answer
        else:
            right = abs(prediction - float(effect.answer)) <= within
        if right:
            return Passed(effect.shown)
        return f"You expected {prediction!r}, and it turned out otherwise. {effect.shown}"

    return Exercise(
        name=name,
        task=f"Break it, and say first what will happen. {task}",
        stub=f"{name} = None  # write {wanted} in place of None",
        look=look,
        checks=(Check("an answer", is_an_answer), Check("as predicted", is_as_predicted)),
    )


STUB_HEAD = '''"""{title}

Fill in what you like, in any order, and look at it with: python -m course.check {section} {file}
"""

import torch
from torch import Tensor, nn
'''


def stub_file(section: str, exercises: Sequence[Exercise], file: str) -> str:
    """The text of a file with the stubs of all exercises of a section, each under its task."""
    parts = [STUB_HEAD.format(title=f"Exercises of section {int(section[1:3])}.", section=section[:3], file=file)]
    for number, exercise in enumerate(exercises, start=1):
        task = textwrap.fill(f"{number}. {exercise.task}", 110, initial_indent="# ", subsequent_indent="# ")
        parts.append(f"\n\n{task}\n\n{exercise.stub.strip()}\n")
    return "".join(parts)
