"""The runs that the studio may open: those below one folder, the starter, and no other. A few opened models are kept.

What is opened is data: a run's weights and settings are read by `nanogpt.load`, which executes nothing of them.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from nanogpt.errors import UserError, nearest
from nanogpt.runs.checkpoint import sha256
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.run import RUNS, Run, list_runs, load
from nanogpt.runs.starter import PLACE, STARTER, is_starter, told_instead

ROOM_BYTES = 2_000_000_000
"""How much the weights of the models that are kept opened may take together; the newest is kept in any case."""
HASH_DIGITS = 12

Place = tuple[str, int, int]
"""A file of weights: its path, size and time of change. Another training in the same folder is another place."""


@dataclass(eq=False)
class Opened:
    """A model that is kept, and what belongs to it."""

    run: Run
    hash: str
    size: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    """held by whoever works with the model"""


class Shelf:
    """The runs below a folder, or the one run that the folder is. May be used from several threads."""

    def __init__(self, folder: Path = RUNS, device: str = "auto", room_bytes: int = ROOM_BYTES) -> None:
        self.folder = Path(folder).resolve()
        self._device, self._room_bytes = device, room_bytes
        self._opened: OrderedDict[Place, Opened] = OrderedDict()
        self._busy, self._reading = threading.Lock(), threading.Lock()
        """held for a moment, by whoever looks at what is kept; held while a model is read, which may take long"""

    def runs(self) -> list[RunFolder]:
        """The runs that may be opened, the one trained last at the end. One that is a link out of the folder is not."""
        if self.is_run:
            return [RunFolder(self.folder)]
        found = [one for one in list_runs(self.folder) if one.path.resolve().is_relative_to(self.folder)]
        return [one for one in found if _is_text(self.name_of(one))]

    @property
    def is_run(self) -> bool:
        """Whether the folder is itself a run."""
        return (self.folder / "plan.toml").is_file()

    def names(self) -> list[str]:
        """What `open` takes beside the starter's name, in the order of `runs`."""
        return [self.name_of(one) for one in self.runs()]

    def models(self) -> list[str]:
        """What there is to write with, the newest last: `names`, or while there is none the starter."""
        return self.names() or [STARTER]

    def notes_of(self, name: str) -> list[str]:
        """What to tell beside a model: whether it is the starter, for want of another."""
        return [told_instead(self.folder)] if name == STARTER and STARTER not in self.names() else []

    def name_of(self, run: Run | RunFolder) -> str:
        """A run's path below the folder, with slashes on every system; of the folder itself its own name."""
        path = run.path
        if is_starter(path):
            return STARTER
        return path.name if path.resolve() == self.folder else path.relative_to(self.folder).as_posix()

    def open(self, name: str, checkpoint: str | int = "best") -> Run:
        """The run of a name, ready to be used: the same object while it is kept and its file is as it was.

        Raises UserError for a name that is none of `names`, whatever may stand at that path, and for what
        `nanogpt.load` refuses.
        """
        folder = self._folder_of(name)
        if (found := self._kept(folder, checkpoint)) is not None:
            return found
        with self._reading:
            # Whoever waited finds what the one before has read.
            found = self._kept(folder, checkpoint)
            return found or self._keep(load(folder.path, checkpoint=checkpoint, device=self._device)).run

    def path_of(self, name: str) -> Path:
        """The folder of a run by its name. Raises UserError as `open` for a name that is none."""
        return self._folder_of(name).path

    def hash_of(self, run: Run) -> str:
        """The first digits of the SHA-256 of the file of a run's weights, as `sha256sum` prints it."""
        return self._entry(run).hash

    def lock_of(self, run: Run) -> threading.Lock:
        """To be held while working with a run's model: one piece of work at a time, so that none takes all cores."""
        return self._entry(run).lock

    def find(self, hash: str) -> tuple[str, int] | None:
        """Name and step of the weights with this hash among the checkpoints here; None where they are not."""
        for folder in reversed(self.runs()):
            for step in folder.checkpoints.steps():
                file = folder.checkpoints.path / f"step-{step}" / "SHA256SUMS"
                if hash and file.is_file() and _model_sum(file).startswith(hash):
                    return self.name_of(folder), step
        return None

    def _folder_of(self, name: str) -> RunFolder:
        found = {self.name_of(one): one for one in self.runs()}
        if name == STARTER and name not in found:
            return RunFolder(PLACE)
        if name not in found:
            told = nearest(name, found) if found else "there is none yet: train one with `nanogpt train`"
            raise UserError(f"no run {name!r} below {str(self.folder)!r}; {told}")
        return found[name]

    def _kept(self, folder: RunFolder, checkpoint: str | int) -> Run | None:
        place = _place(folder, checkpoint)
        with self._busy:
            if place is None or place not in self._opened:
                return None
            self._opened.move_to_end(place)
            return self._opened[place].run

    def _keep(self, run: Run) -> Opened:
        file = run.folder.checkpoints.history()[run.step]
        size = sum(p.numel() * p.element_size() for p in run.model.parameters())
        one = Opened(run, sha256(file)[:HASH_DIGITS], size)
        with self._busy:
            self._opened[_stamp(file)] = one
            while len(self._opened) > 1 and sum(kept.size for kept in self._opened.values()) > self._room_bytes:
                self._opened.popitem(last=False)
        return one

    def _entry(self, run: Run) -> Opened:
        with self._busy:
            found = next((one for one in self._opened.values() if one.run is run), None)
        return found or self._keep(run)


def _place(folder: RunFolder, checkpoint: str | int) -> Place | None:
    """The file that is meant, where that can be told without reading it; a damaged one is `load`'s to judge."""
    named = str(checkpoint).removeprefix("step-")
    step = folder.checkpoints.pointer(named) if named in ("best", "last") else int(named) if named.isdecimal() else None
    file = None if step is None else folder.checkpoints.history().get(step)
    return None if file is None else _stamp(file)


def _is_text(name: str) -> bool:
    """Whether a name can be sent to a browser: a folder may be called by bytes that are no UTF-8."""
    return not any("\ud800" <= one <= "\udfff" for one in name)


def _stamp(file: Path) -> Place:
    found = file.stat()
    return str(file), found.st_size, found.st_mtime_ns


def _model_sum(file: Path) -> str:
    """The hash that a checkpoint's list gives for its weights. Only to find it: `load` compares it with the file."""
    with file.open("rb") as lines:
        words = (line.split() for line in lines.read(10_000).decode(errors="replace").splitlines())
    return next((word[0] for word in words if len(word) == 2 and word[1] == "model.safetensors"), "")
