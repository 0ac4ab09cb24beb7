"""Ctrl-C, SIGTERM and a lost terminal while a training runs: the first saves and stops, a second ends at once."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from nanogpt.parallel.world import ALONE, World

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""A second one of these ends at once."""
HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""Sent where a terminal is closed or a connection lost, often twice, so that a second one asks for nothing more. None
on Windows."""


class Interrupt:
    """Inside its `with` block the first signal is remembered for the training to ask for; calling it asks.

    The second has the effect that it had before, unless there are several processes: torchrun, which passes signals on,
    then ends those that do not end, and the first of them speaks for all. Handlers belong to a program's main thread:
    in another nothing is changed, and Ctrl-C raises KeyboardInterrupt in the main one.
    """

    def __init__(self, world: World = ALONE) -> None:
        self._world, self._asked = world, False
        self._before: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Whether the training is asked to save and stop."""
        return self._asked

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in _heeded()}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore(tuple(self._before))

    def _remember(self, number: int, frame: Any) -> None:
        again, self._asked = self._asked, True  # before anything is told, which may fail
        if self._world.size == 1 and number != HANGUP:
            self._restore(SIGNALS)
            _tell("saving at the end of this step or evaluation; once more to stop at once")
        elif self._world.main and not again:
            _tell("saving at the end of this step or evaluation")

    def _restore(self, numbers: Iterable[signal.Signals]) -> None:
        for number in numbers:
            if number in self._before:
                signal.signal(number, self._before.pop(number))


def _heeded() -> list[signal.Signals]:
    """The signals to wait for. `nohup` ignores SIGHUP for what is to outlive the terminal, and so it stays ignored."""
    if HANGUP is None or signal.getsignal(HANGUP) == signal.SIG_IGN:
        return [*SIGNALS]
    return [*SIGNALS, HANGUP]


def _tell(text: str) -> None:
    # Ctrl-C ends the `tee` behind a pipe too, and a handler may come in the middle of another print.
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        print(f"\nnanogpt: {text}", file=sys.stderr)
