"""A run's `metrics.jsonl`, read as it grows: only appended lines are read, and memory stays bounded in a long run."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError
from nanogpt.files import check_plain
from nanogpt.reporting.events import SAMPLE_LIMIT

MAX_POINTS = 600
MAX_SAMPLES = 20
READ_BYTES = 4_000_000
"""Limit on what one call reads; the next one continues."""
RECENT = 5
"""Logged lines over which the speed is measured."""


@dataclass(frozen=True)
class Point:
    """A loss, with the steps and the seconds of training before it."""

    step: float
    seconds: float
    loss: float
    bits: float | None = None
    """loss in bits per byte, if measured"""


@dataclass(frozen=True)
class Sample:
    """A text that the model wrote after a step."""

    step: int
    text: str


@dataclass
class Points:
    """At most `most` points of a curve, in order; every second one is dropped when there are more."""

    most: int = MAX_POINTS
    kept: list[Point] = field(default_factory=list)
    newest: Point | None = None
    _stride: int = 1
    _seen: int = 0

    def add(self, point: Point) -> None:
        """Append a point."""
        self.newest = point
        if self._seen % self._stride == 0:
            self.kept.append(point)
        self._seen += 1
        if len(self.kept) > self.most:
            self.kept = self.kept[::2]
            self._stride *= 2

    @property
    def all(self) -> list[Point]:
        """The kept points and the newest one."""
        last = [] if self.newest is None or (self.kept and self.kept[-1] == self.newest) else [self.newest]
        return [*self.kept, *last]


class Metrics:
    """Losses, speed and samples of a run; `read` adds what is new."""

    def __init__(self, run: Path) -> None:
        self._run, self._file = run, run / "metrics.jsonl"
        self._reset()

    def _reset(self) -> None:
        self.train, self.val = Points(), Points()
        self.recent: list[tuple[int, float]] = []
        """step and seconds of the newest logged lines"""
        self.tokens_per_second: float | None = None
        self.samples: list[Sample] = []
        """the newest at the end"""
        self.done: dict[str, Any] | None = None
        """the last line of a finished run"""
        self._offset, self._inode = 0, -1

    def read(self) -> bool:
        """Read what was appended; return whether there was anything. A replaced file is read from the start."""
        try:
            check_plain(self._file, within=self._run)
            stat = self._file.stat()
            changed = self._inode != -1 and (stat.st_ino != self._inode or stat.st_size < self._offset)
            if changed:  # a resumed run drops what was logged after its checkpoint
                self._reset()
            self._inode = stat.st_ino
            if stat.st_size == self._offset:
                return changed
            with self._file.open("rb") as file:
                file.seek(self._offset)
                data = file.read(READ_BYTES)
        except (UserError, OSError):
            return False
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        for raw in data[:whole].splitlines():
            self._line(raw)
        return changed or whole > 0

    def _line(self, raw: bytes) -> None:
        try:
            line = json.loads(raw)
            event, step = line["event"], line["step"]
            if event == "sample":
                sample = Sample(int(_number(step)), _text(line["text"]))
                self.samples = [*self.samples[-MAX_SAMPLES + 1 :], sample]
                return
            loss, bits = _number(line["loss"]), line.get("bits_per_byte")
            point = Point(_number(step), _number(line["seconds"]), loss, None if bits is None else _number(bits))
            if event == "step":
                self.tokens_per_second = _number(line["tokens_per_second"])
                self.train.add(point)
                self.recent = [*self.recent[-RECENT:], (int(point.step), point.seconds)]
            elif event == "eval":
                self.val.add(point)
            elif event == "done":
                self.done = line
        except (ValueError, KeyError, TypeError, RecursionError):
            return  # an invalid line, or one of another event

    @property
    def step(self) -> int:
        """Last step in the log."""
        found = [one.newest.step for one in (self.train, self.val) if one.newest is not None]
        return int(max(found, default=0))

    def seconds_left(self, total_steps: int) -> float | None:
        """Return the time for the remaining steps at the current speed; None if unknown."""
        if self.done is not None or len(self.recent) < 2:
            return None
        (first, began), (last, now) = self.recent[0], self.recent[-1]
        if last <= first or now <= began:
            return None
        return max(0, total_steps - self.step) * (now - began) / (last - first)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _text(value: object) -> str:
    """Return a text that a page can show: of bounded length, without empty lines around it."""
    if not isinstance(value, str):
        raise ValueError
    # JSON can contain half of a surrogate pair, which cannot be sent to a browser.
    return value[:SAMPLE_LIMIT].strip("\n").encode("utf-8", "replace").decode()
