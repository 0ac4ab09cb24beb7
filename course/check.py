"""`python -m course.check`: list the exercises, write their stubs, and check a learner's file.

    python -m course.check                          list all exercises
    python -m course.check s04                      list those of section 4, with their tasks
    python -m course.check s04 --stub my_head.py    write a new file with their stubs
    python -m course.check s04 my_head.py           check what the file defines

The exit code is 0 if at least one exercise is done and nothing is wrong, 1 if not, and 2 for a wrong command.
"""

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from course.__main__ import SECTIONS
from course.exercises.base import CheckResult, Exercise, exercises_of, section_named, stub_file
from course.exercises.runner import Report, check_answer
from course.flags import OneLineParser

COMMAND = "python -m course.check"
RESERVED = {*sys.stdlib_module_names, "torch", "numpy", "course", "nanogpt"}
"""names that a learner's file may not have, because imports of these modules would find it instead"""
WIDTH = 100


def read_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the section's full name (or None), the file to check, the stub to write, and the time limit."""
    parser = OneLineParser(prog=COMMAND, description="list the exercises of the course, and check your answers")
    parser.add_argument("section", nargs="?", type=_section, metavar="SECTION", help="a section, such as s04 or 4")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the file to check")
    parser.add_argument("--stub", type=_stub, metavar="FILE", help="write the section's stubs to a new file")
    parser.add_argument(
        "--seconds", type=_seconds, default=60.0, metavar="N", help="time limit for a file (default: 60)"
    )
    given = parser.parse_args(arguments)
    if given.stub and not given.section:
        parser.error(f"--stub needs a section: {COMMAND} s04 --stub {given.stub}")
    if given.stub and given.file:
        parser.error("give either --stub FILE or a file to check, not both")
    if given.file and not given.file.is_file():
        parser.error(f"no such file: {str(given.file)!r}; create it with: {_stub_command(given.section, given.file)}")
    return given


def _section(value: str) -> str:
    section = section_named(value)
    if section is None:
        raise argparse.ArgumentTypeError(f"{value!r} is not a section; the sections are s01 to s{len(SECTIONS):02}")
    return section


def _stub(value: str) -> Path:
    path = Path(value)
    if path.suffix != ".py":
        raise argparse.ArgumentTypeError(f"{value!r} is not a Python file; give a name that ends in .py")
    if path.stem in RESERVED:
        raise argparse.ArgumentTypeError(
            f"{value!r} would hide the module {path.stem!r}; give another name, such as my.py"
        )
    return path


def _seconds(value: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", value) or float(value) <= 0:
        raise argparse.ArgumentTypeError(f"{value!r} is not a time; give a number of seconds above 0, such as 60")
    return float(value)


def _stub_command(section: str, file: Path | str) -> str:
    return f"{COMMAND} {section[:3]} --stub {file}"


# Lists and stubs


def listing(sections: Sequence[str], *, tasks: bool) -> str:
    """List the exercises of some sections, with their full tasks or with one line each."""
    lines: list[str] = []
    for section in sections:
        lines.append(f"{section[:3]}  {section[4:].replace('_', ' ')}")
        for exercise in exercises_of(section):
            task = exercise.task if tasks else textwrap.shorten(exercise.task, 68, placeholder=" ...")
            lines.append(textwrap.fill(f"  {exercise.name:<26} {task}", WIDTH, subsequent_indent=" " * 29))
    return "\n".join(lines)


def _write_stub(section: str, path: Path) -> int:
    text = stub_file(section, exercises_of(section), str(path))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        print(f"{COMMAND}: {str(path)!r} exists and is not overwritten; name another file", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{COMMAND}: cannot write {str(path)!r}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"wrote {path}\nfill in any of the stubs, then check them: {COMMAND} {section[:3]} {path}")
    return 0


# Results


def format_report(
    section: str, exercises: Sequence[Exercise], report: Report, marks: tuple[str, str] = ("✓", "✗")
) -> str:
    """Return a report as lines for the terminal."""
    lines: list[str] = []
    for exercise in exercises:
        if results := report.results.get(exercise.name, []):
            lines += [exercise.name, *_format_exercise(section, exercise, results, marks), ""]
    if report.broken:
        lines += [_wrapped(report.broken, ""), ""]
    if report.printed:
        lines += ["Your file printed:", textwrap.indent(report.printed, "  | "), ""]
    if todo := [exercise.name for exercise in exercises if _state(report, exercise) == "todo"]:
        lines.append(f"to do: {', '.join(todo)}")
    done = sum(_state(report, exercise) == "done" for exercise in exercises)
    lines.append(f"{done} of {len(exercises)} exercises of {section[:3]} done")
    return "\n".join(lines)


def _format_exercise(
    section: str, exercise: Exercise, results: Sequence[CheckResult], marks: tuple[str, str]
) -> list[str]:
    right, wrong = marks
    lines: list[str] = []
    for result in results:
        if result.state == "todo":
            return ["  to do"]
        lines.append(f"  {right if result.state == 'passed' else wrong} {result.check}")
        if result.message:
            lines.append(_wrapped(result.message, "      "))
        if result.state == "failed":
            lines.append(f"      See {exercise.heading.lstrip('# ')!r} in course/{section}.py.")
    if rest := [check.name for check in exercise.checks[len(results) :]]:
        lines.append(_wrapped(f"not checked yet: {'; '.join(rest)}", "  - "))
    return lines


def _wrapped(message: str, indent: str) -> str:
    """Wrap the first line of a message; the others quote code and stay as they are."""
    first, *quoted = message.split("\n")
    below = " " * len(indent)
    filled = textwrap.fill(first, WIDTH, initial_indent=indent, subsequent_indent=below)
    return "\n".join([filled, *(below + line for line in quoted)])


def _state(report: Report, exercise: Exercise) -> str:
    """Return "done", "wrong" or "todo"."""
    states = [result.state for result in report.results.get(exercise.name, [])]
    if "failed" in states:
        return "wrong"
    return "done" if states == ["passed"] * len(exercise.checks) else "todo"


def exit_code(exercises: Sequence[Exercise], report: Report) -> int:
    """Return 0 if at least one exercise is done and nothing is wrong, else 1."""
    states = [_state(report, exercise) for exercise in exercises]
    return 1 if report.broken or "wrong" in states or "done" not in states else 0


def _marks() -> tuple[str, str]:
    """Return signs for right and wrong that the terminal can show."""
    try:
        "✓✗".encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError):
        return "ok:", "no:"
    return "✓", "✗"


def _main_without_traceback() -> int:
    """Call `main`; exit without a traceback on Ctrl-C, and where the reader of our output is gone (`| head`)."""
    try:
        code = main()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print(f"{COMMAND}: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again on exit
        return 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    given = read_arguments(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    if given.section is None:
        print(f"{listing(SECTIONS, tasks=False)}\n\nstart with: {_stub_command(SECTIONS[0], 'my_bigram.py')}")
        return 0
    if given.stub:
        return _write_stub(given.section, given.stub)
    if given.file is None:
        print(f"{listing([given.section], tasks=True)}\n\nstart with: {_stub_command(given.section, 'my_answers.py')}")
        print(f"solutions, for when you are done or stuck: course/exercises/solutions/{given.section}.py")
        return 0
    exercises = exercises_of(given.section)
    report = check_answer(given.section, given.file, given.seconds)
    print(format_report(given.section, exercises, report, _marks()))
    return exit_code(exercises, report)


if __name__ == "__main__":
    sys.exit(_main_without_traceback())
