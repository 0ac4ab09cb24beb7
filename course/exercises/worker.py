"""The process that runs a learner's file, checks what it defines, and writes the results as JSON lines.

Only `runner` starts it. A C thread (faulthandler) keeps the time limit: it stops the process even where Python does not
return, and leaves a traceback. The operating system keeps the memory limit, on Linux.
"""

import dataclasses
import faulthandler
import json
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import torch

from course.exercises.base import exercises_of, run_checks
from course.exercises.errors import explain_error, explain_syntax_error

MEMORY_BYTES = 4 * 2**30
"""what a learner's file may use, on top of what torch uses before it"""


def load_answer(path: Path) -> ModuleType:
    """Run a learner's file as a module. Raises what it raises, and SyntaxError where Python cannot read it."""
    sys.dont_write_bytecode = True  # no __pycache__ next to a learner's file
    loader = SourceFileLoader("answer", str(path))
    spec = spec_from_loader("answer", loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules["answer"] = module
    loader.exec_module(module)
    return module


class JsonLinesFile:
    """A file of events, flushed after each, so that a crash loses none."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def __call__(self, event: str, **fields: Any) -> None:
        self.file.write(json.dumps({"event": event, **fields}) + "\n")
        self.file.flush()


def check_file(section: str, path: Path, write: JsonLinesFile) -> None:
    """Check what a file defines of a section's exercises."""
    exercises = exercises_of(section)
    write("ready")
    try:
        answer = load_answer(path)
    except SyntaxError as error:
        in_file = error.filename == str(path)
        write("unreadable", message=explain_syntax_error(error) if in_file else explain_error(error, path))
        return
    except (Exception, SystemExit) as error:
        write("unreadable", message=explain_error(error, path))
        return
    for exercise in exercises:
        if hasattr(answer, exercise.name):
            for result in run_checks(exercise, getattr(answer, exercise.name), path):
                write("result", exercise=exercise.name, **dataclasses.asdict(result))
    write("done")


def limit_memory() -> None:
    """Limit this process to `MEMORY_BYTES` more than it uses now, on Linux; elsewhere there is no limit."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[5]  # data and stack, which the limit counts
    limit = int(pages) * resource.getpagesize() + MEMORY_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def main(section: str, file: str, results: str, trace: str, seconds: float) -> None:
    """Check a file within `seconds`, counted from when everything is imported."""
    path = Path(file)
    sys.path.append(str(path.parent))  # last: a learner's random.py must not hide Python's
    torch.set_num_threads(1)
    limit_memory()
    with Path(results).open("w", encoding="utf-8") as lines, Path(trace).open("w", encoding="utf-8") as stopped_at:
        faulthandler.dump_traceback_later(seconds, exit=True, file=stopped_at)
        check_file(section, path, JsonLinesFile(lines))
        faulthandler.cancel_dump_traceback_later()
