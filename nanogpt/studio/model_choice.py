"""The fields that choose a model: a run, and one of its checkpoints."""

import asyncio
from collections.abc import Callable
from typing import Any

from nanogpt.errors import UserError
from nanogpt.runs.run import Run
from nanogpt.studio.elements import Tag, select
from nanogpt.studio.registry import RunRegistry

NONE = ""
BEST = "best"


class ModelChoice:
    """Two select fields. `changed` is called when a person chose another model."""

    def __init__(self, registry: RunRegistry, label: str, changed: Callable[[], Any], optional: bool = False) -> None:
        self._registry, self._optional, self._changed = registry, optional, changed
        names = list(reversed(registry.models()))  # the newest first
        self._names = {NONE: "no other model"} if optional else {}
        self._names |= {one: one for one in names}
        self.name = NONE if optional else (names[0] if names else NONE)
        self.hash = ""
        self.same = True
        """whether it has the weights that the address means"""
        self.notes: list[str] = registry.notes_of(self.name)
        self._wanted, self._step = "", BEST
        with Tag("div", "model"):
            self._name_field = select(label, self._names, self.name, self._choose_name)
            self._step_field = select("Checkpoint", {BEST: "the best"}, BEST, self._choose_step)
        self._offer_steps()

    @property
    def step(self) -> int | None:
        """Step of the checkpoint; None for the best."""
        return None if self._step == BEST else int(self._step)

    @property
    def title(self) -> str:
        """Name of the run, with the step unless it is the best."""
        return self.name if self._step == BEST else f"{self.name}, step {int(self._step):,}"

    def put(self, name: str, step: int | None, hash: str) -> None:
        """Choose what an address names; if it is missing, the same weights under another name."""
        self._wanted = hash
        if name in self._names:
            self.name, self._step = name, BEST if step is None else str(step)
        elif hash and (found := self._registry.find(hash)) is not None:
            self.name, self._step = found[0], str(found[1])
        elif name:
            self.same = False
            instead = f"; this is {self.name}" if self.name else ""
            self.notes = [f"The address means the run {name!r}, which is not here{instead}."]
        self._name_field.put(self.name)
        self._offer_steps()

    async def open(self) -> Run | None:
        """Load the chosen model, or the one chosen while it loads; return None if none is chosen. Raises UserError."""
        wanted = run = None
        while self.name and wanted != (self.name, self.step):
            wanted = (self.name, self.step)
            run = await asyncio.to_thread(self._registry.open, self.name, BEST if self.step is None else self.step)
        if run is None or not self.name:
            if self._optional:
                return None
            raise UserError(f"there is no run in {str(self._registry.folder)!r}: train one under “Watch it learn”")
        self.hash = self._registry.hash_of(run)
        if self._wanted and self._wanted != self.hash and self.same:
            self.same = False
            self.notes = [
                f"The address means other weights of {self.name} ({self._wanted}); these are {self.hash}, and may "
                f"give another text."
            ]
        self._wanted = ""
        return run

    def _choose_name(self, name: str) -> Any:
        self.name, self._step, self.notes, self.same = name, BEST, self._registry.notes_of(name), True
        self._offer_steps()
        return self._changed()

    def _choose_step(self, step: str) -> Any:
        self._step, self.notes, self.same = step, [], True
        return self._changed()

    def _offer_steps(self) -> None:
        runs = self._registry.runs() if self.name else []
        folder = next((one for one in runs if self._registry.name_of(one) == self.name), None)
        steps = [] if folder is None else list(reversed(folder.checkpoints.history()))
        options = {BEST: "the best"} | {str(step): f"step {step:,}" for step in steps}
        if self._step not in options:
            self._step = BEST
        self._step_field.set_visibility(bool(self.name))
        self._step_field.set_options(options, self._step)
