"""`python -m course.check`: the exercises, a stub to fill in, and what is right and wrong in a learner's file.

    python -m course.check                          all exercises
    python -m course.check s04                      those of section 4
    python -m course.check s04 --stub my_head.py    write a file with their stubs; a file that is there stays
    python -m course.check s04 my_head.py           check what the file defines

The exit code is 0 if nothing that the file defines is wrong and at least one exercise is done; 1 if not; 2 if the
command itself cannot be carried out.
"""

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from course.__main__ import SECTIONS
from course.exercises import exercises_of, section_named
from course.exercises.base import Exercise, Finding, stub_file
from course.exercises.runner import Report, check_answer
from course.flags import Parser

COMMAND = "python -m course.check"
TAKEN = {*sys.stdlib_module_names, "torch", "numpy", "course", "nanogpt"}
"""Names that no file of a learner may have: beside it, whatever imports them would get the learner's."""
WIDTH = 100


def read_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The section's whole name (or None), the file to check, the stub to write, and the time limit."""
    parser = Parser(prog=COMMAND, description="The exercises of the course, and checks for what you write.")
    parser.add_argument("section", nargs="?", type=_section, metavar="SECTION", help="such as s04, or 4")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="your answers, to be checked")
    parser.add_argument("--stub", type=_stub, metavar="FILE", help="write the section's stubs into a new file")
    parser.add_argument(
        "--seconds", type=_seconds, default=60.0, metavar="N", help="stop a file that takes longer (default: 60)"
    )
    given = parser.parse_args(arguments)
    if given.stub and not given.section:
        parser.error(f"name the section whose stubs you want: {COMMAND} s04 --stub {given.stub}")
    if given.stub and given.file:
        parser.error("either write stubs (--stub) or check a file: give one of the two")
    if given.file and not given.file.is_file():
        parser.error(f"no such file: {str(given.file)!r}; begin one with: {_stub_command(given.section, given.file)}")
    return given


def _section(value: str) -> str:
    section = section_named(value)
    if section is None:
        raise argparse.ArgumentTypeError(f"{value!r} is no section; the sections are s01 to s{len(SECTIONS):02}")
    return section


def _stub(value: str) -> Path:
    path = Path(value)
    if path.suffix != ".py":
        raise argparse.ArgumentTypeError(f"{value!r} is no name for Python code; give one that ends in .py")
    if path.stem in TAKEN:
        raise argparse.ArgumentTypeError(f"{value!r} would hide the module {path.stem!r}; give another, such as my.py")
    return path


def _seconds(value: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?", value) or float(value) <= 0:
        raise argparse.ArgumentTypeError(f"{value!r} is no time; give a number of seconds above 0, such as 60")
    return float(value)


def _stub_command(section: str, file: Path | str) -> str:
    return f"{COMMAND} {section[:3]} --stub {file}"


# Lists and stubs


def listing(sections: Sequence[str], *, tasks: bool) -> str:
    """The exercises of some sections, with their tasks or in a line each."""
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
        print(f"{COMMAND}: {str(path)!r} is there already and stays as it is; name another file", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{COMMAND}: cannot write {str(path)!r}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"written: {path}\nfill in what you like, then: {COMMAND} {section[:3]} {path}")
    return 0


# Findings


def told(section: str, exercises: Sequence[Exercise], report: Report, marks: tuple[str, str] = ("✓", "✗")) -> str:
    """A report in lines for a person."""
    lines: list[str] = []
    for exercise in exercises:
        findings = report.findings.get(exercise.name, [])
        if not findings:
            continue
        lines += [exercise.name, *_told_exercise(section, exercise, findings, marks), ""]
    if report.broken:
        lines += [_wrapped(report.broken, ""), ""]
    if report.printed:
        lines += ["Your file printed:", textwrap.indent(report.printed, "  | "), ""]
    if left := [exercise.name for exercise in exercises if _state(report, exercise) == "todo"]:
        lines.append(f"still to do: {', '.join(left)}")
    done = sum(_state(report, exercise) == "done" for exercise in exercises)
    lines.append(f"{done} of {len(exercises)} exercises of {section[:3]} done")
    return "\n".join(lines)


def _told_exercise(section: str, exercise: Exercise, findings: Sequence[Finding], marks: tuple[str, str]) -> list[str]:
    right, wrong = marks
    lines: list[str] = []
    for finding in findings:
        if finding.state == "todo":
            return ["  still to do"]
        lines.append(f"  {right if finding.state == 'passed' else wrong} {finding.check}")
        if finding.says:
            lines.append(_wrapped(finding.says, "      "))
        if finding.state == "failed":
            lines.append(f"      Look under {exercise.look.lstrip('# ')!r} in course/{section}.py.")
    if rest := [check.name for check in exercise.checks[len(findings) :]]:
        lines.append(_wrapped(f"not looked at yet: {'; '.join(rest)}", "  - "))
    return lines


def _wrapped(says: str, indent: str) -> str:
    """The first line filled to the width; those after it, which quote code, as they are."""
    first, *quoted = says.split("\n")
    below = " " * len(indent)
    filled = textwrap.fill(first, WIDTH, initial_indent=indent, subsequent_indent=below)
    return "\n".join([filled, *(below + line for line in quoted)])


def _state(report: Report, exercise: Exercise) -> str:
    """ "done", "wrong" or "todo"."""
    states = [finding.state for finding in report.findings.get(exercise.name, [])]
    if "failed" in states:
        return "wrong"
    return "done" if states == ["passed"] * len(exercise.checks) else "todo"


def exit_code(exercises: Sequence[Exercise], report: Report) -> int:
    """0 if nothing is wrong and something is done."""
    states = [_state(report, exercise) for exercise in exercises]
    return 1 if report.broken or "wrong" in states or "done" not in states else 0


def _marks() -> tuple[str, str]:
    """Signs for right and wrong that the terminal can show."""
    try:
        "✓✗".encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError):
        return "ok:", "no:"
    return "✓", "✗"


def _start() -> int:
    """`main`, ending without a traceback on Ctrl-C and where the reader of our output is gone (`| head`)."""
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
    """Do as the command line says; returns the exit code."""
    given = read_arguments(arguments)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    if given.section is None:
        print(f"{listing(SECTIONS, tasks=False)}\n\nbegin with: {_stub_command(SECTIONS[0], 'my_bigram.py')}")
        return 0
    if given.stub:
        return _write_stub(given.section, given.stub)
    if given.file is None:
        print(f"{listing([given.section], tasks=True)}\n\nbegin with: {_stub_command(given.section, 'my_answers.py')}")
        print("an answer to each, for when you are done or stuck: course/exercises/solutions/" + given.section + ".py")
        return 0
    exercises = exercises_of(given.section)
    report = check_answer(given.section, given.file, given.seconds)
    print(told(given.section, exercises, report, _marks()))
    return exit_code(exercises, report)


if __name__ == "__main__":
    sys.exit(_start())
