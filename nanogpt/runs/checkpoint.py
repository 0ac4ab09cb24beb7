"""A run's checkpoints: one is whole at every moment, and none is trusted before its hashes are compared.

    checkpoints/step-N/  model.safetensors, optimizer.safetensors, state.json, SHA256SUMS
    checkpoints/last     a text file that names a step, as does checkpoints/best

A checkpoint is written next to its final path, hashed, flushed to disk and renamed; only then do `last` and `best`
move. `sha256sum --check SHA256SUMS` checks it too.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from nanogpt.config import check_types, with_tuples
from nanogpt.errors import UserError, reported_write
from nanogpt.files import FORMAT, atomic_path, check_format, check_plain, delete, read_text, write_atomically
from nanogpt.runs.weights import read_layout

KEEP = 2
"""Checkpoints kept besides the best: the last one and the one before."""
SUMS = "SHA256SUMS"
FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


@dataclass(frozen=True, kw_only=True)
class State:
    """The state of a training besides its weights."""

    step: int = 0
    """updates done"""
    best_step: int | None = None
    """step with the lowest validation loss so far"""
    best_loss: float | None = None
    """that loss, nats per token"""
    stale: int = 0
    """evaluations since then"""
    seconds: float = 0.0
    """time spent in training steps"""
    pending: tuple[float, ...] = ()
    """training losses of the newest steps, not yet in the metrics"""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint whose hashes match."""

    path: Path
    state: State
    notes: tuple[str, ...] = ()
    """damaged checkpoints that were skipped"""


class Checkpoints:
    """The checkpoints in a run folder."""

    def __init__(self, run: Path) -> None:
        self.run, self.path, self.history_path = run, run / "checkpoints", run / "history"

    def steps(self) -> list[int]:
        """Return the steps that have a checkpoint, in order."""
        return list(_by_step(path for path in self.path.glob("step-*") if path.is_dir()))

    def pointer(self, which: str) -> int | None:
        """Return the step that `last` or `best` names; None where the file is missing or names nothing here."""
        file = self.path / which
        name = read_text(file, within=self.run).strip() if file.exists() else None
        # The file may say anything: only a step in this folder counts.
        return next((step for step in self.steps() if name == f"step-{step}"), None)

    def find(self, which: str = "last") -> Checkpoint | None:
        """Return the checkpoint that `last` or `best` names, or if it is damaged the newest whole one.

        None where there is none yet; UserError where all are damaged.
        """
        named, notes = self.pointer(which), list[str]()
        for step in sorted(self.steps(), key=lambda step: (step == named, step), reverse=True):
            path = self.path / f"step-{step}"
            problem = damage(path, self.run)
            if problem is None:
                used = (f"the checkpoint of step {step} is used instead",) if notes else ()
                return Checkpoint(path=path, state=read_state(path), notes=(*notes, *used))
            notes.append(problem)
        if notes:
            raise UserError(f"no checkpoint here is whole: {'; '.join(notes)}; restore the run from a copy")
        return None

    def save(self, state: State, model: dict[str, Tensor], optimizer: dict[str, Tensor]) -> Path:
        """Write `step-N`, let `last` (and `best`, if it is) point to it, and delete old checkpoints.

        Raises UserError where the system refuses a write; all that was saved before is still whole.
        """
        path = self.path / f"step-{state.step}"
        with reported_write(f"the checkpoint of step {state.step}", self.run):
            self.path.mkdir(exist_ok=True)
            with atomic_path(path) as temporary:
                temporary.mkdir()
                save_file(model, temporary / "model.safetensors")
                save_file(optimizer, temporary / "optimizer.safetensors")
                (temporary / "state.json").write_text(json.dumps({"format": FORMAT, **asdict(state)}) + "\n", "utf-8")
                sums = "".join(f"{sha256(temporary / name)}  {name}\n" for name in FILES)
                (temporary / SUMS).write_text(sums, "utf-8")
            write_atomically(self.path / "last", f"{path.name}\n".encode())
            self.point_to_best(state)
        kept = [step for step in self.steps() if step <= state.step][-KEEP:]
        delete(*(self.path / f"step-{step}" for step in self.steps() if step not in (*kept, state.best_step)))
        return path

    def point_to_best(self, state: State) -> None:
        """Let `best` name the state's best step, also after a kill between the moves of the two pointers."""
        best = self.path / f"step-{state.best_step}"
        if best.is_dir():
            write_atomically(best.parent / "best", f"{best.name}\n".encode())

    def save_history(self, step: int, model: dict[str, Tensor]) -> None:
        """Write a step's weights to the history."""
        with reported_write(f"the weights of step {step} for the history", self.run):
            self.history_path.mkdir(exist_ok=True)
            with atomic_path(self.history_path / f"step-{step}.safetensors") as temporary:
                save_file(model, temporary)

    def history(self) -> dict[int, Path]:
        """Return the weight files by step, in order, those of checkpoints included."""
        files = _by_step(self.history_path.glob("step-*.safetensors"))
        files |= {step: self.path / f"step-{step}" / "model.safetensors" for step in self.steps()}
        return dict(sorted(files.items()))


def damage(checkpoint: Path, run: Path) -> str | None:
    """Return what is wrong with a checkpoint, by its hashes; None where it is whole."""
    try:
        sums = read_text(checkpoint / SUMS, within=run)
        expected = {name: found for found, name in re.findall(r"^(\S+)  (\S+)$", sums, re.MULTILINE)}
        for name in FILES:
            found = checked_hash(checkpoint / name, within=run)
            if found != expected.get(name):
                wanted = expected.get(name, "nothing")[:12]
                return f"{checkpoint / name} is damaged: its SHA-256 is {found[:12]}…, and {SUMS} says {wanted}…"
    except UserError as error:
        return str(error)
    except OSError as error:
        return f"cannot read {checkpoint}: {error.strerror}"
    return None


def checked_hash(path: Path, within: Path) -> str:
    """Return the hash of a plain file in a folder; first check its length, because hashing reads it to its end."""
    check_plain(path, within)
    (read_text if path.suffix == ".json" else read_layout)(path)
    return sha256(path)


def sha256(path: Path) -> str:
    """Return the hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(checkpoint: Path) -> State:
    """Read a checkpoint's `state.json`."""
    path = checkpoint / "state.json"
    text = read_text(path)
    try:
        tables = json.loads(text)
        state = State(**with_tuples({one.name: tables[one.name] for one in fields(State)}))
        check_types(state)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(f"{path} is damaged: restore it, or delete {checkpoint.name} and its name in 'last'") from None
    check_format(tables, str(path))
    return state


def _by_step(paths: Iterable[Path]) -> dict[int, Path]:
    """Return the paths that are named for a step, in order."""
    names = ((re.fullmatch(r"step-([0-9]{1,19})(\.safetensors)?", path.name), path) for path in paths)
    return dict(sorted((int(name[1]), path) for name, path in names if name))
