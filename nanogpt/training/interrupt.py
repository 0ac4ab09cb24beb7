"""Ctrl-C, SIGTERM and a lost terminal during training: the first saves and stops, a second stops at once."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from nanogpt.parallel.world import ALONE, World

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""A second one of these stops at once."""
HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""Sent when a terminal is closed or a connection lost, often twice: a second one asks for nothing more."""


class Interrupt:
    """Remembers the first signal inside its `with` block; call it to ask whether there was one.

    A second signal has its usual effect, unless there are several processes: torchrun passes signals on and ends
    processes that don't end. Handlers belong to the main thread; in another one nothing changes.
    """

    def __init__(self, world: World = ALONE) -> None:
        self._world, self._received = world, False
        self._handlers: dict[signal.Signals, Any] = {}

    def __call__(self) -> bool:
        """Return whether the training should save and stop."""
        return self._received

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            # nohup ignores SIGHUP for what should outlive the terminal: then it stays ignored.
            hangup = [HANGUP] if HANGUP is not None and signal.getsignal(HANGUP) != signal.SIG_IGN else []
            self._handlers = {number: signal.signal(number, self._receive) for number in (*SIGNALS, *hangup)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore(tuple(self._handlers))

    def _receive(self, number: int, frame: Any) -> None:
        again, self._received = self._received, True  # before the message, which may fail
        if self._world.size == 1 and number != HANGUP:
            self._restore(SIGNALS)
            _report("saving after this step or evaluation; press again to stop at once")
        elif self._world.main and not again:
            _report("saving after this step or evaluation")

    def _restore(self, numbers: Iterable[signal.Signals]) -> None:
        for number in numbers:
            if number in self._handlers:
                signal.signal(number, self._handlers.pop(number))


def _report(text: str) -> None:
    # Ctrl-C also ends the `tee` behind a pipe, and a handler may run in the middle of another print.
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        print(f"\nnanogpt: {text}", file=sys.stderr)
