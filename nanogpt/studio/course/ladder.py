"""The ladder of the course: a rung for each section, its loss curve and its sample beside the earlier ones."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from nicegui import ui

from nanogpt.studio.course.rung import Rung
from nanogpt.studio.course.rungs import ABSENT, Attempt, Section, find_course, run_section, sections
from nanogpt.studio.learn.chart import STYLES, Line
from nanogpt.studio.learn.controls import Picture, Watched
from nanogpt.studio.learn.start import CORPORA
from nanogpt.studio.learn.style import learn_css
from nanogpt.studio.learn.texts import find_text, kept_texts
from nanogpt.studio.parts import Tag, Text, button, card, choose, number
from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import State

DRAW_SECONDS = 0.5
MOST_STEPS = 20_000
MOST_KEPT = 20
PYTHON = "python"
KEPT = "kept:"
NATS = "nats/character"


class Course:
    """The view. One section is trained at a time, and its process ends with the page; what came of it is `trained`."""

    def __init__(self, shelf: Shelf, state: State, keep: Callable[[State], Any], trained: dict[int, Attempt]) -> None:
        self._shelf, self.state, self._keep, self._trained = shelf, state, keep, trained
        self._task: asyncio.Task[None] | None = None
        self._attempts = dict(trained)
        self._changed = bool(trained)
        ui.add_css(learn_css())
        ui.add_css(Path(__file__).with_name("course.css"))
        self._folder = find_course()
        with Watched(self._end) as self._watched, Tag("div", "course"):
            if self._folder is None:
                with card("Follow the course"):
                    Text("p", ABSENT)
                return
            self._build(sections(self._folder))
        keep(state)  # so that whoever leaves the view finds it as it was
        ui.timer(DRAW_SECONDS, self._tick)

    def _build(self, found: list[Section]) -> None:
        self._sections = found
        with card("Follow the course"):
            Text("p", "Ten ideas, from a table of characters to a GPT. Each section trains its model here.", "hint")
            with Tag("div", "fields"):
                sources, meant = self._sources(), self.state.corpus
                self._text = choose("Text", sources, meant if meant in sources else PYTHON, self._save)
                self._steps = number("Steps", str(self.state.steps), self._save, min=1, max=MOST_STEPS, step=1)
            Text("p", "At 300 steps a section takes seconds; the last three are larger, and take minutes.", "hint")
            with Tag("div", "buttons"):
                self._all = button("Train all, one after another", lambda: self._begin(self._sections), "primary")
                self._stop = button("Stop", self._cancel, disabled=True)
                self._status = Text("span", "", "status", role="status")
            if meant not in sources:
                name = meant.removeprefix(KEPT)
                self._status.set_text(f"The address means the text {name!r}, which is not here; this is {PYTHON}.")
            self._picture = Picture("Losses of the sections while training")
        with Tag("ol", "rungs"):
            self._rungs = {one.number: Rung(one, partial(self._begin, [one])) for one in found}

    def _sources(self) -> dict[str, str]:
        """The newest of the texts that are kept, and the one that the address means."""
        kept = [] if self._shelf.is_run else [one.name for one in kept_texts(self._shelf.folder)]
        kept = [name for place, name in enumerate(kept) if place < MOST_KEPT or KEPT + name == self.state.corpus]
        return {name: CORPORA[name] for name in (PYTHON, "shakespeare")} | {f"{KEPT}{name}": name for name in kept}

    def _asked_steps(self) -> int | None:
        """How many steps the field says; None for what makes no sense."""
        try:
            steps = int(self._steps.value)
        except ValueError:
            return None
        return steps if 1 <= steps <= MOST_STEPS else None

    def _save(self, _: str) -> None:
        """Put text and steps into the address, which keeps the last steps that made sense."""
        self.state = replace(self.state, corpus=self._text.value, steps=self._asked_steps() or self.state.steps)
        self._keep(self.state)

    def _begin(self, wanted: list[Section]) -> None:
        if self._task is not None and not self._task.done():
            return
        steps = self._asked_steps()
        if steps is None:
            self._status.set_text(f"Steps are {self._steps.value!r}: give a whole number from 1 to {MOST_STEPS:,}.")
            return
        self._task = asyncio.create_task(self._train(wanted, steps, self._text.value))

    async def _train(self, wanted: list[Section], steps: int, source: str) -> None:
        assert self._folder is not None
        self._enable(False)
        try:
            text = source if source in CORPORA else str(find_text(self._shelf.folder, source.removeprefix(KEPT)))
            for section in wanted:
                attempt = self._attempts[section.number] = Attempt(section, source.removeprefix(KEPT))
                self._told(f"Training section {section.number}, {section.title} …")
                await run_section(self._folder, attempt, steps=steps, text=text, changed=self._note)
                if attempt.problem:
                    self._told(f"Section {section.number} ended: {attempt.problem}")
                    return
                self._trained[section.number] = attempt
            self._told(f"Done: {len(wanted)} section{'s' if len(wanted) > 1 else ''}.")
        except asyncio.CancelledError:
            self._told("Stopped.")
        except (ValueError, OSError) as error:
            self._told(str(error))
        finally:
            self._enable(True)
            self._changed = True

    def _told(self, text: str) -> None:
        if not self._watched.is_deleted:
            self._status.set_text(text)

    def _enable(self, free: bool) -> None:
        if not self._watched.is_deleted:
            for one in (self._all, *(rung.button for rung in self._rungs.values())):
                one.set(disabled=not free)
            self._stop.set(disabled=free)

    def _note(self) -> None:
        self._changed = True

    def _tick(self) -> None:
        """Draw what changed since the last time, while it can be seen."""
        if not (self._changed and self._watched.seen):
            return
        self._changed = False
        lines = [line for number in sorted(self._attempts) if (line := _line(self._attempts[number])).x]
        self._picture.show(lines, "steps", NATS)
        for section, attempt in self._attempts.items():
            self._rungs[section].show(attempt)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end(self) -> None:
        """The page is gone: so is the process."""
        self._cancel()


def _line(attempt: Attempt) -> Line:
    """Losses of batches, and at last the one that was measured."""
    points, section = attempt.curve.all, attempt.section
    return Line(
        name=section.title,
        x=[one.step for one in points],
        y=[one.loss for one in points],
        tag=str(section.number),
        style=(section.number - 1) % STYLES,
    )
