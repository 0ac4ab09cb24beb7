"""Settings of the process that make training faster, and signals that stop it.

The settings (OpenMP's idle threads, the C library's freed memory) change how long a training takes, never what it
computes. The command line makes them when it starts. A library call doesn't change its host process: from Python, call
`keep_freed_memory` yourself before you train. Their environment variables take precedence if you set them.

During training the first Ctrl-C, SIGTERM or lost terminal saves and stops; a second stops at once.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nanogpt.parallel.world import World

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of mallopt, as in glibc's malloc.h"""
MALLOC_SETTINGS = (
    (M_MMAP_THRESHOLD, 32 << 20),  # the largest that glibc takes; its default starts at 128 KiB
    (M_TRIM_THRESHOLD, (1 << 31) - 1),
    (M_TOP_PAD, 64 << 20),
)
MALLOC_VARIABLES = ("GLIBC_TUNABLES", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""A second one of these stops at once."""
HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
"""Sent when a terminal is closed or a connection lost, often twice: a second one is ignored."""


def prepare_process() -> None:
    """Apply both settings; call it before torch is imported."""
    limit_spinning()
    keep_freed_memory()


def limit_spinning() -> None:
    """Let OpenMP's idle threads spin for a moment only, then sleep; libgomp reads this when torch loads it.

    A spinning thread takes the processor from the thread it waits for as soon as anything else runs: next to one busy
    program, a step of a small model took 4 to 50 times as long. Sleeping at once (OMP_WAIT_POLICY=PASSIVE) costs a
    quiet machine nearly half its speed.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "3000"


def keep_freed_memory() -> None:
    """Let glibc keep the memory of freed tensors below 32 MB, up to 2 GB, for the tensors of the next step.

    Otherwise it returns the memory to the system and requests it again page by page: with 5 layers of 192 channels and
    4,096 tokens a step, 40,000 page faults and a fifth of the time. Other C libraries are left alone.
    """
    if sys.platform != "linux" or any(name in os.environ for name in MALLOC_VARIABLES):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        for parameter, value in MALLOC_SETTINGS:
            mallopt(parameter, value)


class Interrupt:
    """Remembers the first signal inside its `with` block; call it to ask whether there was one.

    A second signal has its usual effect, unless there are several processes: torchrun passes signals on and ends
    processes that don't end. Handlers belong to the main thread; in another one nothing changes.
    """

    def __init__(self, world: "World | None" = None) -> None:
        self._reports = world is None or world.main
        self._alone, self._received = world is None or world.size == 1, False
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
        if self._alone and number != HANGUP:
            self._restore(SIGNALS)
            _report("saving after this step or evaluation; press again to stop at once")
        elif self._reports and not again:
            _report("saving after this step or evaluation")

    def _restore(self, numbers: Iterable[signal.Signals]) -> None:
        for number in numbers:
            if number in self._handlers:
                signal.signal(number, self._handlers.pop(number))


def _report(text: str) -> None:
    # Ctrl-C also ends the `tee` behind a pipe, and a handler may run in the middle of another print.
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        print(f"\nnanogpt: {text}", file=sys.stderr)
