"""What a training keeps in its run's folder. Of several processes the first one writes, and the others are told.

When something is kept, and what is made of it, is for `nanogpt.training.trainer` to say.
"""

import contextlib
from collections.abc import Iterator

from nanogpt.errors import UserError
from nanogpt.files import typed
from nanogpt.model.gpt import GPT
from nanogpt.optim.optimizer import Optimizer
from nanogpt.parallel.world import World
from nanogpt.runs.checkpoint import Checkpoint, State, read_state
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.plan import Plan
from nanogpt.runs.weights import model_tensors, optimizer_tensors


class Keeper:
    """A run's folder as a training uses it."""

    def __init__(self, folder: RunFolder, world: World) -> None:
        self.folder, self.world = folder, world

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only training of this run, all its processes together. Raises UserError where another one is."""
        with contextlib.ExitStack() as held:
            self.world.lead(lambda: held.enter_context(self.folder.locked()))
            yield

    def pointer(self, which: str) -> int | None:
        """The step that `last` or `best` names, the same for all processes."""
        return self.world.lead(lambda: self.folder.checkpoints.pointer(which))

    def check_unchanged(self, plan: Plan, last: int | None) -> None:
        """Raise UserError where another process trained the run after its plan, and the step of `last`, were read.

        They are read before the run is locked; to go on with what is no longer true would undo what the other has done.
        """

        def compare() -> None:
            if (self.folder.read_plan(), self.folder.checkpoints.pointer("last")) != (plan, last):
                path = self.folder.path
                raise UserError(
                    f"the run {str(path)!r} changed while it was opened, by another process that trained it: try again "
                    f"with --resume {typed(path)}"
                )

        self.world.lead(compare)

    def find(self, which: str) -> Checkpoint | None:
        """The checkpoint `last` or `best`, or the newest whole one: the same for all processes."""

        def look() -> tuple[str, list[str]] | None:
            found = self.folder.checkpoints.find(which)
            return None if found is None else (found.path.name, list(found.notes))

        found = self.world.lead(look)
        if found is None:
            return None
        path = self.folder.checkpoints.path / found[0]
        return Checkpoint(path=path, state=read_state(path), notes=tuple(found[1]))

    def settle(self, state: State | None) -> None:
        """Bring the folder to where a training was restored to; None where that is its beginning."""

        def settle() -> None:
            if state is not None:
                self.folder.checkpoints.point_to_best(state)
            self.folder.cut_metrics(-1 if state is None else state.step)

        self.world.lead(settle)

    def save(self, state: State, model: GPT, optimizer: Optimizer) -> str:
        """Write a checkpoint; returns its path."""
        weights = model_tensors(model, keep=self.world.main)
        of_optimizer = optimizer_tensors(model, optimizer, keep=self.world.main)
        return self.world.lead(lambda: str(self.folder.checkpoints.save(state, weights, of_optimizer)))

    def save_history(self, step: int, model: GPT) -> None:
        """Keep the weights of a step, for looking back."""
        weights = model_tensors(model, keep=self.world.main)
        self.world.lead(lambda: self.folder.checkpoints.save_history(step, weights))

    def write_plan(self, plan: Plan) -> None:
        """Keep a changed plan. Called before it is acted on: a run that is killed then goes on by the same plan."""
        self.world.lead(lambda: self.folder.write_plan(plan))

    def log(self, event: str, state: State, **values: object) -> None:
        """Add a line to the metrics."""
        line = {"event": event, "step": state.step, **values, "seconds": round(state.seconds, 3)}
        if self.world.main:
            self.folder.append_metrics(line)
