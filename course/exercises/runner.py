"""Start the process that checks a learner's file, enforce its time limit, and read the results.

The process that calls `check_answer` runs nothing of the file. The worker process keeps a time limit itself and is
killed from here if it fails to. It has no input, its output is captured, and its results come back as JSON lines.
It is not a sandbox: a file may read and write whatever its user may.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from course.exercises.base import CheckResult

ROOT = Path(__file__).parents[2]
KEPT_BYTES = 4_000
"""how much of a file's output is shown"""
GRACE_SECONDS = 120.0
"""time for starting Python and torch on a busy machine, on top of the time limit"""


@dataclass
class Report:
    """The results of checking a file."""

    results: dict[str, list[CheckResult]] = field(default_factory=dict)
    """by exercise"""
    broken: str = ""
    """why the checks did not finish; empty if they did"""
    printed: str = ""
    """what the file printed"""


def check_answer(section: str, path: Path, seconds: float = 60.0) -> Report:
    """Check a file's answers to the exercises of a section (its full name) in its own process."""
    path = path.resolve()
    with tempfile.TemporaryDirectory(prefix="course-check-", ignore_cleanup_errors=True) as folder:
        results, trace = Path(folder) / "results.jsonl", Path(folder) / "trace.txt"
        arguments = [section, str(path), str(results), str(trace), seconds]
        code, printed = _run(_command(arguments), seconds + GRACE_SECONDS)
        events = _read_events(results)
        report = _make_report(events)
        report.printed = printed
        if not report.broken and (not events or events[-1]["event"] != "done"):
            stopped = trace.read_text(encoding="utf-8", errors="replace") if trace.exists() else ""
            report.broken = _explain_end(events, stopped, code, path, seconds)
        return report


def _command(arguments: list[Any]) -> list[str]:
    """Return the command for an isolated Python (no `PYTHON*` variables, no current folder) with our modules."""
    paths = [str(ROOT), *(one for one in sys.path if one and Path(one).resolve() != Path.cwd())]
    program = f"import sys; sys.path[:] = {paths!r}; from course.exercises.worker import main; main(*{arguments!r})"
    return [sys.executable, "-I", "-X", "utf8", "-c", program]


def _run(command: list[str], seconds: float) -> tuple[int | None, str]:
    """Run until the end or the limit; return the exit code (None if killed) and the beginning of the output."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=os.name == "posix",
    )
    assert process.stdout is not None
    kept = bytearray()
    reader = threading.Thread(target=_read_pipe, args=(process.stdout, kept), daemon=True)
    reader.start()
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        _kill(process)
        reader.join(5)
    text = kept[:KEPT_BYTES].decode("utf-8", errors="replace").rstrip()
    return code, f"{text}\n... (the rest is left out)" if len(kept) > KEPT_BYTES else text


def _read_pipe(pipe: IO[bytes], kept: bytearray) -> None:
    """Read everything, so that the writer never waits, and keep the beginning."""
    with contextlib.suppress(OSError, ValueError):
        while chunk := os.read(pipe.fileno(), 65536):
            kept += chunk[: KEPT_BYTES + 1 - len(kept)]


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and those it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _read_events(path: Path) -> list[dict[str, Any]]:
    """Return the events whose lines are complete."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            events.append(json.loads(line))
    return events


def _make_report(events: list[dict[str, Any]]) -> Report:
    report = Report()
    for event in events:
        if event["event"] == "unreadable":
            report.broken = event["message"]
        elif event["event"] == "result" and event["state"] != "running":
            result = CheckResult(event["check"], event["state"], event["message"])
            report.results.setdefault(event["exercise"], []).append(result)
    return report


def _explain_end(events: list[dict[str, Any]], trace: str, code: int | None, path: Path, seconds: float) -> str:
    stage = _stage(events[-1] if events else {})
    if trace or code is None:
        line = next(_lines_of(trace, path), "")
        where = f" It was at {line}." if line else ""
        return f"It was stopped after {seconds:g} seconds {stage}.{where} Is there an endless loop?"
    if not events:
        return f"The checks could not be started (exit code {code}); Python's message is below."
    how = f"with exit code {code}" if code >= 0 else f"by signal {-code} ({_signal_name(-code)})"
    return f"The process ended {how} {stage}. Remove `os._exit()` and anything else that ends Python at once."


def _stage(last: dict[str, Any]) -> str:
    if last.get("event") == "result":
        return f"in the check {last['check']!r} of `{last['exercise']}`"
    return "while your file itself was running, before any check" if last else "before anything ran"


def _lines_of(trace: str, path: Path) -> Iterator[str]:
    """Yield the learner's lines in faulthandler's traceback, the innermost first."""
    for match in re.finditer(r'File "(.+)", line (\d+) in (.+)', trace):
        if match[1] == str(path):
            yield f"{path.name}, line {match[2]}, in {match[3]}"


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return "unknown"
