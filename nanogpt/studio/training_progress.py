"""A run while it learns: curves, speed, remaining time, samples; stop and resume."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError, counted
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.plan import Plan
from nanogpt.studio.chart import Chart, Curve
from nanogpt.studio.elements import Tag, Text, button, card, hint, sample_text, select
from nanogpt.studio.registry import RunRegistry
from nanogpt.studio.run_metrics import Metrics, Sample
from nanogpt.studio.training_jobs import Jobs, Stage, last_lines, log_file, read_tail

NONE = ""
DRAW_SECONDS = 3.0
"""Between two drawings of a running training's curves, the most expensive part of the page."""
STEPS, NATS = "steps", "nats/token"
STOPPING = "Stopping: it saves after this step …"
STAGES = {
    Stage.STARTING: "Starting: it reads the text and measures this machine …",
    Stage.TRAINING: "Training.",
    Stage.ELSEWHERE: "Training. It was started in a terminal: Ctrl-C there stops it.",
}
NEWEST = "What it wrote last"


class RunReader:
    """The state of a run, from its files, as of the last `read`."""

    def __init__(self, path: Path, jobs: Jobs) -> None:
        self.path, self._jobs = path, jobs
        self.metrics = Metrics(path)
        self.stage = Stage.IDLE
        self.grown = True
        """whether metrics were added since the curves were drawn"""
        self.plan: Plan | None = None
        self.saved: int | None = None
        """step that the training resumes from; metrics may end earlier, as not every step is logged"""
        self.output = ""
        """last lines of the process's log"""

    def read(self) -> None:
        """Read everything again, of the metrics only what is new. Not for the event loop."""
        self.stage = self._jobs.stage(self.path)
        self.grown |= self.metrics.read()
        self.output = last_lines(read_tail(log_file(self.path)))
        try:
            folder = RunFolder(self.path)
            self.plan, self.saved = folder.read_plan(), folder.checkpoints.pointer("last")
        except (UserError, OSError):
            self.plan = self.saved = None


class TrainingProgress:
    """A card of the page. `chosen` is called with the name of the run that is shown."""

    def __init__(self, registry: RunRegistry, jobs: Jobs, chosen: Callable[[str], Any]) -> None:
        self._registry, self._jobs, self._chosen = registry, jobs, chosen
        self._name = NONE
        self._names: list[str] = []
        self._reader: RunReader | None = None
        self._stopping = False
        self._drawn = 0.0
        """when the curves were last drawn; 0 for never"""
        with card("See it learn").classes("live"):
            self._choice = select("Run", {NONE: "no run yet"}, NONE, self.use)
            with Tag("div", "buttons"):
                self._stop = button("Stop and save", lambda: self._act(jobs.stop, stopping=True), disabled=True)
                self._resume = button("Resume", lambda: self._act(jobs.resume, stopping=False), disabled=True)
                self._status = Text("span", "", "status", role="status")
            self._bar = Tag("progress", "bar", max=1, value=0, aria_label="Steps done")
            self._facts: dict[str, Text] = {}
            with Tag("dl", "facts numbers-row"):
                for name in ("Step", "Training loss", "Validation loss", "Speed", "Time left"):
                    with Tag("div"):
                        Text("dt", name)
                        self._facts[name] = Text("dd", "–")
            self._chart = Chart("Loss while training")
            self._samples = SampleList()
            with Tag("details") as self._log_details:
                Text("summary", "The last output of its process")
                self._log = sample_text("Output of its process")
            self._log_details.set_visibility(False)

    def set_runs(self, names: Sequence[str], starting: Sequence[str], wanted: str = NONE) -> None:
        """Offer the runs that are starting, then the others; if none is shown yet, show `wanted` or the first."""
        found = [*starting, *(one for one in names if one not in starting)]
        if self._name and self._name not in found:
            found = [self._name, *found]  # just started, or failed before it made its folder
        if found != self._names:
            self._names = found
            if not self._name and found:
                self.use(wanted if wanted in found else found[0])
            self._choice.set_options({one: one for one in found} or {NONE: "no run yet"}, self._name)

    def add(self, name: str) -> None:
        """Show a run that was just started."""
        self._names = [name, *(one for one in self._names if one != name)]
        self._choice.set_options({one: one for one in self._names}, name)
        self.use(name)

    def use(self, name: str) -> None:
        """Show another run."""
        if name not in self._names:
            return
        self._name, self._stopping = name, False
        self._reader = RunReader(self._registry.expected_path(name), self._jobs)
        self._drawn = 0.0
        self._chosen(name)

    async def tick(self) -> None:
        """Read what is new, and show it."""
        reader = self._reader
        if reader is None:
            return
        await asyncio.to_thread(reader.read)
        if reader is not self._reader:
            return
        self._show_stage(reader)
        idle = reader.stage is Stage.IDLE
        if reader.grown and (idle or time.monotonic() - self._drawn >= DRAW_SECONDS):
            self._chart.show(loss_curves(reader.metrics), STEPS, NATS)
            self._drawn, reader.grown = time.monotonic(), False
        self._show_facts(reader)
        self._samples.show(reader.metrics.samples, coming=not idle or reader.saved is None)
        self._log.set_text(reader.output)
        self._log_details.set_visibility(bool(reader.output))

    def _show_stage(self, reader: RunReader) -> None:
        idle, done, plan = reader.stage is Stage.IDLE, reader.metrics.done, reader.plan
        self._stopping = self._stopping and not idle
        if not idle:
            status = STOPPING if self._stopping else STAGES[reader.stage]
        elif done is not None:
            status = f"Done: validation loss {done['loss']:.4f}."
        elif plan is None:
            status = "It ended before the training began: see its last output below."
        elif plan.imported:
            status = "This model was imported: there is no training to show."
        else:
            status = f"Paused at step {reader.saved or 0:,} of {plan.total_steps:,}."
        self._status.set_text(status)
        self._stop.set(disabled=self._stopping or reader.stage not in (Stage.TRAINING, Stage.STARTING))
        self._resume.set(disabled=not idle or done is not None or plan is None or plan.imported)

    def _show_facts(self, reader: RunReader) -> None:
        metrics, total = reader.metrics, 0 if reader.plan is None else reader.plan.total_steps
        train, val, left = metrics.train.newest, metrics.val.newest, metrics.seconds_left(total)
        training = reader.stage in (Stage.TRAINING, Stage.ELSEWHERE)
        speed = metrics.tokens_per_second
        facts = {
            "Step": f"{metrics.step:,} of {total:,}" if total else "–",
            "Training loss": "–" if train is None else f"{train.loss:.3f}",
            "Validation loss": "–" if val is None else f"{val.loss:.3f}",
            "Speed": "–" if speed is None else f"{speed:,.0f} tokens/s",
            "Time left": format_seconds(left) if training and left is not None else "–",
        }
        for name, text in facts.items():
            self._facts[name].set_text(text)
        self._bar.set(value=round(min(1.0, metrics.step / total), 4) if total else 0)

    async def _act(self, action: Callable[[Path], None], stopping: bool) -> None:
        if self._reader is None:
            return
        try:
            await asyncio.to_thread(action, self._reader.path)
            self._stopping = stopping
        except (UserError, OSError) as error:
            self._status.set_text(str(error))
            return
        await self.tick()


class SampleList:
    """The samples of a run, the newest first. Sent to the browser only when something changed."""

    def __init__(self) -> None:
        self._shown: list[Sample] = []
        Text("h3", NEWEST)
        self._about = hint()
        self._text = sample_text(NEWEST)
        self._text.set_visibility(False)
        with Tag("details") as self._earlier:
            Text("summary", "Earlier samples")
            self._list = Tag("div", "earlier")
        self._earlier.set_visibility(False)

    def show(self, samples: Sequence[Sample], coming: bool) -> None:
        """Replace the samples, the last of them the newest; `coming` says whether more may follow."""
        newest_first = list(reversed(samples))
        if newest_first:
            about = sample_title(newest_first[0])
        else:
            about = "Nothing yet: it writes after each evaluation." if coming else "This run kept no samples."
        self._about.set_text(about)
        if newest_first != self._shown:
            self._shown = newest_first
            self._text.set_text(newest_first[0].text if newest_first else "")
            self._text.set_visibility(bool(self._text.text))
            self._earlier.set_visibility(len(newest_first) > 1)
            self._list.clear()
            with self._list:
                for one in newest_first[1:]:
                    hint(sample_title(one))
                    if one.text:
                        sample_text(sample_title(one).rstrip(":"), one.text)


def sample_title(sample: Sample) -> str:
    """Return when a sample was written.

    >>> [sample_title(one) for one in (Sample(0, "qx"), Sample(1024, "the cat"), Sample(2048, ""))]
    ['Before the first step:', 'After 1,024 steps:', 'After 2,048 steps: nothing.']
    """
    when = f"After {counted(sample.step, 'step')}" if sample.step else "Before the first step"
    return f"{when}:" if sample.text else f"{when}: nothing."


def loss_curves(metrics: Metrics) -> list[Curve]:
    """Return the training and the validation loss of a run."""
    train, val = metrics.train.all, metrics.val.all
    return [
        Curve(name="training", x=[one.step for one in train], y=[one.loss for one in train], style=0, faint=True),
        Curve(name="validation", x=[one.step for one in val], y=[one.loss for one in val], style=1),
    ]


def format_seconds(seconds: float) -> str:
    """Return an approximate time.

    >>> [format_seconds(one) for one in (3.2, 75, 4030)]
    ['about 3 s', 'about 1 min 15 s', 'about 1 h 7 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"about {whole} s"
    if whole < 3600:
        return f"about {whole // 60} min {whole % 60} s"
    return f"about {whole // 3600} h {whole % 3600 // 60} min"
