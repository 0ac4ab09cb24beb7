"""The view "Follow the course": a card for each of its ten sections, and their loss curves in one chart.

Each section is run as a process that prints JSON lines; its file is only read here.
"""

import asyncio
import importlib.util
import json
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from nicegui import ui

from nanogpt.studio.chart import STYLES, Chart, Curve
from nanogpt.studio.elements import Field, Tag, Text, VisibilityObserver, button, card, hint, sample_text, select
from nanogpt.studio.labels import capitalized
from nanogpt.studio.registry import RunRegistry
from nanogpt.studio.run_metrics import Point, Points
from nanogpt.studio.state import State
from nanogpt.studio.training_form import CORPORA, MAX_STORED, STORED
from nanogpt.studio.training_jobs import last_line, source_folder, start_piped
from nanogpt.studio.uploads import find_text, stored_texts

STYLE_SHEETS = tuple(Path(__file__).parent / "assets" / name for name in ("learn.css", "course.css"))
DRAW_SECONDS = 0.5
MAX_STEPS = 20_000
MAX_POINTS = 300
MAX_TEXT = 4_000
MAX_SECONDS = 900
GRACE_SECONDS = 3
RESULTS = ("parameters", "val_loss", "train_loss", "seconds")
PYTHON = "python"
NATS = "nats/character"
NO_COURSE = (
    "The course is in the repository and not in the installed package. Clone the repository and start the studio from "
    "there: then its ten sections can be trained here."
)


@dataclass(frozen=True)
class Section:
    """A section of the course."""

    number: int
    module: str
    title: str
    idea: str


@dataclass(eq=False)
class SectionRun:
    """The output of a section's process so far."""

    section: Section
    text: str = ""
    """name of the text it is trained on"""
    steps: int = 0
    curve: Points = field(default_factory=lambda: Points(MAX_POINTS))
    """losses of batches"""
    sample: str = ""
    result: dict[str, float] | None = None
    notes: list[str] = field(default_factory=list)
    problem: str = ""
    """why it ended; empty if all went well"""
    label: str = ""
    """name of the current training: some sections make several, and the last one is the section's own"""

    @property
    def step(self) -> int:
        """Last step of the current training."""
        return 0 if self.curve.newest is None else int(self.curve.newest.step)

    def feed(self, raw: bytes) -> None:
        """Add a line of output; invalid ones are left out."""
        try:
            line = json.loads(raw)
            event = line["event"]
            if event == "step":
                if self.label != str(line["label"]):
                    self.label, self.curve = str(line["label"]), Points(MAX_POINTS)
                self.steps = int(line["steps"])
                self.curve.add(Point(float(line["step"]), 0.0, float(line["loss"])))
            elif event == "sample":
                self.sample = str(line["text"])[:MAX_TEXT]
            elif event == "note" and len(self.notes) < 10:
                self.notes.append(str(line["text"])[:MAX_TEXT])
            elif event == "done":
                self.result = {name: float(line[name]) for name in RESULTS}
        except (ValueError, KeyError, TypeError, RecursionError):
            return


def find_course() -> Path | None:
    """Return the folder of the course's sections; None if it is missing, or another package has its name."""
    spec = importlib.util.find_spec("course")  # finds a package without running it
    installed = spec.submodule_search_locations if spec is not None else None
    places = [source_folder() / "course", *map(Path, installed or ())]
    return next((one for one in places if (one / "s01_bigram.py").is_file()), None)


def sections(folder: Path) -> list[Section]:
    """Return the sections in a folder, in order, from their source text alone."""
    found = []
    for file in sorted(folder.glob("s[0-9][0-9]_*.py")):
        text = file.read_text(encoding="utf-8", errors="replace")
        heading = re.search(r"^# # \d+\. (.+)$", text, re.MULTILINE)
        title = heading[1].strip() if heading else file.stem[4:].replace("_", " ")
        idea = re.search(r"""^IDEA = (["'])(.+)\1$""", text, re.MULTILINE)
        found.append(Section(int(file.stem[1:3]), f"course.{file.stem}", title, idea[2] if idea else ""))
    return found


async def run_section(
    folder: Path,
    run: SectionRun,
    *,
    steps: int,
    text: str,
    changed: Callable[[], None] = lambda: None,
    seconds: float = MAX_SECONDS,
) -> None:
    """Run a section and feed its output to `run`, with `changed` after each line; cancelling ends the process."""
    with tempfile.TemporaryDirectory(prefix="nanogpt-course-") as place:  # for pictures
        words = (sys.executable, "-P", "-m", run.section.module, "--events", "--steps", str(steps), "--text", text)
        process = await start_piped(words, Path(place), folder.parent)
        assert process.stdout is not None
        assert process.stderr is not None
        errors = asyncio.create_task(process.stderr.read())
        try:
            async with asyncio.timeout(seconds):
                while raw := await process.stdout.readline():
                    run.feed(raw)
                    changed()
                code, reason = await process.wait(), last_line(await errors)
                run.problem = reason or f"it ended with code {code} and no message" if code else ""
        except TimeoutError:
            run.problem = f"it took more than {seconds:g} seconds and was stopped: choose fewer steps"
        except asyncio.CancelledError:
            run.problem = "stopped"
            raise
        finally:
            with suppress(ProcessLookupError):
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), GRACE_SECONDS)
                except TimeoutError:
                    process.kill()
                    await process.wait()
            changed()


class SectionCard:
    """A section: its idea, progress, result and sample. `train` is called by its button."""

    def __init__(self, section: Section, train: Callable[[], Any]) -> None:
        number = section.number
        with Tag("li", "card section-card", aria_labelledby=f"section-{number}"):
            with Tag("div", "section-head"):
                Text("h2", f"{number}. {section.title}", id=f"section-{number}")
                self.button = button("Train", train, aria_label=f"Train section {number}, {section.title}")
            hint(f"{capitalized(section.idea)}.")
            self._bar = Tag("progress", "bar", max=1, value=0, aria_label=f"Section {number}: steps done")
            self._result = Text("p", "Not trained yet.", "reached")
            label = f"What section {number} writes"
            self._sample = sample_text(label)
            self._sample.set_visibility(False)
            self._notes = hint()
            self._notes.set_visibility(False)

    def show(self, run: SectionRun) -> None:
        """Show the progress of a run, and its result."""
        self._bar.set(value=round(run.step / run.steps, 3) if run.steps else 0)
        self._result.set_text(describe_result(run))
        for element, text in ((self._notes, " ".join(run.notes)), (self._sample, run.sample)):
            element.set_text(text)
            element.set_visibility(bool(text))


def describe_result(run: SectionRun) -> str:
    """Return the progress or the result of a section in words."""
    if run.problem:
        return f"{capitalized(run.problem)}."
    if run.result is not None:
        found = run.result
        return (
            f"Validation loss {found['val_loss']:.3f} (training {found['train_loss']:.3f}) with "
            f"{found['parameters']:,.0f} parameters, {found['seconds']:.1f} s of training: {run.steps:,} steps on "
            f"{run.text}."
        )
    newest = run.curve.newest
    if newest is None:
        return "Starting: its demonstrations come first."
    return f"Step {run.step:,} of {run.steps:,} ({run.label}): loss {newest.loss:.3f}."


class CourseView:
    """The view. `keep` is called with each new state; `trained` keeps the finished sections as long as the studio runs.

    One section is trained at a time, and its process ends with the page.
    """

    def __init__(
        self, registry: RunRegistry, state: State, keep: Callable[[State], Any], trained: dict[int, SectionRun]
    ) -> None:
        self._registry, self.state, self._keep, self._trained = registry, state, keep, trained
        self._task: asyncio.Task[None] | None = None
        self._runs = dict(trained)
        self._changed = bool(trained)
        for sheet in STYLE_SHEETS:
            ui.add_css(sheet)
        self._folder = find_course()
        with VisibilityObserver(self._cancel) as self._observer, Tag("div", "course"):
            if self._folder is None:
                with card("Follow the course"):
                    Text("p", NO_COURSE)
                return
            self._build(sections(self._folder))
        keep(state)  # so that a person who leaves the view finds it again as it was
        ui.timer(DRAW_SECONDS, self._tick)

    def _build(self, found: list[Section]) -> None:
        self._sections = found
        with card("Follow the course"):
            hint("Ten ideas, from a table of characters to a GPT. Each section trains its model here.")
            with Tag("div", "fields"):
                sources, wanted = self._sources(), self.state.corpus
                self._text = select("Text", sources, wanted if wanted in sources else PYTHON, self._save)
                self._steps = Field("number", "Steps", str(self.state.steps), self._save, min=1, max=MAX_STEPS, step=1)
            hint("With 300 steps a section takes seconds; the last three are larger and take minutes.")
            with Tag("div", "buttons"):
                self._all = button("Train all, one after another", lambda: self._start(self._sections), "primary")
                self._stop = button("Stop", self._cancel, disabled=True)
                self._status = Text("span", "", "status", role="status")
            if wanted not in sources:
                name = wanted.removeprefix(STORED)
                self._status.set_text(f"The address means the text {name!r}, which is not here; this is {PYTHON}.")
            self._chart = Chart("Losses of the sections while training")
        with Tag("ol", "sections"):
            self._cards = {one.number: SectionCard(one, partial(self._start, [one])) for one in found}

    def _sources(self) -> dict[str, str]:
        """Return the corpora, the newest stored texts, and the one that the address means."""
        stored = [] if self._registry.is_run else [one.name for one in stored_texts(self._registry.folder)]
        stored = [one for index, one in enumerate(stored) if index < MAX_STORED or STORED + one == self.state.corpus]
        return {name: CORPORA[name] for name in (PYTHON, "shakespeare")} | {f"{STORED}{one}": one for one in stored}

    def _read_steps(self) -> int | None:
        """Return the steps in the field; None if they are invalid."""
        try:
            steps = int(self._steps.value)
        except ValueError:
            return None
        return steps if 1 <= steps <= MAX_STEPS else None

    def _save(self, _: str) -> None:
        """Put text and steps into the address, which keeps the last valid steps."""
        self.state = replace(self.state, corpus=self._text.value, steps=self._read_steps() or self.state.steps)
        self._keep(self.state)

    def _start(self, wanted: list[Section]) -> None:
        if self._task is not None and not self._task.done():
            return
        steps = self._read_steps()
        if steps is None:
            self._status.set_text(f"Steps are {self._steps.value!r}: give a whole number from 1 to {MAX_STEPS:,}.")
            return
        self._task = asyncio.create_task(self._train(wanted, steps, self._text.value))

    async def _train(self, wanted: list[Section], steps: int, source: str) -> None:
        assert self._folder is not None
        self._enable(False)
        name = source.removeprefix(STORED)
        try:
            text = source if source in CORPORA else str(find_text(self._registry.folder, name))
            for section in wanted:
                run = self._runs[section.number] = SectionRun(section, name)
                self._set_status(f"Training section {section.number}, {section.title} …")
                await run_section(self._folder, run, steps=steps, text=text, changed=self._note)
                if run.problem:
                    self._set_status(f"Section {section.number} ended: {run.problem}")
                    return
                self._trained[section.number] = run
            self._set_status(f"Done: {len(wanted)} section{'s' if len(wanted) > 1 else ''}.")
        except asyncio.CancelledError:
            self._set_status("Stopped.")
        except (ValueError, OSError) as error:
            self._set_status(str(error))
        finally:
            self._enable(True)
            self._changed = True

    def _set_status(self, text: str) -> None:
        if not self._observer.is_deleted:
            self._status.set_text(text)

    def _enable(self, free: bool) -> None:
        if not self._observer.is_deleted:
            for one in (self._all, *(card.button for card in self._cards.values())):
                one.set(disabled=not free)
            self._stop.set(disabled=free)

    def _note(self) -> None:
        self._changed = True

    def _tick(self) -> None:
        """Draw what changed since the last time, while the view is visible."""
        if not (self._changed and self._observer.seen):
            return
        self._changed = False
        curves = [_curve(self._runs[number]) for number in sorted(self._runs)]
        self._chart.show([one for one in curves if one.x], "steps", NATS)
        for section, run in self._runs.items():
            self._cards[section].show(run)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()


def _curve(run: SectionRun) -> Curve:
    """Return the losses of a section's batches."""
    points, section = run.curve.all, run.section
    return Curve(
        name=section.title,
        x=[one.step for one in points],
        y=[one.loss for one in points],
        tag=str(section.number),
        style=(section.number - 1) % STYLES,
    )
