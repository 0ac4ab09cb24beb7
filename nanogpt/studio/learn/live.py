"""One run as it learns: its curves, its speed, what it writes; stopped and gone on with."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.plan import Plan
from nanogpt.studio.learn.chart import Line
from nanogpt.studio.learn.controls import Picture
from nanogpt.studio.learn.curves import Metrics
from nanogpt.studio.learn.jobs import Jobs, Stage, log_file
from nanogpt.studio.learn.logs import last_words, read_tail
from nanogpt.studio.learn.samples import Samples
from nanogpt.studio.parts import Tag, Text, button, card, choose
from nanogpt.studio.shelf import Shelf

NONE = ""
DRAW_SECONDS = 3.0
"""Between two pictures of a training that goes on: drawing takes more of its cores than all else on the page."""
STEPS, NATS = "steps", "nats/token"
ASKED = "Asked to stop: it saves at the end of this step …"
STAGES = {
    Stage.STARTING: "Starting: it reads the text and measures this machine …",
    Stage.TRAINING: "Training.",
    Stage.ELSEWHERE: "Training. It was started in a terminal: Ctrl-C there stops it.",
}


@dataclass(frozen=True)
class News:
    """What one reading found."""

    stage: Stage
    grown: bool
    plan: Plan | None
    said: str
    saved: int | None
    """the step that a training goes on from; metrics may end earlier, as not every step is logged"""


class Watch:
    """A run that is being watched: what is read of it, outside of the event loop."""

    def __init__(self, path: Path, jobs: Jobs) -> None:
        self.path, self._jobs = path, jobs
        self.metrics = Metrics(path)
        self._log_stamp: tuple[int, int] | None = None
        self._plan_stamp: int | None = None
        self._plan: Plan | None = None
        self._said = ""

    def read(self) -> News:
        """What is new."""
        stage = self._jobs.stage(self.path)
        grown = self.metrics.read()
        return News(stage, grown, self._read_plan(), self._read_log(), self._read_saved())

    def _read_plan(self) -> Plan | None:
        """The plan, read again where it was changed on the way."""
        try:
            stamp = (self.path / "plan.toml").stat().st_mtime_ns
            if stamp != self._plan_stamp:
                self._plan, self._plan_stamp = RunFolder(self.path).read_plan(), stamp
        except (UserError, OSError):
            self._plan = None
        return self._plan

    def _read_saved(self) -> int | None:
        try:
            return RunFolder(self.path).checkpoints.pointer("last")
        except (UserError, OSError):
            return None

    def _read_log(self) -> str:
        try:
            stat = log_file(self.path).stat()
        except OSError:
            return ""
        if (stat.st_size, stat.st_mtime_ns) != self._log_stamp:
            self._said, self._log_stamp = read_tail(log_file(self.path)), (stat.st_size, stat.st_mtime_ns)
        return self._said


class Live:
    """The part of the page. `chosen` is told the name of the run that is looked at."""

    def __init__(self, shelf: Shelf, jobs: Jobs, chosen: Callable[[str], Any]) -> None:
        self._shelf, self._jobs, self._chosen = shelf, jobs, chosen
        self._name = NONE
        self._names: list[str] = []
        self._watch: Watch | None = None
        self._asked = False
        self._drawn = 0.0
        """when the curves were drawn last; 0 for never"""
        self._grown = True
        with card("See it learn").classes("live"):
            self._choice = choose("Run", {NONE: "no run yet"}, NONE, self.use)
            with Tag("div", "buttons"):
                self._stop = button("Stop and save", self._ask_stop, disabled=True)
                self._resume = button("Go on", self._ask_resume, disabled=True)
                self._status = Text("span", "", "status", role="status")
            self._bar = Tag("progress", "bar", max=1, value=0, aria_label="Steps done")
            self._facts: dict[str, Text] = {}
            with Tag("dl", "facts numbers-row"):
                for name in ("Step", "Training loss", "Validation loss", "Speed", "Time left"):
                    with Tag("div"):
                        Text("dt", name)
                        self._facts[name] = Text("dd", "–")
            self._picture = Picture("Loss while training")
            self._samples = Samples()
            with Tag("details") as self._words:
                Text("summary", "What its process said last")
                self._log = Text("pre", "", "sample", tabindex="0", role="region", aria_label="What its process said")
            self._words.set_visibility(False)

    def offer(self, names: Sequence[str], beginning: Sequence[str], wanted: str = NONE) -> None:
        """The runs that there are, the newest first, and those whose process has not made their folder yet.

        As long as none is looked at, the one that is wanted, or the first, is from now on.
        """
        found = [*beginning, *(one for one in names if one not in beginning)]
        if self._name and self._name not in found:
            found = [self._name, *found]  # it has just been started, or has failed before it began
        if found != self._names:
            self._names = found
            if not self._name and found:
                self.use(wanted if wanted in found else found[0])
            self._choice.offer({one: one for one in found} or {NONE: "no run yet"}, self._name)

    def begin(self, name: str) -> None:
        """Look at a run that has just been started."""
        self._names = [name, *(one for one in self._names if one != name)]
        self._choice.offer({one: one for one in self._names}, name)
        self.use(name)

    def use(self, name: str) -> None:
        """Look at another run."""
        if name not in self._names:
            return
        self._name, self._asked = name, False
        path = self._shelf.folder if self._shelf.is_run else self._shelf.folder / name
        self._watch = Watch(path, self._jobs)
        self._drawn, self._grown = 0.0, True
        self._chosen(name)

    async def tick(self) -> None:
        """Read what is new, and show it."""
        watch = self._watch
        if watch is None:
            return
        news = await asyncio.to_thread(watch.read)
        if watch is not self._watch:
            return
        self._show_stage(watch, news)
        self._grown |= news.grown
        if self._grown and (news.stage is Stage.RESTING or time.monotonic() - self._drawn >= DRAW_SECONDS):
            self._picture.show(loss_lines(watch.metrics), STEPS, NATS)
            self._drawn, self._grown = time.monotonic(), False
        self._show_facts(watch.metrics, news)
        self._samples.show(watch.metrics.samples, coming=news.stage is not Stage.RESTING or news.saved is None)
        self._show_words(last_words(news.said))

    def _show_stage(self, watch: Watch, news: News) -> None:
        resting = news.stage is Stage.RESTING
        done = watch.metrics.done is not None
        self._asked = self._asked and not resting
        if not resting:
            told = ASKED if self._asked else STAGES[news.stage]
        elif done:
            told = f"Done: validation loss {watch.metrics.done['loss']:.4f}." if watch.metrics.done else ""
        elif news.plan is None:
            told = "It ended before it began: see below what it said."
        elif news.plan.imported:
            told = "This model came from elsewhere: there is no training to see."
        else:
            told = f"At rest after step {news.saved or 0:,} of {news.plan.total_steps:,}. It can go on."
        if self._status.text != told:
            self._status.set_text(told)
        can_stop = news.stage in (Stage.TRAINING, Stage.STARTING) and not self._asked
        can_resume = resting and not done and news.plan is not None and not news.plan.imported
        _enable(self._stop, can_stop)
        _enable(self._resume, can_resume)

    def _show_facts(self, metrics: Metrics, news: News) -> None:
        total = 0 if news.plan is None else news.plan.total_steps
        train, val, left = metrics.train.newest, metrics.val.newest, metrics.seconds_left(total)
        learning = news.stage in (Stage.TRAINING, Stage.ELSEWHERE)
        speed = metrics.tokens_per_second
        told = {
            "Step": f"{metrics.step:,} of {total:,}" if total else "–",
            "Training loss": "–" if train is None else f"{train.loss:.3f}",
            "Validation loss": "–" if val is None else f"{val.loss:.3f}",
            "Speed": "–" if speed is None else f"{speed:,.0f} tokens/s",
            "Time left": time_told(left) if learning and left is not None else "–",
        }
        for name, text in told.items():
            if self._facts[name].text != text:
                self._facts[name].set_text(text)
        share = round(min(1.0, metrics.step / total), 4) if total else 0
        if self._bar.props["value"] != share:
            self._bar.set(value=share)

    def _show_words(self, words: str) -> None:
        if self._log.text != words:
            self._log.set_text(words)
        self._words.set_visibility(bool(words))

    async def _ask_stop(self) -> None:
        await self._ask(self._jobs.stop, asked=True)

    async def _ask_resume(self) -> None:
        await self._ask(self._jobs.resume, asked=False)

    async def _ask(self, what: Callable[[Path], None], asked: bool) -> None:
        if self._watch is None:
            return
        try:
            await asyncio.to_thread(what, self._watch.path)
            self._asked = asked
        except (UserError, OSError) as error:
            self._status.set_text(str(error))
            return
        await self.tick()


def _enable(one: Text, enabled: bool) -> None:
    if one.props.get("disabled") is not (not enabled):
        one.set(disabled=not enabled)


def loss_lines(metrics: Metrics) -> list[Line]:
    """Both losses of a run."""
    train, val = metrics.train.all, metrics.val.all
    return [
        Line(name="training", x=[one.step for one in train], y=[one.loss for one in train], style=0, faint=True),
        Line(name="validation", x=[one.step for one in val], y=[one.loss for one in val], style=1),
    ]


def time_told(seconds: float) -> str:
    """A time that is left, in words.

    >>> [time_told(one) for one in (3.2, 75, 4030)]
    ['about 3 s', 'about 1 min 15 s', 'about 1 h 7 min']
    """
    whole = round(seconds)
    if whole < 60:
        return f"about {whole} s"
    if whole < 3600:
        return f"about {whole // 60} min {whole % 60} s"
    return f"about {whole // 3600} h {whole % 3600 // 60} min"
