"""Signals while a training runs: what is asked is remembered, whatever becomes of the terminal."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import SMALL_RUN, write_text

from nanogpt.parallel.process import Interrupt
from nanogpt.parallel.world import World
from nanogpt.runs.run import load

HANGUP = getattr(signal, "SIGHUP", None)
needs_hangup = pytest.mark.skipif(HANGUP is None, reason="this system has no SIGHUP")


@pytest.fixture
def outside():
    """What came to the handlers that a program has outside of a training."""
    seen = []
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM, HANGUP) if number is not None]
    before = {number: signal.signal(number, lambda number, frame: seen.append(number)) for number in numbers}
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


class Gone:
    """A standard error that cannot be written to."""

    def __init__(self, error):
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), ValueError("closed file"), RuntimeError("reentrant call")], ids=repr
)
@pytest.mark.parametrize("world", [World(), World(size=2)], ids=["one process", "two"])
def test_a_message_that_nobody_can_read_loses_no_stop(outside, monkeypatch, error, world):
    """Ctrl-C ends the `tee` behind a pipe as well: the training then ended unsaved, with exit code 0."""
    monkeypatch.setattr(sys, "stderr", Gone(error))
    with Interrupt(world) as asked:
        assert not asked()
        signal.raise_signal(signal.SIGINT)
        assert asked()
    assert outside == []


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_second_one_has_the_effect_that_it_had_before(outside, capsys, first):
    with Interrupt() as asked:
        signal.raise_signal(first)
        assert (asked(), outside) == (True, [])
        signal.raise_signal(signal.SIGTERM)
        assert outside == [signal.SIGTERM]
    assert capsys.readouterr().err.count("saving at the end of this step or evaluation; once more") == 1


def test_the_first_of_several_processes_tells_it_once(outside, capsys):
    for rank in (0, 1):
        with Interrupt(World(rank=rank, size=2, local_rank=rank, local_size=2)) as asked:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            assert asked()
    assert outside == []
    assert capsys.readouterr().err == "\nnanogpt: saving at the end of this step or evaluation\n"


@needs_hangup
def test_a_lost_terminal_saves_too_however_often_it_is_told(outside):
    """A shell and the system both tell it: a second one that ended the process would come before it has saved."""
    with Interrupt() as asked:
        for _ in range(2):
            signal.raise_signal(HANGUP)
        assert (asked(), outside) == (True, [])
    signal.raise_signal(HANGUP)
    assert outside == [HANGUP]


@needs_hangup
def test_a_terminal_closed_after_ctrl_c_does_not_end_what_saves(outside):
    with Interrupt() as asked:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(HANGUP)
        assert (asked(), outside) == (True, [])


@needs_hangup
def test_under_nohup_a_lost_terminal_is_nothing(outside):
    signal.signal(HANGUP, signal.SIG_IGN)
    with Interrupt() as asked:
        assert signal.getsignal(HANGUP) == signal.SIG_IGN
        signal.raise_signal(HANGUP)
        assert not asked()
    assert signal.getsignal(HANGUP) == signal.SIG_IGN


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, HANGUP], ids=["Ctrl-C", "a lost terminal"])
def test_a_real_training_saves_where_its_pipe_is_gone(outside, number):
    """As behind `2>&1 | tee log`, of which Ctrl-C ends both. `outside` also has it ignore no signal from the start."""
    write_text()
    sizes = {**SMALL_RUN, "steps": 4000, "log_every": 1, "eval_every": 100_000, "out": "run"}
    flags = [word for name, value in sizes.items() for word in ("--" + name.replace("_", "-"), str(value))]
    training = subprocess.Popen(
        [sys.executable, "-m", "nanogpt", "train", "tale.txt", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        metrics, end = Path("run/metrics.jsonl"), time.monotonic() + 60
        while not (metrics.exists() and '"event": "step"' in metrics.read_text()):
            assert training.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        training.stdout.close()
        training.send_signal(number)
        training.wait(timeout=60)
    finally:
        training.kill()
        training.wait()
    assert load("run", checkpoint="last").step > 0
