"""The validation losses of several runs in one chart."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError
from nanogpt.runs.folder import RunFolder
from nanogpt.studio.chart import STYLES, Chart, Curve
from nanogpt.studio.elements import Tag, Text, card, select
from nanogpt.studio.registry import RunRegistry
from nanogpt.studio.run_metrics import Metrics
from nanogpt.studio.state import State
from nanogpt.text.tokenizer import dump_tokenizer

MAX_OFFERED = 26
NATS, BITS = "nats/token", "bits per byte"
AXES = {"steps": "steps", "seconds": "seconds in training steps"}
LETTERS = "ABCDEFGH"
NOTHING_CHOSEN = "Choose runs to see their validation losses together."
_CHECKED = "(event) => emit(event.target.checked)"


@dataclass(eq=False)
class ComparedRun:
    """A run in the chart."""

    name: str
    letter: str
    metrics: Metrics
    tokenizer: str
    """hash of the tokenizer: losses per token of different tokenizers cannot be compared"""

    def curve(self, axis: str, unit: str) -> Curve:
        """Return the validation losses over an axis, in a unit."""
        points = [
            (point.step if axis == "steps" else point.seconds, point.loss if unit == NATS else point.bits)
            for point in self.metrics.val.all
        ]
        shown = [(x, y) for x, y in points if y is not None]
        xs, ys = [x for x, _ in shown], [y for _, y in shown]
        return Curve(name=self.name, x=xs, y=ys, tag=self.letter, style=LETTERS.index(self.letter))


class RunComparison:
    """A card of the page. `changed` is called when other runs are compared."""

    def __init__(self, registry: RunRegistry, state: State, changed: Callable[[], Any]) -> None:
        self._registry, self._axis, self._save = registry, state.axis, changed
        self._from_address = state.compared
        """runs of the address, until they are chosen"""
        self._names: list[str] = []
        self._chosen: dict[str, ComparedRun] = {}
        self._changed = False
        with card("Compare runs"):
            with Tag("fieldset", "checks"):
                Text("legend", f"Up to {STYLES} runs")
                self._list = Tag("div")
            select("Over", AXES, self._axis, self._choose_axis)
            self._note = Text("p", NOTHING_CHOSEN, "hint", role="status")
            self._chart = Chart("Validation losses of the chosen runs")

    def read(self, state: State) -> State:
        """Return the state with the compared runs, by their letters, as another browser will assign them again."""
        chosen = sorted(self._chosen.values(), key=lambda one: one.letter)
        return replace(state, compared=(*(one.name for one in chosen), *self._from_address), axis=self._axis)

    async def set_runs(self, names: Sequence[str]) -> None:
        """Offer the newest of these runs, which come newest first, and all that are compared."""
        wanted = [*self._chosen, *self._from_address]
        shown = [name for index, name in enumerate(names) if index < MAX_OFFERED or name in wanted]
        if shown == self._names:
            return
        self._names = shown
        self._chosen = {name: one for name, one in self._chosen.items() if name in shown}
        for name in self._from_address:
            if name in shown:
                await self._add(name)
        self._from_address = ()
        self._list.clear()
        with self._list:
            for name in shown:
                with Tag("label", "check"):
                    box = Tag("input", **{"type": "checkbox"}, checked=name in self._chosen)
                    box.on("change", lambda event, name=name: self._choose(name, bool(event.args)), js_handler=_CHECKED)
                    Text("span", name)

    async def _choose(self, name: str, chosen: bool) -> None:
        self._changed = True
        if not chosen:
            self._chosen.pop(name, None)
        elif not await self._add(name):
            self._note.set_text(f"At most {STYLES} runs fit into the chart: leave another one out first.")
            return
        self._save()
        await self.tick()

    async def _add(self, name: str) -> bool:
        """Add a run to the chart; return whether there was room."""
        path = self._registry.expected_path(name)
        tokenizer = await asyncio.to_thread(_tokenizer_hash, path)
        free = [one for one in LETTERS if one not in [other.letter for other in self._chosen.values()]]
        if free and name not in self._chosen:
            self._chosen[name] = ComparedRun(name, free[0], Metrics(path), tokenizer)
            self._changed = True
        return name in self._chosen

    async def _choose_axis(self, axis: str) -> None:
        self._axis, self._changed = axis if axis in AXES else "steps", True
        self._save()
        await self.tick()

    async def tick(self) -> None:
        """Read what is new, and show it."""
        chosen = list(self._chosen.values())
        grown = await asyncio.to_thread(lambda: [one.metrics.read() for one in chosen])
        if not (self._changed or any(grown)):
            return
        self._changed = False
        unit = NATS if len({one.tokenizer for one in chosen}) <= 1 else BITS
        curves = [one.curve(self._axis, unit) for one in chosen]
        self._chart.show(curves, AXES[self._axis], unit)
        note = "Their tokenizers differ, so losses are in bits per byte. " if unit == BITS else ""
        missing = [one.name for one in curves if not one.x]
        note += f"Not evaluated yet: {', '.join(missing)}." if missing else ""
        self._note.set_text(note or ("" if chosen else NOTHING_CHOSEN))


def _tokenizer_hash(path: Path) -> str:
    try:
        return hashlib.sha256(dump_tokenizer(RunFolder(path).read_tokenizer()).encode()).hexdigest()
    except (UserError, OSError):
        return str(path)  # equal to no other
