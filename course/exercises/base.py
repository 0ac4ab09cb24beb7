"""Exercises: their data classes, how their checks run, and the short trainings that some of them need.

A check is a function of what the learner wrote. It returns None if all is well, a sentence if not, or `Passed` with a
note to show. The checks of an exercise run in order. Each relies on those before it, and the first failure ends the
run, so that one mistake is reported once, by the check that is about it.
"""

import ast
import importlib
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from course.__main__ import SECTIONS
from course.console import quiet
from course.exercises.errors import explain_error
from course.s01_bigram import Result, Setting, run_experiment
from nanogpt.text.corpus import load_corpus

State = Literal["running", "passed", "failed", "todo"]


@dataclass(frozen=True)
class Passed:
    """The verdict of a check that passed and has a note to show."""

    note: str


@dataclass(frozen=True)
class Check:
    """One property that an answer must have."""

    name: str
    """what is printed after the tick: "the future stays hidden" """
    run: Callable[[Any], str | Passed | None]


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """Something to write, under the name that the learner's file gives it."""

    name: str
    task: str
    heading: str
    """the heading of the section to read when stuck"""
    checks: tuple[Check, ...]
    stub: str = ""
    """what to fill in; if empty, the solution without its function bodies"""


@dataclass(frozen=True)
class Outcome:
    """What an experiment showed: the answer to the question, and a sentence with the numbers."""

    answer: str | float
    explanation: str


@dataclass(frozen=True)
class CheckResult:
    """The result of one check, with a message for the learner."""

    check: str
    state: State
    message: str = ""


def exercises_of(section: str) -> tuple[Exercise, ...]:
    """Return the exercises of a section, given its full name: `s04_self_attention`."""
    exercises: tuple[Exercise, ...] = importlib.import_module(f"course.exercises.e{section[1:]}").EXERCISES
    return exercises


def section_named(name: str) -> str | None:
    """Return the full name of a section for `s04`, `4`, `04` or `s04_self_attention`; None for any other name."""
    digits = name.lower().removeprefix("s").partition("_")[0]
    if not (digits.isascii() and digits.isdigit()) or not 1 <= int(digits) <= len(SECTIONS):
        return None
    section = SECTIONS[int(digits) - 1]
    return section if "_" not in name or name == section else None


def run_checks(exercise: Exercise, answer: Any, path: Path) -> Iterator[CheckResult]:
    """Run the checks on an answer from the file at `path`, up to the first that fails.

    Yields a result with state "running" before each check, so that the last line shows where a process died.
    """
    if answer is None:
        yield CheckResult(exercise.checks[0].name, "todo")
        return
    for check in exercise.checks:
        yield CheckResult(check.name, "running")
        result = _run_check(check, answer, path)
        yield result
        if result.state != "passed":
            return


def _run_check(check: Check, answer: Any, path: Path) -> CheckResult:
    torch.manual_seed(0)
    try:
        verdict = check.run(answer)
    except NotImplementedError:
        return CheckResult(check.name, "todo")
    except (Exception, SystemExit) as error:
        return CheckResult(check.name, "failed", explain_error(error, path))
    if isinstance(verdict, str):
        return CheckResult(check.name, "failed", verdict)
    return CheckResult(check.name, "passed", verdict.note if verdict else "")


def prediction_exercise(
    *,
    name: str,
    task: str,
    heading: str,
    experiment: Callable[[], Outcome],
    choices: Sequence[str] = (),
    within: float = 0.0,
) -> Exercise:
    """Make an exercise in which the learner predicts what an experiment will show.

    The answer is one of `choices`; without choices it is a number that may be off by `within`.
    """
    wanted = " or ".join(repr(choice) for choice in choices) if choices else "a number"

    def is_an_answer(prediction: Any) -> str | None:
        if choices and prediction not in choices:
            return f"{prediction!r} is not one of the answers: write {wanted}."
        if not choices and (isinstance(prediction, bool) or not isinstance(prediction, int | float)):
            return f"{prediction!r} is not a number: write one, such as 2.5."
        return None

    def is_as_predicted(prediction: Any) -> str | Passed:
        outcome = experiment()
        if choices:
            right = prediction == outcome.answer
        else:
            right = abs(prediction - float(outcome.answer)) <= within
        if right:
            return Passed(outcome.explanation)
        return f"You predicted {prediction!r}, and the experiment shows something else. {outcome.explanation}"

    return Exercise(
        name=name,
        task=f"Break it, and predict first what will happen. {task}",
        stub=f"{name} = None  # write {wanted} instead of None",
        heading=heading,
        checks=(Check("an answer", is_an_answer), Check("as predicted", is_as_predicted)),
    )


def stub_file(section: str, exercises: Sequence[Exercise], file: str) -> str:
    """Return the text of a file with the stubs of a section's exercises, each under its task."""
    parts = [
        f'"""Exercises of section {int(section[1:3])}.\n\n'
        f"Fill in any of them, in any order, then check the file: python -m course.check {section[:3]} {file}\n"
        '"""\n\nimport torch\nfrom torch import Tensor, nn\n'
    ]
    for number, exercise in enumerate(exercises, start=1):
        task = textwrap.fill(f"{number}. {exercise.task}", 110, initial_indent="# ", subsequent_indent="# ")
        parts.append(f"\n\n{task}\n\n{exercise.stub or _stub_of_solution(section, exercise.name)}\n")
    return "".join(parts)


def _stub_of_solution(section: str, name: str) -> str:
    """Return the solution's class or function with `raise NotImplementedError` instead of each body."""
    source = (Path(__file__).parent / "solutions" / f"{section}.py").read_text(encoding="utf-8")
    lines, kept = source.splitlines(), list[str]()
    definitions = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef | ast.FunctionDef))
    solution = next(node for node in definitions if node.name == name)
    start = solution.lineno - 1
    for function in (node for node in ast.walk(solution) if isinstance(node, ast.FunctionDef)):
        texts = [(one, ast.unparse(one)) for one in function.body]
        body = [one for one, text in texts if not text.startswith(("'", '"', "super().__init__"))]
        kept += lines[start : body[0].lineno - 1]
        kept.append(" " * body[0].col_offset + "raise NotImplementedError")
        start = function.end_lineno or 0
    return "\n".join(kept)


@cache
def _training_text(characters: int = 100_000) -> str:
    """Return the beginning of the Python library's source, which is on every machine."""
    parts: list[str] = []
    length = 0
    for chunk in load_corpus("python").chunks():
        parts.append(chunk.text)
        length += len(chunk.text)
        if length >= characters:
            break
    return "".join(parts)[:characters]


def train_briefly(build: Callable[[int], nn.Module], steps: int = 400, learning_rate: float = 1e-2) -> Result:
    """Train a model for a few seconds on 100,000 characters, in the toy setting; the result is always the same."""
    setting = Setting(learning_rate=learning_rate)
    text = _training_text()
    return run_experiment(build, label="", steps=steps, seed=1337, text=text, report=quiet, setting=setting)
