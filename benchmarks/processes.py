"""Fresh processes: a clean environment, a clock from the start, the peak of memory; and `nanogpt` in such processes.

A program is timed by the lines that it prints, so that it runs unmodified: each line is stored with the seconds from
the start of its process.
"""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import nanogpt
from benchmarks.record import ROOT
from nanogpt.runs.folder import RunFolder

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "NANOGPT_DATA", "LD_LIBRARY_PATH")
"""Environment variables that are passed on; settings of threads, Python and torch are not."""
CHILD = """
import json, os, sys, time
report, *command = sys.argv[1:]
start = time.monotonic()
_, status, used = os.wait4(os.posix_spawnp(command[0], command, os.environ), 0)
seconds, unit = time.monotonic() - start, 1 if sys.platform == "darwin" else 1024
code, peak = os.waitstatus_to_exitcode(status), used.ru_maxrss * unit
with open(report, "w", encoding="utf-8") as file:
    json.dump({"start": start, "seconds": seconds, "code": code, "peak_bytes": peak}, file)
"""
"""A program between a benchmark and what it measures: Linux counts the memory of the process that starts another as
the peak of the other, and a benchmark has loaded torch. This program has loaded nothing."""
NANOGPT = (sys.executable, "-m", "nanogpt")
FEW_EVALUATIONS = ("--eval-tokens", "1", "--final-eval-tokens", "1", "--sample-tokens", "0")
IMPORTS = (
    "import nanogpt.cli.main, nanogpt.training.options, nanogpt.training.new_run, nanogpt.training.trainer, "
    "nanogpt.parallel.process, nanogpt.reporting.terminal"
)
"""What `nanogpt train` imports."""
EVALUATED = ("loss", "loss_interval", "bits_per_byte", "protocol", "tokens", "step")
EVALUATION = re.compile(r"step ([\d,]+): ")
WARM_STEPS = 5
"""At most this many first steps don't count for the time of a step."""


class Line(NamedTuple):
    """A printed line, and when it came, in seconds from the start of the process."""

    seconds: float
    text: str


class Finished(NamedTuple):
    """A process that has ended: its seconds, the largest resident set in 10^6 bytes, and what it printed."""

    seconds: float
    peak_megabytes: float
    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        """All that it printed."""
        return "\n".join(line.text for line in self.lines)


class Trained(NamedTuple):
    """A training: its seconds from Enter to the last step without evaluations, and the median of a step."""

    seconds: float
    step_seconds: float | None
    """without the first ones"""
    peak_megabytes: float


class Failed(RuntimeError):
    """A process ended with an error, or printed something else than expected."""


def clean_environment(threads: int | None = None, **more: str) -> dict[str, str]:
    """Return what programs need to run, with `threads` CPU threads if given; Python's output is unbuffered."""
    found = {name: os.environ[name] for name in INHERITED if name in os.environ} | {"PYTHONUNBUFFERED": "1"}
    return found | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)}) | more


def own_environment(folder: Path, threads: int | None = None, source: Path = ROOT) -> dict[str, str]:
    """Return an environment in which `source` is imported, and all caches are empty, below `folder`."""
    caches = {"NANOGPT_CACHE": "cache", "TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
    return clean_environment(threads, PYTHONPATH=str(source), **{name: str(folder / p) for name, p in caches.items()})


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Finished:
    """Run a command in a folder to its end. Raises Failed, with the end of what it printed.

    >>> done = run([sys.executable, "-c", "print(6 * 7)"], Path(), clean_environment())
    >>> done.text, 0 < done.lines[0].seconds <= done.seconds, 1 < done.peak_megabytes < 500
    ('42', True, True)
    """
    with tempfile.TemporaryDirectory(prefix="process-") as place:
        report = Path(place) / "report.json"
        arrived = _watch([sys.executable, "-I", "-S", "-c", CHILD, str(report), *command], folder, environment)
        found: dict[str, Any] = {"code": "unknown", "start": 0.0}  # of a command that could not be started
        if report.exists():
            found = json.loads(report.read_text(encoding="utf-8"))
    lines = tuple(Line(seconds=when - found["start"], text=text) for when, text in arrived)
    if found["code"] != 0:
        end = "\n".join(line.text for line in lines[-15:])
        raise Failed(f"{' '.join(command)}\nended with code {found['code']}:\n{end}")
    return Finished(seconds=found["seconds"], peak_megabytes=found["peak_bytes"] / 1e6, lines=lines)


def python_call(function: Callable[..., Any], *arguments: Any) -> list[str]:
    """Return the command that calls a module's function in a fresh process and prints its result as JSON."""
    module = sys.modules[function.__module__].__spec__
    assert module is not None
    program = f"import json, sys; from {module.name} import {function.__name__} as call; arguments = sys.argv[1]"
    return [sys.executable, "-c", f"{program}; print(json.dumps(call(*json.loads(arguments))))", json.dumps(arguments)]


def _watch(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> list[tuple[float, str]]:
    """Return the lines that a program prints, and when, by the monotonic clock; it does not outlive this call."""
    arrived = []
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(words, cwd=folder, env=environment, start_new_session=True, **streams) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                arrived.append((time.monotonic(), line.decode("utf-8", "replace").rstrip()))
            process.wait()
        finally:  # also on Ctrl-C, which its own session does not receive
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return arrived


@contextmanager
def server(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> "Iterator[tuple[Any, str]]":
    """Start a command of nanogpt that serves; yield its process and first line; end it by SIGTERM."""
    options: dict[str, Any] = {"cwd": folder, "env": dict(environment), "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*NANOGPT, *words], **options) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline()
        finally:
            process.terminate()
            code = process.wait(30)
        assert code == 0, f"{words[0]} ended with code {code}"


def flags(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as words of a command.

    >>> flags({"n_layer": 2, "bias": False})
    ['--n-layer', '2', '--bias', 'False']
    """
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def median_step(ends: Sequence[float]) -> float | None:
    """Return the median time between the ends of consecutive steps, without the first few; None for a single step.

    >>> median_step([10.0, 19.0, 20.0, 21.0, 22.0, 23.0, 24.5, 26.0])  # three of seven are left out
    1.25
    >>> median_step([10.0, 12.0]), median_step([10.0])
    (2.0, None)
    """
    took = [after - before for before, after in pairwise(ends)]
    warm = took[min(WARM_STEPS, len(took) // 2) :]
    return statistics.median(warm) if warm else None


def seconds_per_step(metrics: Iterable[dict[str, Any]]) -> float | None:
    """Return the median time of a step from the lines of metrics.jsonl, whose seconds are those of training alone.

    >>> lines = [{"event": "step", "step": step, "seconds": 9.0 + 0.1 * step} for step in (10, 20, 30, 40)]
    >>> round(seconds_per_step([*lines, {"event": "eval", "step": 40, "seconds": 13.0}]), 3)
    0.1
    """
    ends = [(line["step"], line["seconds"]) for line in metrics if line["event"] == "step"]
    apart = ends[1][0] - ends[0][0] if len(ends) > 1 else 1
    took = median_step([seconds for _, seconds in ends])
    return None if took is None else took / apart


class Workspace:
    """A folder in which `nanogpt` trains one run, each command in a fresh process, with caches that start empty."""

    def __init__(self, folder: Path, threads: int | None = None, source: Path = ROOT) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.threads, self.run_folder = folder, threads, folder / "run"
        self.environment = own_environment(folder, threads, source)

    @classmethod
    @contextmanager
    def temporary(cls, threads: int | None = None, parent: Path | None = None) -> "Iterator[Workspace]":
        """Make one that is deleted at the end."""
        with tempfile.TemporaryDirectory(dir=parent, prefix="benchmark-") as folder:
            yield cls(Path(folder), threads)

    def nanogpt(self, *words: str) -> Finished:
        """Run `nanogpt WORDS`."""
        return run([*NANOGPT, *words], self.folder, self.environment)

    def import_seconds(self) -> float:
        """Return the seconds of a process that imports what a training imports."""
        return run([sys.executable, "-c", IMPORTS], self.folder, self.environment).seconds

    def train(self, words: Sequence[str], steps: int, *more: str) -> Trained:
        """Run `nanogpt train WORDS --steps STEPS` with as few evaluations as it allows; their time counts.

        The time of a step is that of each ten together, unless `--log-every` says otherwise.
        """
        length = ("--steps", str(steps), "--eval-every", str(steps), *FEW_EVALUATIONS)
        done = self.nanogpt("train", *words, *length, *more, "--out", str(self.run_folder))
        step = seconds_per_step(RunFolder(self.run_folder).metrics())
        return Trained(last_step_seconds(done.lines, steps), step, done.peak_megabytes)

    def evaluate(self, checkpoint: str = "last", run: str | None = None) -> dict[str, Any]:
        """Return the whole-split loss of a checkpoint of its run, or of another one, by `nanogpt eval --json`."""
        done = self.nanogpt("eval", run or str(self.run_folder), "--checkpoint", checkpoint, "--json")
        found = json.JSONDecoder().raw_decode(done.text[done.text.index("{") :])[0]  # after its notes
        return {name: found[name] for name in EVALUATED}

    def parameters(self) -> int:
        """Return the number of parameters of the trained model."""
        return nanogpt.load(self.run_folder, checkpoint="last", device="cpu").model.parameter_count


def last_step_seconds(lines: Sequence[Line], steps: int) -> float:
    """Return when `nanogpt train` printed the evaluation after its last step. Raises Failed where it did not."""
    found = {int(match[1].replace(",", "")): line for line in lines if (match := EVALUATION.match(line.text))}
    if steps not in found:
        raise Failed(f"no line about step {steps:,}:\n" + "\n".join(line.text for line in lines[-5:]))
    return found[steps].seconds
