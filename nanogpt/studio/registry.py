"""The runs that the studio may open: those in one folder and the starter. A few models are kept in memory."""

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from nanogpt.errors import UserError, nearest
from nanogpt.runs.checkpoint import sha256
from nanogpt.runs.find import STARTER, STARTER_FOLDER, is_starter, list_runs, starter_note
from nanogpt.runs.folder import RUNS, RunFolder
from nanogpt.runs.run import Run, load

CACHE_BYTES = 2_000_000_000
"""Limit on the weights of all cached models together; the newest is kept in any case."""
HASH_DIGITS = 12

FileStamp = tuple[str, int, int]
"""A weights file: path, size, time of change. A new training in the same folder has another stamp."""


@dataclass(eq=False)
class LoadedModel:
    """A cached model."""

    run: Run
    hash: str
    size: int
    """bytes"""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """held while the model is used"""


class RunRegistry:
    """The runs in a folder, or the one run that the folder is. Thread-safe."""

    def __init__(self, folder: Path = RUNS, device: str = "auto", cache_bytes: int = CACHE_BYTES) -> None:
        self.folder = Path(folder).resolve()
        self._device, self._cache_bytes = device, cache_bytes
        self._cache: OrderedDict[FileStamp, LoadedModel] = OrderedDict()
        self._busy, self._loading = threading.Lock(), threading.Lock()
        """`_busy` is held for an instant, to use the cache; `_loading` while a model is read, which may take long"""

    def runs(self) -> list[RunFolder]:
        """Return the runs that may be opened, the last trained at the end; links out of the folder are left out."""
        if self.is_run:
            return [RunFolder(self.folder)]
        # A folder's name that is not valid UTF-8 cannot be sent to a browser.
        found = [one for one in list_runs(self.folder) if not re.search("[\ud800-\udfff]", str(one.path))]
        return [one for one in found if one.path.resolve().is_relative_to(self.folder)]

    @property
    def is_run(self) -> bool:
        """Whether the folder is itself a run."""
        return (self.folder / "plan.toml").is_file()

    def names(self) -> list[str]:
        """Return the names of `runs`, in the same order."""
        return [self.name_of(one) for one in self.runs()]

    def models(self) -> list[str]:
        """Return the names of the models to write with, the newest last: the runs, or the starter without any."""
        return self.names() or [STARTER]

    def notes_of(self, name: str) -> list[str]:
        """Return notes to show next to a model: that it is the starter, if it is."""
        return [starter_note(self.folder)] if name == STARTER and STARTER not in self.names() else []

    def name_of(self, run: Run | RunFolder) -> str:
        """Return a run's path in the folder, with slashes on every system; the folder's own name if it is the run."""
        path = run.path
        if is_starter(RunFolder(path)):
            return STARTER
        return path.name if path.resolve() == self.folder else path.relative_to(self.folder).as_posix()

    def open(self, name: str, checkpoint: str | int = "best") -> Run:
        """Load a run, or return the cached one if its file is unchanged. Raises UserError for what cannot be loaded."""
        folder = self.folder_of(name)
        if (found := self._cached(folder, checkpoint)) is not None:
            return found
        with self._loading:
            found = self._cached(folder, checkpoint)  # another thread may have loaded it meanwhile
            return found or self._add(load(folder.path, checkpoint=checkpoint, device=self._device)).run

    def expected_path(self, name: str) -> Path:
        """Return the folder of a run that may not exist yet; the name comes from `names` or from a new job."""
        return self.folder if self.is_run else self.folder / name

    def hash_of(self, run: Run) -> str:
        """Return the first digits of the SHA-256 of a run's weights file, as `sha256sum` prints it."""
        return self._entry(run).hash

    def lock_of(self, run: Run) -> threading.Lock:
        """Return the lock to hold while using a run's model, so that one task at a time takes the cores."""
        return self._entry(run).lock

    def find(self, hash: str) -> tuple[str, int] | None:
        """Return the name and step of the checkpoint with these weights, or None."""
        for folder in reversed(self.runs()):
            for step in folder.checkpoints.steps():
                file = folder.checkpoints.path / f"step-{step}" / "SHA256SUMS"
                if hash and file.is_file() and _listed_hash(file).startswith(hash):
                    return self.name_of(folder), step
        return None

    def folder_of(self, name: str) -> RunFolder:
        """Return the folder of a run. Raises UserError for a name that is not in `names` (or the starter)."""
        found = {self.name_of(one): one for one in self.runs()}
        if name == STARTER and name not in found:
            return RunFolder(STARTER_FOLDER)
        if name not in found:
            advice = nearest(name, found) if found else "there is none yet: train one with `nanogpt train`"
            raise UserError(f"no run {name!r} in {str(self.folder)!r}; {advice}")
        return found[name]

    def _cached(self, folder: RunFolder, checkpoint: str | int) -> Run | None:
        stamp = _stamp_of(folder, checkpoint)
        with self._busy:
            if stamp is None or stamp not in self._cache:
                return None
            self._cache.move_to_end(stamp)
            return self._cache[stamp].run

    def _add(self, run: Run) -> LoadedModel:
        stamp = _stamp_of(run.folder, run.step)
        assert stamp is not None
        size = sum(p.numel() * p.element_size() for p in run.model.parameters())
        one = LoadedModel(run, sha256(Path(stamp[0]))[:HASH_DIGITS], size)
        with self._busy:
            self._cache[stamp] = one
            while len(self._cache) > 1 and sum(kept.size for kept in self._cache.values()) > self._cache_bytes:
                self._cache.popitem(last=False)
        return one

    def _entry(self, run: Run) -> LoadedModel:
        with self._busy:
            found = next((one for one in self._cache.values() if one.run is run), None)
        return found or self._add(run)


def _stamp_of(folder: RunFolder, checkpoint: str | int) -> FileStamp | None:
    """Return the stamp of a checkpoint's file without reading it; None leaves the error message to `load`."""
    named = str(checkpoint).removeprefix("step-")
    step = folder.checkpoints.pointer(named) if named in ("best", "last") else int(named) if named.isdecimal() else None
    file = None if step is None else folder.checkpoints.history().get(step)
    if file is None:
        return None
    found = file.stat()
    return str(file), found.st_size, found.st_mtime_ns


def _listed_hash(file: Path) -> str:
    """Return the hash that SHA256SUMS lists for the weights; `load` compares it with the file."""
    with file.open("rb") as lines:
        words = (line.split() for line in lines.read(10_000).decode(errors="replace").splitlines())
    return next((word[0] for word in words if len(word) == 2 and word[1] == "model.safetensors"), "")
