"""Starts the process that checks a learner's file, ends it in time, and reads what it found.

Nothing of the file is run in the process that calls `check_answer`. The other process keeps a time limit itself and is
stopped from here if it does not; it sees no input, what it prints is kept apart, and its findings come back as JSON.
It is no cage: a file may still read and write whatever its user may.
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

from course.exercises.base import Finding

ROOT = Path(__file__).parents[2]
KEPT_BYTES = 4_000
"""Of what a file prints, so much is shown."""
GRACE_SECONDS = 120.0
"""For starting Python and torch on a busy machine, beyond the time limit."""


@dataclass
class Report:
    """What became of a file: findings by exercise, in the file's words what it printed, and what ended it early."""

    findings: dict[str, list[Finding]] = field(default_factory=dict)
    broken: str = ""
    """Why not everything could be looked at; empty where it could."""
    printed: str = ""


def check_answer(section: str, path: Path, seconds: float = 60.0) -> Report:
    """Check a file's answers to the exercises of a section (its whole name) in a process of its own."""
    path = path.resolve()
    with tempfile.TemporaryDirectory(prefix="course-check-", ignore_cleanup_errors=True) as folder:
        findings, trace = Path(folder) / "findings.jsonl", Path(folder) / "trace.txt"
        arguments = [section, str(path), str(findings), str(trace), seconds]
        code, printed = _run(_command(arguments), seconds + GRACE_SECONDS)
        events = _read_events(findings)
        report = _report(events)
        report.printed = printed
        if not report.broken and (not events or events[-1]["event"] != "done"):
            stopped = trace.read_text(encoding="utf-8", errors="replace") if trace.exists() else ""
            report.broken = _why_it_ended(events, stopped, code, path, seconds)
        return report


def _command(arguments: list[Any]) -> list[str]:
    """Python by itself (no environment variables of its own, no current folder), with the modules that we have."""
    paths = [str(ROOT), *(one for one in sys.path if one and Path(one).resolve() != Path.cwd())]
    program = f"import sys; sys.path[:] = {paths!r}; from course.exercises.worker import main; main(*{arguments!r})"
    return [sys.executable, "-I", "-X", "utf8", "-c", program]


def _run(command: list[str], seconds: float) -> tuple[int | None, str]:
    """Run to the end, or to the limit: the exit code (None if it was stopped), and the beginning of what it printed."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=os.name == "posix",
    )
    assert process.stdout is not None
    kept = bytearray()
    reader = threading.Thread(target=_drain, args=(process.stdout, kept), daemon=True)
    reader.start()
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        _stop(process)
        reader.join(5)
    return code, _shortened(bytes(kept))


def _drain(pipe: IO[bytes], kept: bytearray) -> None:
    """Read all there is, so that the writer never waits, and keep the beginning."""
    with contextlib.suppress(OSError, ValueError):
        while chunk := os.read(pipe.fileno(), 65536):
            kept += chunk[: KEPT_BYTES + 1 - len(kept)]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it, and whatever it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _shortened(printed: bytes) -> str:
    text = printed[:KEPT_BYTES].decode("utf-8", errors="replace").rstrip()
    return f"{text}\n... and more, which is left out" if len(printed) > KEPT_BYTES else text


def _read_events(path: Path) -> list[dict[str, Any]]:
    """The lines that were written to the end."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError):
            events.append(json.loads(line))
    return events


def _report(events: list[dict[str, Any]]) -> Report:
    report = Report()
    for event in events:
        if event["event"] == "unreadable":
            report.broken = event["says"]
        elif event["event"] == "finding" and event["state"] != "running":
            finding = Finding(event["check"], event["state"], event["says"])
            report.findings.setdefault(event["exercise"], []).append(finding)
    return report


def _why_it_ended(events: list[dict[str, Any]], trace: str, code: int | None, path: Path, seconds: float) -> str:
    place = _place(events[-1] if events else {})
    if trace or code is None:
        line = next(_lines_of(trace, path), "")
        where = f" It was at {line}." if line else ""
        return f"It was stopped after {seconds:g} seconds {place}.{where} Is there a loop that never ends?"
    if not events:
        return f"The checks could not be started (exit code {code}); what Python said stands below."
    how = f"with exit code {code}" if code >= 0 else f"by signal {-code} ({_signal_name(-code)})"
    return f"The process ended {how} {place}. Leave out `os._exit()` and whatever else ends Python at once."


def _place(last: dict[str, Any]) -> str:
    if last.get("event") == "finding":
        return f"in the check {last['check']!r} of `{last['exercise']}`"
    return "while your file itself was being run, before any check" if last else "before anything was run"


def _lines_of(trace: str, path: Path) -> Iterator[str]:
    """The learner's lines in what faulthandler wrote, the innermost first."""
    for match in re.finditer(r'File "(.+)", line (\d+) in (.+)', trace):
        if match[1] == str(path):
            yield f"{path.name}, line {match[2]}, in {match[3]}"


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return "unknown"
