"""The process in which a learner's file runs: checks what it defines, and writes findings as lines of JSON.

Started by `runner` and nobody else. A time limit is kept by a thread of C, which stops the process even where Python
never comes back, and leaves a traceback that tells where it was; a memory limit, by the system where it has them.
"""

import dataclasses
import faulthandler
import json
import sys
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import torch

from course.exercises import exercises_of
from course.exercises.base import Exercise, Finding, examine
from course.exercises.errors import tell, tell_syntax

MEMORY_BYTES = 4 * 2**30
"""What a learner's file may use, beyond what torch took before it."""


def load_answer(path: Path) -> ModuleType:
    """Run a learner's file as a module. Raises what it raises; SyntaxError where Python cannot read it."""
    sys.dont_write_bytecode = True  # beside a learner's file nothing appears
    loader = SourceFileLoader("answer", str(path))
    spec = spec_from_loader("answer", loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules["answer"] = module
    loader.exec_module(module)
    return module


def defined(answer: ModuleType, exercises: Sequence[Exercise]) -> list[tuple[Exercise, Any]]:
    """The exercises that an answer has something for."""
    return [(exercise, getattr(answer, exercise.name)) for exercise in exercises if hasattr(answer, exercise.name)]


class Lines:
    """Writes events as they happen, so that those before a crash are there after it."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def __call__(self, event: str, **fields: Any) -> None:
        self.file.write(json.dumps({"event": event, **fields}) + "\n")
        self.file.flush()


def check_file(section: str, path: Path, write: Lines) -> None:
    """Check all that a file defines of a section's exercises."""
    exercises = exercises_of(section)
    write("ready")
    try:
        answer = load_answer(path)
    except SyntaxError as error:
        where_from_file = error.filename == str(path)
        write("unreadable", says=tell_syntax(error) if where_from_file else tell(error, path))
        return
    except (Exception, SystemExit) as error:
        write("unreadable", says=tell(error, path))
        return
    there = defined(answer, exercises)
    write("loaded", there=[exercise.name for exercise, _ in there])
    for exercise, thing in there:
        for finding in examine(exercise, thing, path):
            _write_finding(write, exercise, finding)
    write("done")


def _write_finding(write: Lines, exercise: Exercise, finding: Finding) -> None:
    write("finding", exercise=exercise.name, **dataclasses.asdict(finding))


def limit_memory() -> None:
    """Let this process take so much more memory and no more, on Linux; elsewhere the limit is not kept."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[5]  # data and stack, which the limit counts
    limit = int(pages) * resource.getpagesize() + MEMORY_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def main(section: str, file: str, findings: str, trace: str, seconds: float) -> None:
    """Check a file, within `seconds` from when everything is imported."""
    path = Path(file)
    sys.path.append(str(path.parent))  # last: a file of theirs called random.py takes nobody's place
    torch.set_num_threads(1)
    limit_memory()
    with Path(findings).open("w", encoding="utf-8") as lines, Path(trace).open("w", encoding="utf-8") as stopped_at:
        faulthandler.dump_traceback_later(seconds, exit=True, file=stopped_at)
        check_file(section, path, Lines(lines))
        faulthandler.cancel_dump_traceback_later()
