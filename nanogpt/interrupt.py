"""Ctrl-C and SIGTERM while a training runs: the first saves and stops, the second ends at once."""

import signal
import sys
import threading
from types import TracebackType
from typing import Any

from nanogpt.distributed import ALONE, World

SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
            self._before = {number: signal.signal(number, self._remember) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _remember(self, number: int, frame: Any) -> None:
        if self._world.size == 1:
            self._restore()
            print("\nnanogpt: saving at the end of this step; once more to stop at once", file=sys.stderr)
        elif self._world.main and not self._asked:
            print("\nnanogpt: saving at the end of this step", file=sys.stderr)
        self._asked = True

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())
