"""Runs beside each other: the validation loss of those that are chosen."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError
from nanogpt.runs.folder import RunFolder
from nanogpt.studio.learn.chart import STYLES, Line
from nanogpt.studio.learn.controls import Picture
from nanogpt.studio.learn.curves import Metrics
from nanogpt.studio.parts import Tag, Text, card, choose
from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import State
from nanogpt.text.tokenizer import dump_tokenizer

MOST_OFFERED = 26
NATS, BITS = "nats/token", "bits per byte"
AXES = {"steps": "steps", "seconds": "seconds in training steps"}


@dataclass(eq=False)
class Beside:
    """A run that is compared."""

    name: str
    letter: str
    metrics: Metrics
    vocabulary: str
    """tells tokenizers apart: losses a token of different ones say nothing beside each other"""


class Compare:
    """The part of the page. `changed` is called when something else is compared."""

    def __init__(self, shelf: Shelf, state: State, changed: Callable[[], Any]) -> None:
        self._shelf, self._axis, self._save = shelf, state.axis, changed
        self._sought = state.compared
        """runs of the address, until they are chosen"""
        self._names: list[str] = []
        self._chosen: dict[str, Beside] = {}
        self._changed = False
        with card("Compare runs"):
            with Tag("fieldset", "checks"):
                Text("legend", f"Up to {STYLES} runs")
                self._list = Tag("div")
            choose("Over", AXES, self._axis, self._choose_axis)
            self._note = Text("p", "Choose runs to see their validation losses together.", "hint", role="status")
            self._picture = Picture("Validation losses of the chosen runs")

    def read(self, state: State) -> State:
        """The state with what is compared: in the order of the letters, which is how another browser gives them out."""
        chosen = sorted(self._chosen.values(), key=lambda one: one.letter)
        return replace(state, compared=(*(one.name for one in chosen), *self._sought), axis=self._axis)

    async def offer(self, names: Sequence[str]) -> None:
        """The runs that there are, the newest first; some, and all that are compared."""
        wanted = [*self._chosen, *self._sought]
        shown = [name for place, name in enumerate(names) if place < MOST_OFFERED or name in wanted]
        if shown == self._names:
            return
        self._names = shown
        self._chosen = {name: one for name, one in self._chosen.items() if name in shown}
        for name in self._sought:
            if name in shown:
                await self._add(name)
        self._sought = ()
        self._list.clear()
        with self._list:
            for name in shown:
                self._offer_one(name)

    def _offer_one(self, name: str) -> None:
        with Tag("label", "check"):
            box = Tag("input", **{"type": "checkbox"}, checked=name in self._chosen)
            box.on("change", lambda event: self._choose(name, bool(event.args)), js_handler=_CHECKED)
            Text("span", name)

    async def _choose(self, name: str, chosen: bool) -> None:
        self._changed = True
        if not chosen:
            self._chosen.pop(name, None)
        elif not await self._add(name):
            self._note.set_text(f"{STYLES} runs are as many as can be told apart: leave another one out first.")
            return
        self._save()
        await self.tick()

    async def _add(self, name: str) -> bool:
        """Compare one run more; whether there was room for it."""
        path = self._shelf.folder if self._shelf.is_run else self._shelf.folder / name
        vocabulary = await asyncio.to_thread(_vocabulary, path)
        free = [one for one in LETTERS if one not in [other.letter for other in self._chosen.values()]]
        if free and name not in self._chosen:
            self._chosen[name] = Beside(name, free[0], Metrics(path), vocabulary)
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
        unit = NATS if len({one.vocabulary for one in chosen}) <= 1 else BITS
        lines = [_line(one, self._axis, unit) for one in chosen]
        self._picture.show(lines, AXES[self._axis], unit)
        told = "Their tokenizers differ, so losses are in bits per byte. " if unit == BITS else ""
        missing = [one.name for one, line in zip(chosen, lines) if not line.x]
        told += f"Not evaluated yet: {', '.join(missing)}." if missing else ""
        self._note.set_text(told or ("" if chosen else "Choose runs to see their validation losses together."))


LETTERS = "ABCDEFGH"
_CHECKED = "(event) => emit(event.target.checked)"


def _line(one: Beside, axis: str, unit: str) -> Line:
    points = [
        (point.step if axis == "steps" else point.seconds, point.loss if unit == NATS else point.bits)
        for point in one.metrics.val.all
    ]
    shown = [(x, y) for x, y in points if y is not None]
    xs, ys = [x for x, _ in shown], [y for _, y in shown]
    return Line(name=one.name, x=xs, y=ys, tag=one.letter, style=LETTERS.index(one.letter))


def _vocabulary(path: Path) -> str:
    try:
        return hashlib.sha256(dump_tokenizer(RunFolder(path).read_tokenizer()).encode()).hexdigest()
    except (UserError, OSError):
        return str(path)  # not known to be the same as any other
