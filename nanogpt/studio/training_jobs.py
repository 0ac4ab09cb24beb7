"""Trainings started from the page: processes that run `nanogpt train`, and outlive the page and the server.

Next to a run NAME, NAME.job has the process id and start time, which together identify a process, and NAME.log its
output. By these files, and by the lock on the run's folder, a new server finds what an old one started.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import nanogpt
from nanogpt.errors import UserError
from nanogpt.files import check_plain, read_text, write_atomically

JOB_LIMIT = 10_000
MAX_NAME = 80
PROC = Path("/proc")
PS_SECONDS = 5
TAIL_BYTES = 30_000
MAX_LINES = 12
_RESUMING = threading.Lock()
"""If two pages resume a run at the same time, the second one has to see the first one's process."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Stage(Enum):
    """What a run is doing."""

    STARTING = "starting"
    """its process reads the text and measures the machine; the run folder does not exist yet"""
    TRAINING = "training"
    ELSEWHERE = "training elsewhere"
    """by a process that was not started from the page, which the page cannot stop"""
    IDLE = "idle"
    """no process trains it: it is done, was stopped, or failed"""


@dataclass(frozen=True)
class Job:
    """A process that was started for a run."""

    pid: int
    started: str

    @property
    def running(self) -> bool:
        """Whether this process is still running."""
        return bool(self.started) and process_start(self.pid) == self.started


class Jobs:
    """The trainings in a folder; files and the system's processes are the state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, text: str, minutes: float, name: str) -> Path:
        """Train on a path or a corpus; return the run's future folder. Raises UserError for an invalid name."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) or len(name) > MAX_NAME:
            raise UserError(f"{name!r} is not a valid run name: use lower-case letters, digits and hyphens")
        self.folder.mkdir(parents=True, exist_ok=True)
        run = self._reserve(name)
        log_file(run).unlink(missing_ok=True)
        try:
            self._start(run, ("train", text, "--minutes", f"{minutes:g}", "--out", str(run)))
        except UserError:
            job_file(run).unlink()
            raise
        return run

    def resume(self, run: Path) -> None:
        """Resume a run. Raises UserError if a process is training it."""
        with _RESUMING:
            if self.stage(run) is not Stage.IDLE:
                raise UserError(f"{run.name} is already being trained")
            self._start(run, ("train", "--resume", str(run)))

    def stop(self, run: Path) -> None:
        """Make a run's process save and end, as Ctrl-C does. Raises UserError if it was not started from the page."""
        job = self.job(run)
        if job is None or not job.running:
            advice = "press Ctrl-C where it was started" if is_locked(run) else "nothing trains it now"
            raise UserError(f"{run.name} has no process that was started from this page: {advice}")
        if not interrupt(job.pid, job.started):
            raise UserError(f"{run.name} has just ended by itself")

    def stage(self, run: Path) -> Stage:
        """Return what a run is doing now."""
        job = self.job(run)
        if job is not None and job.running:
            return Stage.TRAINING if (run / "plan.toml").is_file() else Stage.STARTING
        return Stage.ELSEWHERE if is_locked(run) else Stage.IDLE

    def job(self, run: Path) -> Job | None:
        """Return the last process started for a run; None if there is none or its file is invalid."""
        file = job_file(run)
        if not file.is_file():
            return None
        try:
            found = json.loads(read_text(file, JOB_LIMIT, within=self.folder))
            return Job(pid=int(found["pid"]), started=str(found["started"]))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None

    def starting(self) -> list[Path]:
        """Return the folders of runs whose process is running but has not made the folder yet."""
        runs = [file.with_suffix("") for file in sorted(self.folder.glob("*.job"))]
        return [run for run in runs if not run.exists() and self.stage(run) is Stage.STARTING]

    def _start(self, run: Path, words: Sequence[str]) -> None:
        log = log_file(run)
        if log.is_symlink():  # it may lead to anyone's file
            log.unlink()
        try:
            pid = start_detached(nanogpt_command(*words), log, self.folder)
        except OSError as error:
            raise UserError(f"cannot start the training: {error.strerror}") from None
        write_atomically(job_file(run), json.dumps({"pid": pid, "started": process_start(pid) or ""}).encode())

    def _reserve(self, name: str) -> Path:
        """Return the first free folder, reserved by its job file against other pages and studios."""
        number = 1
        while True:
            run = self.folder / f"{name}-{number}"
            with suppress(FileExistsError):
                if not run.exists():
                    job_file(run).touch(exist_ok=False)
                    return run
            number += 1


def job_file(run: Path) -> Path:
    """Return the file with the process of a run."""
    return run.with_name(f"{run.name}.job")


def log_file(run: Path) -> Path:
    """Return the file with the output of a run's process."""
    return run.with_name(f"{run.name}.log")


def read_tail(log: Path) -> str:
    """Return the end of a log without control characters; empty if there is none."""
    try:
        check_plain(log, within=log.parent)
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            return _CONTROL.sub("", file.read(TAIL_BYTES).decode("utf-8", "replace"))
    except (UserError, OSError):
        return ""


def last_line(output: bytes, most: int = 1000) -> str:
    """Return the last line that is not empty, in which a program says why it ended; empty if there is none."""
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return lines[-1].strip()[:most] if lines else ""


def last_lines(output: str) -> str:
    """Return the last lines that are not empty, which say why a process ended."""
    return "\n".join([line.rstrip() for line in output.splitlines() if line.strip()][-MAX_LINES:])


def is_locked(run: Path) -> bool:
    """Return whether a process trains this run; the lock is taken for an instant if it is free."""
    lock = run / ".lock"
    if not lock.is_file() or lock.is_symlink():
        return False
    from filelock import FileLock, Timeout

    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a read-only folder, in which nothing can train
        return False


def nanogpt_command(*words: str) -> list[str]:
    """Return the command line of this installation's `nanogpt`."""
    # -P: the working folder may hold anybody's modules, which must not be imported.
    return [sys.executable, "-P", "-m", "nanogpt", *words]


def child_environment(*importable: Path) -> dict[str, str]:
    """Return environment variables for a child process: it can import this package, and writes plain UTF-8."""
    paths = [str(one) for one in (*importable, source_folder())]
    paths += [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    kept = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "CLICOLOR_FORCE")}
    plain = {"NO_COLOR": "1", "TERM": "dumb", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    return kept | plain | {"PYTHONPATH": os.pathsep.join(paths)}


async def start_piped(words: Sequence[str], folder: Path, *importable: Path) -> asyncio.subprocess.Process:
    """Start a process whose output is read here."""
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    environment = child_environment(*importable)
    return await asyncio.create_subprocess_exec(
        *words, stdin=null, stdout=pipe, stderr=pipe, cwd=folder, env=environment, limit=1_000_000
    )


def source_folder() -> Path:
    """Return the folder that this package is imported from."""
    return Path(nanogpt.__file__).resolve().parent.parent


def start_detached(words: Sequence[str], log: Path, folder: Path) -> int:
    """Start a process that outlives this one, with its output appended to `log`; return its id."""
    detached: dict[str, int | bool] = {"start_new_session": True}
    if sys.platform == "win32":
        detached = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
    with log.open("ab") as output:
        process = subprocess.Popen(  # type: ignore[call-overload]
            words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder, env=child_environment(),
            **detached,
        )  # fmt: skip
    threading.Thread(target=process.wait, daemon=True).start()  # otherwise it would stay as a zombie
    return int(process.pid)


def process_start(pid: int) -> str | None:
    """Return when a running process started, as the system writes it; None if it is not running or unknown."""
    if pid <= 0 or sys.platform == "win32":
        return None
    return _start_from_proc(pid) if (PROC / "self" / "stat").exists() else _start_from_ps(pid)


def _start_from_proc(pid: int) -> str | None:
    try:
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 1 :].split()  # the name in brackets may contain blanks and brackets
    state, started = fields[0], fields[19]
    return None if state in "ZX" else f"{boot} {started}"


def _start_from_ps(pid: int) -> str | None:
    words = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    try:
        fields = subprocess.run(words, capture_output=True, text=True, timeout=PS_SECONDS, check=False).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return None if not fields or fields[0].startswith("Z") else " ".join(fields[1:])


def interrupt(pid: int, started: str) -> bool:
    """Send SIGINT to a process if it is still the one that started then; return whether it was sent."""
    try:
        if process_start(pid) == started:
            os.kill(pid, signal.SIGINT)
            return True
    except (ProcessLookupError, PermissionError):
        pass
    return False
