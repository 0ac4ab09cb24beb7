"""The form that starts a training: a text, the minutes, and a preview, made by `nanogpt plan` in its own process."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError, counted
from nanogpt.studio.elements import NamedSlider, Tag, Text, button, card, select
from nanogpt.studio.labels import capitalized
from nanogpt.studio.training_jobs import Jobs, last_line, nanogpt_command, start_piped
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


def plan_facts(output: bytes) -> dict[str, str]:
    """Return the facts to show about a plan, from the output of `nanogpt plan --json`."""
    [row] = json.loads(output)
    model, expected = row["config"]["model"], row["expected"]
    loss = "no forecast for a training of this kind"
    if expected is not None:
        low, high = expected["low"], expected["high"]
        loss = f"{expected['loss']:.2f} nats per token; nine in ten fall between {low:.2f} and {high:.2f}"
    return {
        "Time": f"{format_minutes(row['minutes'])}, everything included",
        "Size": f"{row['parameters']:,} parameters: "
        f"{counted(model['n_layer'], 'layer')}, {counted(model['n_head'], 'head')}, "
        f"{model['n_embd']} channels, context {model['block_size']}",
        "Steps": f"{row['steps']:,}, which read {row['tokens']:,} tokens: the text {row['epochs']:.1f} times",
        "Memory": f"about {row['memory_bytes'] / 1e9:.1f} GB",
        "Expected loss": loss,
    }


async def preview_plan(text: str, minutes: float, folder: Path) -> dict[str, str]:
    """Return `plan_facts` of a text. The process ends if the task is cancelled. Raises UserError with its message."""
    process = await start_piped(nanogpt_command("plan", text, "--minutes", f"{minutes:g}", "--json"), folder)
    try:
        out, errors = await asyncio.wait_for(process.communicate(), PLAN_SECONDS)
    except TimeoutError:
        raise UserError(f"planning took more than {PLAN_SECONDS} seconds and was stopped: try again") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise UserError(last_line(errors).removeprefix("nanogpt: ") or "planning failed without a message")
    return plan_facts(out)


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
        self._task: asyncio.Task[dict[str, str]] | None = None
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
        """Drop the plan, because the form has changed."""
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
        except asyncio.CancelledError:  # the form has changed
            self._set_status("")
        else:
            self._planned = (text, name, minutes)
            self._rows.clear()
            with self._rows:
                for fact, value in found.items():
                    with Tag("div"):
                        Text("dt", fact)
                        Text("dd", value)
            self._rows.set_visibility(True)
            self._go.set(disabled=False)
            self._set_status("This is the plan. Nothing has been started yet.")
        finally:
            self._task = None
            self._plan.set(disabled=False)

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
        """Cancel a preview that is no longer needed."""
        if self._task is not None:
            self._task.cancel()
