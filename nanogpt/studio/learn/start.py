"""Starting a training: a text, the minutes, and the plan before it begins."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError
from nanogpt.studio.learn.controls import Scale
from nanogpt.studio.learn.drop import Drop
from nanogpt.studio.learn.jobs import Jobs
from nanogpt.studio.learn.outlook import Outlook, ask_outlook, minutes_told
from nanogpt.studio.learn.texts import find_text, kept_texts
from nanogpt.studio.parts import Tag, Text, button, card, choose

MINUTES = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 240, 480)
FIRST = MINUTES.index(2)
OWN, KEPT, NAMED = "own", "kept:", "named:"
CORPORA = {
    "shakespeare": "Shakespeare, the course's text",
    "python": "Python's own source code, which is here already",
}
MOST_KEPT = 20


class Start:
    """The form. `begun` is told the name of the run that was started."""

    def __init__(self, shelf: Path, jobs: Jobs, begun: Callable[[str], Any]) -> None:
        self._shelf, self._jobs, self._begun = shelf, jobs, begun
        self._planned: tuple[str, str, float] | None = None
        """text, name and minutes that the plan is of"""
        self._task: asyncio.Task[Outlook] | None = None
        self._source, self._minutes = OWN, float(MINUTES[FIRST])
        with card("Train a model on a text").classes("start"):
            self._choice = choose("Text", self._sources(), OWN, self._choose)
            self._drop = Drop(shelf)
            self._drop.on("change", self._stale)
            Scale("Time", [minutes_told(one) for one in MINUTES], FIRST, self._choose_minutes)
            with Tag("div", "buttons"):
                self._plan = button("Show the plan", self._make_plan, "primary")
                self._go = button("Start the training", self._begin, "primary", disabled=True)
                self._status = Text("span", "", "status", role="status")
            self._rows = Tag("dl", "facts", aria_label="The plan")
            self._rows.set_visibility(False)

    def _sources(self) -> dict[str, str]:
        kept = {f"{KEPT}{one.name}": one.name for one in kept_texts(self._shelf)[:MOST_KEPT]}
        return {OWN: "paste or drop one"} | kept | {f"{NAMED}{name}": told for name, told in CORPORA.items()}

    def _choose(self, source: str) -> None:
        self._source = source
        self._drop.set_visibility(source == OWN)
        self._stale()

    def _choose_minutes(self, place: int) -> None:
        self._minutes = float(MINUTES[place])
        self._stale()

    def _stale(self) -> None:
        """What was planned is no longer what is asked for."""
        if self._task is not None:
            self._task.cancel()
        if self._planned is not None:
            self._tell("")
        self._planned = None
        self._go.set(disabled=True)
        self._rows.set_visibility(False)

    async def _find(self) -> tuple[str, str]:
        """The text's path, or name, and what a run on it is called. Raises UserError."""
        if self._source.startswith(NAMED):
            name = self._source.removeprefix(NAMED)
            if name not in CORPORA:
                raise UserError(f"there is no text {name!r} here")
            return name, name
        if self._source == OWN:
            name = await self._drop.send()
        else:
            name = self._source.removeprefix(KEPT)
        path = await asyncio.to_thread(find_text, self._shelf, name)
        return str(path), re.sub(r"-[0-9a-f]{8}$", "", path.stem)

    async def _make_plan(self) -> None:
        self._stale()
        minutes = self._minutes
        self._plan.set(disabled=True)
        self._tell("Reading the text and measuring this machine …")
        try:
            text, name = await self._find()
            self._task = asyncio.create_task(ask_outlook(text, minutes, self._shelf))
            found = await self._task
        except UserError as error:
            self._tell(f"{str(error)[:1].upper()}{str(error)[1:]}.", warning=True)
        except asyncio.CancelledError:  # something else is asked for by now
            self._tell("")
        else:
            self._planned = (text, name, minutes)
            self._show(found)
            self._go.set(disabled=False)
            self._tell("This is the plan. Nothing has been started yet.")
        finally:
            self._task = None
            self._plan.set(disabled=False)

    def _show(self, found: Outlook) -> None:
        self._rows.clear()
        with self._rows:
            for name, value in found.rows():
                with Tag("div"):
                    Text("dt", name)
                    Text("dd", value)
        self._rows.set_visibility(True)

    async def _begin(self) -> None:
        if self._planned is None:
            return
        text, name, minutes = self._planned
        self._stale()
        try:
            run = await asyncio.to_thread(self._jobs.start, text, minutes, name)
        except (UserError, OSError) as error:
            self._tell(f"It could not be started: {error}", warning=True)
            return
        self._choice.offer(self._sources(), self._source)
        self._tell(f"Started as {run.name}. It goes on when this page is closed.")
        self._begun(run.name)

    def _tell(self, text: str, warning: bool = False) -> None:
        self._status.set_text(text)
        self._status.classes(add="warning" if warning else "", remove="" if warning else "warning")

    def end(self) -> None:
        """Give a plan up that nobody waits for any more."""
        if self._task is not None:
            self._task.cancel()
