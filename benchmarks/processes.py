"""Fresh processes, all started the same way: a clean environment, a clock from the start, the peak of memory.

A program is timed by the lines that it prints itself, so that it runs unmodified: each gets the seconds since its
process was started when it arrives here. What such a line means is for the caller to know.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CHILD = Path(__file__).parent / "child.py"
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "NANOGPT_DATA", "LD_LIBRARY_PATH")
"""What is passed on. Not passed on: thread settings, Python's and torch's switches, and what a session has beside."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """What a program printed, and how many seconds after its start."""

    seconds: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A process that came to its end."""

    seconds: float
    """from its start to its end"""
    peak_megabytes: float
    """largest resident set, in 10^6 bytes"""
    lines: tuple[Line, ...]
    """standard output and standard error in the order in which they came"""

    @property
    def text(self) -> str:
        """All that it printed."""
        return "\n".join(line.text for line in self.lines)


class Failed(RuntimeError):
    """A process ended with an error."""


def clean_environment(threads: int | None = None, **more: str) -> dict[str, str]:
    """An environment with what programs need to run; `threads` CPU threads, else as many as torch takes by itself.

    Python's output is unbuffered, so that a line is seen when it is printed.
    """
    found = {name: os.environ[name] for name in KEPT if name in os.environ} | {"PYTHONUNBUFFERED": "1"}
    if threads is not None:
        found["OMP_NUM_THREADS"] = str(threads)
    return found | more


def own_environment(folder: Path, threads: int | None = None) -> dict[str, str]:
    """For our own side: this working tree is imported, and every cache is empty, below `folder`."""
    caches = {"NANOGPT_CACHE": "cache", "TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
    places = {name: str(folder / place) for name, place in caches.items()}
    return clean_environment(threads, PYTHONPATH=str(ROOT), **places)


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Finished:
    """Run a command in a folder to its end. Raises Failed, with the end of what it printed, where it fails.

    >>> done = run([sys.executable, "-c", "print(6 * 7)"], Path(), clean_environment())
    >>> done.text, 0 < done.lines[0].seconds <= done.seconds, 1 < done.peak_megabytes < 500
    ('42', True, True)
    """
    with tempfile.TemporaryDirectory(prefix="process-") as place:
        report = Path(place) / "report.json"
        words = [sys.executable, "-I", "-S", str(CHILD), str(report), *command]
        arrived = _watch(words, folder, environment)
        found: dict[str, Any] = {"code": "unknown", "start": 0.0}  # of a command that could not be started
        if report.exists():
            found = json.loads(report.read_text(encoding="utf-8"))
    lines = tuple(Line(seconds=when - found["start"], text=text) for when, text in arrived)
    if found["code"] != 0:
        told = "\n".join(line.text for line in lines[-15:])
        raise Failed(f"{' '.join(command)}\nended with code {found['code']}:\n{told}")
    return Finished(seconds=found["seconds"], peak_megabytes=found["peak_bytes"] / 1e6, lines=lines)


def _watch(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> list[tuple[float, str]]:
    """The lines that a program prints and when they came, by the monotonic clock; it does not outlive this call."""
    arrived = []
    with subprocess.Popen(
        words, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                arrived.append((time.monotonic(), line.decode("utf-8", "replace").rstrip()))
            process.wait()
        finally:  # also on Ctrl-C: its session is its own, so that only this ends it
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return arrived
