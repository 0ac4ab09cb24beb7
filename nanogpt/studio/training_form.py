"""The form that starts a training: a text, the minutes, and a preview of the plan.

`nanogpt plan` makes the preview in its own process, which measures the machine.
"""

import asyncio
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError
from nanogpt.studio.elements import NamedSlider, Tag, Text, button, card, select
from nanogpt.studio.labels import capitalized
from nanogpt.studio.training_jobs import Jobs, nanogpt_command, start_piped
from nanogpt.studio.uploads import TextUpload, find_text, stored_texts

MINUTES = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 240, 480)
DEFAULT_INDEX = MINUTES.index(2)
OWN, STORED, CORPUS = "own", "kept:", "named:"
CORPORA = {
    "shakespeare": "Shakespeare, the course's text",
    "python": "Python's own source code, which is already here",
}
MAX_STORED = 20
PLAN_SECONDS = 300
MAX_PLAN_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class PlanPreview:
    """The plan of a training that has not begun."""

    minutes: float
    parameters: int
    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    steps: int
    tokens: int
    epochs: float
    memory_bytes: int
    expected: tuple[float, float, float] | None
    """forecast of the validation loss, with the limits of its interval"""

    def rows(self) -> list[tuple[str, str]]:
        """Return the names and values to show."""
        shape = f"{self.n_layer} layers, {self.n_head} heads, {self.n_embd} channels, context {self.block_size}"
        rows = [
            ("Time", f"{format_minutes(self.minutes)}, everything included"),
            ("Size", f"{self.parameters:,} parameters: {shape}"),
            ("Steps", f"{self.steps:,}, which read {self.tokens:,} tokens: the text {self.epochs:.1f} times"),
            ("Memory", f"about {self.memory_bytes / 1e9:.1f} GB"),
        ]
        if self.expected is None:
            return [*rows, ("Expected loss", "no forecast for a training of this kind")]
        loss, low, high = self.expected
        value = f"{loss:.2f} nats per token; nine in ten fall between {low:.2f} and {high:.2f}"
        return [*rows, ("Expected loss", value)]


def parse_preview(output: bytes) -> PlanPreview:
    """Parse the output of `nanogpt plan --json`; raise UserError for anything else."""
    try:
        (row,) = json.loads(output)
        model, expected = row["config"]["model"], row["expected"]
        sizes = {name: int(model[name]) for name in ("n_layer", "n_head", "n_embd", "block_size")}
        counts = {name: int(row[name]) for name in ("parameters", "steps", "tokens", "memory_bytes")}
        times = {name: _finite(row[name]) for name in ("minutes", "epochs")}
        interval = None if expected is None else tuple(_finite(expected[one]) for one in ("loss", "low", "high"))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError("the plan could not be read: run `nanogpt plan` in a terminal to see what is wrong") from None
    return PlanPreview(**sizes, **counts, **times, expected=interval)  # type: ignore[arg-type]


def _finite(value: Any) -> float:
    if not math.isfinite(value):
        raise ValueError
    return float(value)


async def preview_plan(text: str, minutes: float, folder: Path) -> PlanPreview:
    """Plan a training on a text. The process ends if the task is cancelled. Raises UserError with its message."""
    process = await start_piped(nanogpt_command("plan", text, "--minutes", f"{minutes:g}", "--json"), folder)
    try:
        out, errors = await asyncio.wait_for(process.communicate(), PLAN_SECONDS)
    except TimeoutError:
        raise UserError(f"planning took more than {PLAN_SECONDS} seconds and was stopped: try again") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode or len(out) > MAX_PLAN_BYTES:
        lines = [line.strip() for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
        message = lines[-1].removeprefix("nanogpt: ")[:1000] if lines else "planning failed without a message"
        raise UserError(message)
    return parse_preview(out)


def format_minutes(minutes: float) -> str:
    """Return a time in words.

    >>> [format_minutes(one) for one in (0.1, 1, 20, 120)]
    ['6 seconds', '1 minute', '20 minutes', '2 hours']
    """
    if minutes < 1:
        return f"{minutes * 60:g} seconds"
    if minutes < 60:
        return f"{minutes:g} minute{'s' if minutes != 1 else ''}"
    return f"{minutes / 60:g} hour{'s' if minutes != 60 else ''}"


class TrainingForm:
    """A card of the page. `started` is called with the name of a run that was started."""

    def __init__(self, folder: Path, jobs: Jobs, started: Callable[[str], Any]) -> None:
        self._folder, self._jobs, self._started = folder, jobs, started
        self._planned: tuple[str, str, float] | None = None
        """text, name and minutes of the plan"""
        self._task: asyncio.Task[PlanPreview] | None = None
        self._source, self._minutes = OWN, float(MINUTES[DEFAULT_INDEX])
        with card("Train a model on a text").classes("start"):
            self._choice = select("Text", self._sources(), OWN, self._choose)
            self._upload = TextUpload(folder)
            self._upload.on("change", self._reset)
            NamedSlider("Time", [format_minutes(one) for one in MINUTES], DEFAULT_INDEX, self._choose_minutes)
            with Tag("div", "buttons"):
                self._plan = button("Show the plan", self._make_plan, "primary")
                self._go = button("Start the training", self._start, "primary", disabled=True)
                self._status = Text("span", "", "status", role="status")
            self._rows = Tag("dl", "facts", aria_label="The plan")
            self._rows.set_visibility(False)

    def _sources(self) -> dict[str, str]:
        stored = {f"{STORED}{one.name}": one.name for one in stored_texts(self._folder)[:MAX_STORED]}
        return {OWN: "paste or drop one"} | stored | {f"{CORPUS}{name}": label for name, label in CORPORA.items()}

    def _choose(self, source: str) -> None:
        self._source = source
        self._upload.set_visibility(source == OWN)
        self._reset()

    def _choose_minutes(self, index: int) -> None:
        self._minutes = float(MINUTES[index])
        self._reset()

    def _reset(self) -> None:
        """Drop the plan: something else is asked for."""
        self.close()
        if self._planned is not None:
            self._set_status("")
        self._planned = None
        self._go.set(disabled=True)
        self._rows.set_visibility(False)

    async def _find_text(self) -> tuple[str, str]:
        """Return the path or name of the text, and the name of a run on it. Raises UserError."""
        if self._source.startswith(CORPUS):
            name = self._source.removeprefix(CORPUS)
            if name not in CORPORA:
                raise UserError(f"there is no text {name!r} here")
            return name, name
        name = await self._upload.send() if self._source == OWN else self._source.removeprefix(STORED)
        path = await asyncio.to_thread(find_text, self._folder, name)
        return str(path), re.sub(r"-[0-9a-f]{8}$", "", path.stem)

    async def _make_plan(self) -> None:
        self._reset()
        minutes = self._minutes
        self._plan.set(disabled=True)
        self._set_status("Reading the text and measuring this machine …")
        try:
            text, name = await self._find_text()
            self._task = asyncio.create_task(preview_plan(text, minutes, self._folder))
            found = await self._task
        except UserError as error:
            self._set_status(f"{capitalized(str(error))}.", warning=True)
        except asyncio.CancelledError:  # something else is asked for by now
            self._set_status("")
        else:
            self._planned = (text, name, minutes)
            self._show(found)
            self._go.set(disabled=False)
            self._set_status("This is the plan. Nothing has been started yet.")
        finally:
            self._task = None
            self._plan.set(disabled=False)

    def _show(self, found: PlanPreview) -> None:
        self._rows.clear()
        with self._rows:
            for name, value in found.rows():
                with Tag("div"):
                    Text("dt", name)
                    Text("dd", value)
        self._rows.set_visibility(True)

    async def _start(self) -> None:
        if self._planned is None:
            return
        text, name, minutes = self._planned
        self._reset()
        try:
            run = await asyncio.to_thread(self._jobs.start, text, minutes, name)
        except (UserError, OSError) as error:
            self._set_status(f"It could not be started: {error}", warning=True)
            return
        self._choice.set_options(self._sources(), self._source)
        self._set_status(f"Started as {run.name}. It goes on when this page is closed.")
        self._started(run.name)

    def _set_status(self, text: str, warning: bool = False) -> None:
        self._status.set_text(text)
        self._status.classes(add="warning" if warning else "", remove="" if warning else "warning")

    def close(self) -> None:
        """Cancel a preview that nobody waits for any more."""
        if self._task is not None:
            self._task.cancel()
