"""The view as a whole: its parts, and the clock by which they read what is new."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nicegui import ui

from nanogpt.studio.learn.arrival import settle
from nanogpt.studio.learn.compare import Compare
from nanogpt.studio.learn.controls import Watched
from nanogpt.studio.learn.jobs import Jobs
from nanogpt.studio.learn.live import Live
from nanogpt.studio.learn.machine import Machine
from nanogpt.studio.learn.start import Start
from nanogpt.studio.learn.style import learn_css
from nanogpt.studio.parts import Tag, Text
from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import State

READ_SECONDS = 1.0
LIST_EVERY = 4
"""Of those readings, one that also looks for new runs."""


class Learn:
    """The view. Reads only while it can be seen, and only what was appended: a training must not notice."""

    def __init__(self, shelf: Shelf, state: State, keep: Callable[[State], Any]) -> None:
        self._shelf, self._jobs = shelf, Jobs(shelf.folder)
        self.state, self._keep = state, keep
        self._turn = 0
        self._settled = False
        ui.add_css(learn_css())
        with Watched(self._end) as self._watched, Tag("div", "learn"):
            self._note = Text("p", "", "warning", role="status")
            self._note.set_visibility(False)
            self._start: Start | None = None
            if shelf.is_run:
                Text("p", "This studio shows one run. To start others, open it on the folder that they lie in.", "hint")
            else:
                self._start = Start(shelf.folder, self._jobs, self._begun)
            self._live = Live(shelf, self._jobs, self._chosen)
            self._machine = Machine(shelf, state, self._save)
            self._compare = Compare(shelf, state, self._save)
        ui.timer(READ_SECONDS, self._tick)

    async def _tick(self) -> None:
        if not self._watched.seen:
            return
        if self._turn % LIST_EVERY == 0:
            await self._offer()
        self._turn += 1
        await self._live.tick()
        await self._compare.tick()
        await self._machine.tick()

    async def _offer(self) -> None:
        names, beginning = await asyncio.to_thread(self._list)
        if not self._settled:
            self._settled = True
            self.state, problems = await asyncio.to_thread(settle, self._shelf, self.state, [*beginning, *names])
            self._note.set_text(" ".join(problems))
            self._note.set_visibility(bool(problems))
        self._live.offer(names, beginning, self.state.run)
        await self._compare.offer(names)

    def _list(self) -> tuple[list[str], list[str]]:
        beginning = [] if self._shelf.is_run else [one.name for one in self._jobs.beginning()]
        return list(reversed(self._shelf.names())), beginning

    def _begun(self, name: str) -> None:
        """A training was started from the page."""
        self._live.begin(name)
        self._turn = 0

    def _chosen(self, name: str) -> None:
        """A run is looked at: the one of the address, for which its step was meant, or another."""
        if self.state.run not in ("", name):
            self.state = replace(self.state, step=None, model="")
        self._machine.use(name, self.state.step, self.state.model)
        self.state = replace(self.state, run=name)
        self._save()

    def _save(self) -> None:
        """Put what is shown into the address."""
        if not self._watched.is_deleted:
            self.state = self._compare.read(self._machine.read(self.state))
            self._keep(self.state)

    def _end(self) -> None:
        if self._start is not None:
            self._start.end()
        self._machine.end()
