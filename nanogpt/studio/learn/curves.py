"""A run's metrics as they grow: only what was appended is read, and however long a run is, few points are kept.

Of what it wrote on the way the newest samples are kept, each of bounded length.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError
from nanogpt.files import check_plain
from nanogpt.runs.folder import LINE_LIMIT, SAMPLE_LIMIT

MOST_POINTS = 600
MOST_SAMPLES = 20
READ_BYTES = 4_000_000
"""Read in one go; a longer file is read on at the next."""
RECENT = 5
"""Logged lines over which the speed is told."""


@dataclass(frozen=True)
class Point:
    """A loss after so many steps, and so many seconds of training."""

    step: float
    seconds: float
    loss: float
    bits: float | None = None
    """the loss in bits per byte, where it was measured"""


@dataclass(frozen=True)
class Sample:
    """What the model wrote after so many steps."""

    step: int
    text: str


@dataclass
class Points:
    """Points of a curve in the order of their steps, at most `most`: where there are more, every second one goes."""

    most: int = MOST_POINTS
    kept: list[Point] = field(default_factory=list)
    newest: Point | None = None
    _stride: int = 1
    _seen: int = 0

    def add(self, point: Point) -> None:
        """Add the next one."""
        self.newest = point
        if self._seen % self._stride == 0:
            self.kept.append(point)
        self._seen += 1
        if len(self.kept) > self.most:
            self.kept = self.kept[::2]
            self._stride *= 2

    @property
    def all(self) -> list[Point]:
        """Those that are kept, and the newest one."""
        last = [] if self.newest is None or (self.kept and self.kept[-1] == self.newest) else [self.newest]
        return [*self.kept, *last]


class Metrics:
    """What a run's metrics.jsonl holds; `read` takes in what is new."""

    def __init__(self, run: Path, most: int = MOST_POINTS) -> None:
        self._run, self._most = run, most
        self._file = run / "metrics.jsonl"
        self._forget()

    def _forget(self) -> None:
        self.train, self.val = Points(self._most), Points(self._most)
        self.recent: list[tuple[int, float]] = []
        """step and seconds of the newest logged lines"""
        self.tokens_per_second: float | None = None
        self.samples: list[Sample] = []
        """what it wrote last, the newest at the end"""
        self.done: dict[str, Any] | None = None
        """the last line of a finished run"""
        self.damaged = 0
        """lines that make no sense; a curve is drawn without them"""
        self._offset, self._inode, self._skipping = 0, -1, False

    def read(self) -> bool:
        """Take in what was appended; whether there was anything. A file that became another one is read anew."""
        try:
            check_plain(self._file, within=self._run)
            stat = self._file.stat()
            changed = self._inode != -1 and (stat.st_ino != self._inode or stat.st_size < self._offset)
            if changed:  # a resumed run forgets what was logged after its checkpoint
                self._forget()
            self._inode = stat.st_ino
            if stat.st_size == self._offset:
                return changed
            with self._file.open("rb") as file:
                file.seek(self._offset)
                data = file.read(READ_BYTES)
        except (UserError, OSError):
            return False
        return self._take(data) or changed

    def _take(self, data: bytes) -> bool:
        whole = data.rfind(b"\n") + 1
        if not whole:
            if len(data) > LINE_LIMIT:  # no line is so long: left out up to its end
                self._offset += len(data)
                self._skipping = True
            return False
        self._offset += whole
        lines = data[:whole].splitlines()
        for raw in lines[1:] if self._skipping else lines:
            self._line(raw)
        self.damaged += self._skipping
        self._skipping = False
        return True

    def _line(self, raw: bytes) -> None:
        try:
            line = json.loads(raw)
            event, step = line["event"], line["step"]
            if event == "sample":
                sample = Sample(int(_number(step)), _text(line["text"]))
                self.samples = [*self.samples[-MOST_SAMPLES + 1 :], sample]
            elif event in EVENTS:
                EVENTS[event](self, line, Point(_number(step), _number(line["seconds"]), _number(line["loss"])))
        except (ValueError, KeyError, TypeError, RecursionError):
            self.damaged += 1

    def _step(self, line: dict[str, Any], point: Point) -> None:
        speed = _number(line["tokens_per_second"])
        self.train.add(point)
        self.tokens_per_second = speed
        self.recent = [*self.recent[-RECENT:], (int(point.step), point.seconds)]

    def _eval(self, line: dict[str, Any], point: Point) -> None:
        bits = line.get("bits_per_byte")
        self.val.add(Point(point.step, point.seconds, point.loss, None if bits is None else _number(bits)))

    def _done(self, line: dict[str, Any], point: Point) -> None:
        self.done = line

    @property
    def step(self) -> int:
        """The last one that is known of."""
        found = [one.newest.step for one in (self.train, self.val) if one.newest is not None]
        return int(max(found, default=0))

    def seconds_left(self, total_steps: int) -> float | None:
        """How long the rest of the steps takes at the newest speed; None where that is not known."""
        if self.done is not None or len(self.recent) < 2:
            return None
        (first, began), (last, now) = self.recent[0], self.recent[-1]
        if last <= first or now <= began:
            return None
        return max(0, total_steps - self.step) * (now - began) / (last - first)


EVENTS: dict[str, Callable[[Metrics, dict[str, Any], Point], None]] = {
    "step": Metrics._step,
    "eval": Metrics._eval,
    "done": Metrics._done,
}


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _text(value: object) -> str:
    """A text that a page can show: of bounded length, without empty lines around it."""
    if not isinstance(value, str):
        raise ValueError
    # JSON can spell half of a pair of surrogates, which cannot be sent to a browser.
    return value[:SAMPLE_LIMIT].strip("\n").encode("utf-8", "replace").decode()
