"""A run's checkpoints: written so that one is whole at every moment, and believed only after their hashes are compared.

    checkpoints/step-N/  model.safetensors, optimizer.safetensors, state.json, SHA256SUMS
    checkpoints/last     a text file that names a step, as does checkpoints/best
    history/             step-N.safetensors, weights alone, of steps 0, 1, 2, 4, 8 …

A checkpoint is written beside its place, hashed, flushed to the disk and renamed; `last` and `best` move only after
that. `SHA256SUMS` is what the command `sha256sum --check` reads.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from nanogpt.errors import UserError
from nanogpt.files import (
    FORMAT,
    check_format,
    check_plain,
    flush,
    flush_folder,
    read_text,
    replacing,
    typed,
    write_atomically,
)
from nanogpt.runs.weights import read_layout

KEEP = 2
"""Checkpoints kept besides the best: the last, and the one before it."""
SUMS = "SHA256SUMS"
FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a training stands, beyond its weights."""

    step: int = 0
    """updates done"""
    best_step: int | None = None
    """the step with the lowest validation loss so far"""
    best_loss: float | None = None
    """that loss, nats a token"""
    stale: int = 0
    """evaluations since then"""
    seconds: float = 0.0
    """time spent in training steps"""
    pending: tuple[float, ...] = ()
    """training losses of the newest steps, which no line of metrics has yet"""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint whose hashes were compared."""

    path: Path
    state: State
    notes: tuple[str, ...] = ()
    """what was found damaged on the way to it"""

    @property
    def model(self) -> Path:
        """The file of its weights."""
        return self.path / "model.safetensors"

    @property
    def optimizer(self) -> Path:
        """The file of its optimizer's state."""
        return self.path / "optimizer.safetensors"


class Checkpoints:
    """The checkpoints of the run in a folder."""

    def __init__(self, run: Path) -> None:
        self.run, self.path, self.history_path = run, run / "checkpoints", run / "history"

    def steps(self) -> list[int]:
        """The steps that have a folder here, in their order."""
        return sorted(int(f.name[5:]) for f in self.path.glob("step-*") if _is_step(f.name) and f.is_dir())

    def pointer(self, which: str) -> int | None:
        """The step that `last` or `best` names; None where the file is missing or names nothing here."""
        file = self.path / which
        if not file.exists():
            return None
        name = read_text(file, within=self.run).strip()
        # The name is data: only a step below this folder will do, whatever the file says.
        return int(name[5:]) if _is_step(name) and (self.path / name).is_dir() else None

    def find(self, which: str = "last") -> Checkpoint | None:
        """The checkpoint that `last` or `best` names, or where that is damaged the newest one that is whole.

        None where there is none yet; UserError where all that are here are damaged.
        """
        notes: list[str] = []
        for step in self._candidates(which):
            path = self.path / f"step-{step}"
            problem = damage(path, self.run)
            if problem is None:
                used = (f"the checkpoint of step {step} is used instead",) if notes else ()
                return Checkpoint(path=path, state=read_state(path), notes=(*notes, *used))
            notes.append(problem)
        if notes:
            raise UserError(f"no checkpoint here is whole: {'; '.join(notes)}; restore the run from a copy")
        return None

    def _candidates(self, which: str) -> Iterator[int]:
        named = self.pointer(which)
        if named is not None:
            yield named
        yield from (step for step in reversed(self.steps()) if step != named)

    def save(self, state: State, model: dict[str, Tensor], optimizer: dict[str, Tensor]) -> Path:
        """Write `step-N`, then point `last`, and `best` where this is it, to it; drop old ones.

        Raises UserError where the system refuses a write; what was here before is then still here.
        """
        name = f"step-{state.step}"
        if not self.run.is_dir():
            raise UserError(
                f"the run's folder {str(self.run)!r} is gone, moved or deleted while it was training: put it back, "
                f"then go on with: nanogpt train --resume {typed(self.run)}"
            )
        try:
            self.path.mkdir(exist_ok=True)
            self._write(self.path / name, state, {"model": model, "optimizer": optimizer})
            write_atomically(self.path / "last", f"{name}\n".encode())
            self.point_to_best(state)
        except (OSError, SafetensorError) as error:
            raise cannot_save(f"the checkpoint of step {state.step}", self.run, error) from None
        self._drop_old(state)
        return self.path / name

    def _write(self, place: Path, state: State, tensors: dict[str, dict[str, Tensor]]) -> None:
        beside = place.with_name(f".{place.name}.{os.getpid()}")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        try:
            for name, named in tensors.items():
                save_file(named, beside / f"{name}.safetensors")
            (beside / "state.json").write_text(json.dumps({"format": FORMAT, **asdict(state)}) + "\n", encoding="utf-8")
            sums = "".join(f"{sha256(beside / name)}  {name}\n" for name in FILES)
            (beside / SUMS).write_text(sums, encoding="utf-8")
            for file in beside.iterdir():
                flush(file)
            flush_folder(beside)
            # Left by a run that was killed between this rename and the pointer's, or that went back to an older one.
            shutil.rmtree(place, ignore_errors=True)
            beside.replace(place)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        flush_folder(place.parent)

    def point_to_best(self, state: State) -> None:
        """Make `best` name the best step by the state, also where a kill came between the two pointers' moves."""
        best = self.path / f"step-{state.best_step}"
        if best.is_dir():
            write_atomically(best.parent / "best", f"{best.name}\n".encode())

    def _drop_old(self, state: State) -> None:
        kept = [step for step in self.steps() if step <= state.step][-KEEP:]
        for step in self.steps():
            if step not in kept and step != state.best_step:
                shutil.rmtree(self.path / f"step-{step}", ignore_errors=True)

    def save_history(self, step: int, model: dict[str, Tensor]) -> None:
        """Keep a step's weights for looking back."""
        try:
            self.history_path.mkdir(exist_ok=True)
            with replacing(self.history_path / f"step-{step}.safetensors") as beside:
                save_file(model, beside)
        except (OSError, SafetensorError) as error:
            raise cannot_save(f"the weights of step {step} for the history", self.run, error) from None

    def history(self) -> dict[int, Path]:
        """Step to the file of its weights, in the order of the steps; checkpoints among them."""
        files = {int(f.stem[5:]): f for f in self.history_path.glob("step-*.safetensors") if _is_step(f.stem)}
        files |= {step: self.path / f"step-{step}" / "model.safetensors" for step in self.steps()}
        return dict(sorted(files.items()))

    def clear_leftovers(self) -> None:
        """Remove what a killed process left half-written."""
        for folder in (self.path, self.history_path):
            for half_written in folder.glob(".*.*[0-9]"):
                if half_written.is_dir() and not half_written.is_symlink():
                    shutil.rmtree(half_written)
                else:
                    half_written.unlink()


def is_in_history(step: int) -> bool:
    """Whether a step's weights are kept for looking back: 0, and the powers of two.

    >>> [step for step in range(20) if is_in_history(step)]
    [0, 1, 2, 4, 8, 16]
    """
    return step & (step - 1) == 0


def damage(checkpoint: Path, run: Path) -> str | None:
    """What is wrong with a checkpoint, by its hashes; None where it is whole."""
    try:
        lines = (line.split() for line in read_text(checkpoint / SUMS, within=run).splitlines())
        expected = {words[1]: words[0] for words in lines if len(words) == 2}
        for name in FILES:
            check_plain(checkpoint / name, within=run)
            # Before the hash, which reads a file to its end however far that is.
            if name == "state.json":
                read_text(checkpoint / name)
            else:
                read_layout(checkpoint / name)
            found = sha256(checkpoint / name)
            if found != expected.get(name):
                return (
                    f"{checkpoint / name} is damaged: its SHA-256 is {found[:12]}…, and {SUMS} says "
                    f"{expected.get(name, 'nothing')[:12]}…"
                )
    except UserError as error:
        return str(error)
    except OSError as error:
        return f"cannot read {checkpoint}: {error.strerror}"
    return None


def sha256(path: Path) -> str:
    """The hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_state(checkpoint: Path) -> State:
    """Where the training stood at a checkpoint."""
    where = checkpoint / "state.json"
    try:
        tables = json.loads(read_text(where))
        check_format(tables, str(where))
        state = State(
            **{field.name: tables[field.name] for field in fields(State)} | {"pending": tuple(tables["pending"])}
        )
        numbers = (state.step, state.stale, state.seconds, *state.pending)
        known = [number for number in (*numbers, state.best_step, state.best_loss) if number is not None]
        if not all(isinstance(number, int | float) for number in known) or None in numbers:
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{where} is damaged: restore it, or delete {checkpoint.name} and its name in 'last'") from None
    return state


def cannot_save(what: str, run: Path, error: Exception) -> UserError:
    """What to tell where the system refuses a write."""
    reason = getattr(error, "strerror", None) or str(error)
    mend = "Free some space" if "space" in reason else "Mend that"
    return UserError(
        f"cannot write {what} in {str(run)!r}: {reason}; what was saved before is whole. {mend}, then go on with: "
        f"nanogpt train --resume {typed(run)}"
    )


def _is_step(name: str) -> bool:
    return name.startswith("step-") and name[5:].isascii() and name[5:].isdecimal() and len(name) < 25
