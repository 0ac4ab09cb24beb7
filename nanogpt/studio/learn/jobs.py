"""Trainings that were started from the page, each a process of its own that runs the command line.

Closing the page or the server ends none of them. Beside a run NAME lie

    NAME.job    id and start of the process, as JSON
    NAME.log    what it said, of all its beginnings

and by these, and by the lock that a training holds on its folder, a new server finds what the old one began.
"""

import json
import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from nanogpt.errors import UserError
from nanogpt.files import read_text, write_atomically
from nanogpt.studio.learn.processes import command, identity, interrupt, start_detached

JOB_LIMIT = 10_000
LONGEST_NAME = 80
_RESUMING = threading.Lock()
"""Two pages may ask for the same at the same time: the second has to find what the first began."""


class Stage(Enum):
    """What a run is doing."""

    STARTING = "starting"
    """its process reads the text and measures the machine; it has no folder yet"""
    TRAINING = "training"
    ELSEWHERE = "training elsewhere"
    """by a process that was not started from the page, and is not ours to stop"""
    RESTING = "resting"
    """nobody trains it: it is done, was stopped, or failed"""


@dataclass(frozen=True)
class Job:
    """A process that was started for a run."""

    pid: int
    started: str

    @property
    def running(self) -> bool:
        """Whether this very process is there still."""
        return bool(self.started) and identity(self.pid) == self.started


class Jobs:
    """The trainings below a folder. Keeps nothing in memory: what is here is what the files and the system say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, text: str, minutes: float, name: str) -> Path:
        """Begin to train on a text, a path or a corpus' name, for so many minutes. Returns the folder of the run to be.

        The run is called `name` with the first number that is free. Raises UserError for a name that is none.
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) or len(name) > LONGEST_NAME:
            raise UserError(f"{name!r} is no name for a run: take small letters, digits and hyphens")
        self.folder.mkdir(parents=True, exist_ok=True)
        run = self._take(name)
        words = ("train", text, "--minutes", f"{minutes:g}", "--out", str(run))
        try:
            self._begin(run, words, anew=True)
        except UserError:
            job_file(run).unlink()
            raise
        return run

    def resume(self, run: Path) -> None:
        """Go on with a run that rests. Raises UserError where something trains it."""
        with _RESUMING:
            if self.stage(run) is not Stage.RESTING:
                raise UserError(f"{run.name} is being trained already")
            self._begin(run, ("train", "--resume", str(run)))

    def stop(self, run: Path) -> None:
        """Ask a run's process to save and end, as Ctrl-C does. Raises UserError where it is not ours to ask."""
        job = self.job(run)
        if job is None or not job.running:
            advice = "press Ctrl-C where it was started" if is_locked(run) else "nothing trains it now"
            raise UserError(f"{run.name} has no process that was started from this page: {advice}")
        if not interrupt(job.pid, job.started):
            raise UserError(f"{run.name} has just ended by itself")

    def stage(self, run: Path) -> Stage:
        """What a run is doing now."""
        job = self.job(run)
        if job is not None and job.running:
            return Stage.TRAINING if (run / "plan.toml").is_file() else Stage.STARTING
        return Stage.ELSEWHERE if is_locked(run) else Stage.RESTING

    def job(self, run: Path) -> Job | None:
        """The process that was started for a run last; None where there is none, or its file makes no sense."""
        file = job_file(run)
        if not file.is_file():
            return None
        try:
            found = json.loads(read_text(file, JOB_LIMIT, within=self.folder))
            return Job(pid=int(found["pid"]), started=str(found["started"]))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None

    def beginning(self) -> list[Path]:
        """The folders of runs to be whose process is at work and has not made them yet."""
        runs = [file.with_suffix("") for file in sorted(self.folder.glob("*.job"))]
        return [run for run in runs if not run.exists() and self.stage(run) is Stage.STARTING]

    def _begin(self, run: Path, words: Sequence[str], anew: bool = False) -> None:
        log = log_file(run)
        if anew or log.is_symlink():  # a link may lead to anybody's file
            log.unlink(missing_ok=True)
        try:
            pid = start_detached(command(*words), log, self.folder)
        except OSError as error:
            raise UserError(f"cannot start the training: {error.strerror}") from None
        write_atomically(job_file(run), json.dumps({"pid": pid, "started": identity(pid) or ""}).encode())

    def _take(self, name: str) -> Path:
        """The first folder that is free. Its job file is made here, so that no other page or studio takes it, too."""
        number = 1
        while True:
            run = self.folder / f"{name}-{number}"
            with suppress(FileExistsError):
                if not run.exists():
                    job_file(run).touch(exist_ok=False)
                    return run
            number += 1


def job_file(run: Path) -> Path:
    """Where the process of a run is written down."""
    return run.with_name(f"{run.name}.job")


def log_file(run: Path) -> Path:
    """Where a run's process says what it does."""
    return run.with_name(f"{run.name}.log")


def is_locked(run: Path) -> bool:
    """Whether a process trains this run. Held for an instant only where nobody holds it."""
    lock = run / ".lock"
    if not lock.is_file() or lock.is_symlink():
        return False
    from filelock import FileLock, Timeout

    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that may only be read: nobody trains there
        return False
