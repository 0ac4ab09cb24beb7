"""The view as a whole: its parts, and the clock by which they read what is new."""

import asyncio

from nicegui import ui

from nanogpt.studio.learn.compare import Compare
from nanogpt.studio.learn.controls import Watched
from nanogpt.studio.learn.jobs import Jobs
from nanogpt.studio.learn.live import Live
from nanogpt.studio.learn.machine import Machine
from nanogpt.studio.learn.start import Start
from nanogpt.studio.learn.style import learn_css
from nanogpt.studio.parts import Tag, Text
from nanogpt.studio.shelf import Shelf

READ_SECONDS = 1.0
LIST_EVERY = 4
"""Of those readings, one that also looks for new runs."""


class Learn:
    """The view. Reads only while it can be seen, and only what was appended: a training must not notice."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf, self._jobs = shelf, Jobs(shelf.folder)
        self._turn = 0
        ui.add_css(learn_css())
        with Watched(self._end) as self._watched, Tag("div", "learn"):
            self._start: Start | None = None
            if shelf.is_run:
                Text("p", "This studio shows one run. To start others, open it on the folder that they lie in.", "hint")
            else:
                self._start = Start(shelf.folder, self._jobs, self._begun)
            self._live = Live(shelf, self._jobs, self._chosen)
            self._machine = Machine(shelf)
            self._compare = Compare(shelf)
        ui.timer(READ_SECONDS, self._tick)

    async def _tick(self) -> None:
        if not self._watched.seen:
            return
        if self._turn % LIST_EVERY == 0:
            names, beginning = await asyncio.to_thread(self._list)
            self._live.offer(names, beginning)
            self._compare.offer(names)
        self._turn += 1
        await self._live.tick()
        await self._compare.tick()
        await self._machine.tick()

    def _list(self) -> tuple[list[str], list[str]]:
        beginning = [] if self._shelf.is_run else [one.name for one in self._jobs.beginning()]
        return list(reversed(self._shelf.names())), beginning

    def _begun(self, name: str) -> None:
        """A training was started from the page."""
        self._live.begin(name)
        self._turn = 0

    def _chosen(self, name: str) -> None:
        self._machine.use(name)

    def _end(self) -> None:
        if self._start is not None:
            self._start.end()
        self._machine.end()
