"""This process: settings of OpenMP and the C library, and signals while a training runs."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import SMALL_RUN, write_text

from nanogpt.parallel.process import MALLOC_VARIABLES, Interrupt, limit_spinning
from nanogpt.parallel.world import World
from nanogpt.runs.run import load

FAULTS = """
import resource, sys
import numpy as np
from nanogpt.parallel.process import prepare_process
if sys.argv[1] == "keep":
    prepare_process()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(10):
    [np.ones(2_000_003) for _ in range(7)]  # 16 MB each
print(faults() - before)
"""


def page_faults(word: str, **variables: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name not in MALLOC_VARIABLES} | variables
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, word], env=environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc")
def test_freed_memory_is_reused_without_page_faults_unless_the_user_set_malloc():
    kept = page_faults("keep")
    assert kept < page_faults("leave") / 5
    assert kept < page_faults("keep", MALLOC_MMAP_THRESHOLD_="65536") / 5


def test_idle_threads_sleep_soon_unless_the_user_said_otherwise(monkeypatch):
    monkeypatch.setenv("GOMP_SPINCOUNT", "removed again after the test")
    monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    limit_spinning()
    assert "GOMP_SPINCOUNT" not in os.environ
    monkeypatch.delenv("OMP_WAIT_POLICY")
    limit_spinning()
    assert os.environ["GOMP_SPINCOUNT"] == "3000"


# Signals

HANGUP = getattr(signal, "SIGHUP", None)
needs_hangup = pytest.mark.skipif(HANGUP is None, reason="this system has no SIGHUP")


@pytest.fixture
def outside():
    """The signals that reach the handlers that a program has outside of a training."""
    seen = []
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM, HANGUP) if number is not None]
    before = {number: signal.signal(number, lambda number, frame: seen.append(number)) for number in numbers}
    yield seen
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    "error", [BrokenPipeError(), ValueError("closed file"), RuntimeError("reentrant call")], ids=repr
)
@pytest.mark.parametrize("world", [World(), World(size=2)], ids=["one process", "two"])
def test_a_message_that_cannot_be_written_does_not_lose_the_stop(outside, monkeypatch, error, world):
    """Ctrl-C also ends the `tee` behind a pipe."""

    class Gone:
        def write(self, text):
            raise error

    monkeypatch.setattr(sys, "stderr", Gone())
    with Interrupt(world) as interrupted:
        assert not interrupted()
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
    assert outside == []


@pytest.mark.parametrize(
    ("sent", "passed_on"),
    [
        ([signal.SIGINT], []),
        ([signal.SIGINT, signal.SIGTERM], [signal.SIGTERM]),  # the second has its usual effect
        ([signal.SIGTERM, signal.SIGTERM], [signal.SIGTERM]),
        pytest.param([HANGUP, HANGUP], [], marks=needs_hangup),  # shell and system both send it
        pytest.param([signal.SIGINT, HANGUP], [], marks=needs_hangup),
    ],
)
def test_the_first_signal_saves_and_the_second_ends(outside, capsys, sent, passed_on):
    with Interrupt() as interrupted:
        for number in sent:
            signal.raise_signal(number)
        assert interrupted()
        assert outside == passed_on
    signal.raise_signal(sent[0])
    assert outside == [*passed_on, sent[0]]
    assert capsys.readouterr().err.count("saving") == 1


def test_of_several_processes_the_main_one_reports_once_and_none_ends(outside, capsys):
    for rank in (0, 1):
        with Interrupt(World(rank=rank, size=2)) as interrupted:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            assert interrupted()
    assert outside == []
    assert capsys.readouterr().err.count("saving") == 1


@needs_hangup
def test_under_nohup_a_lost_terminal_is_ignored(outside):
    signal.signal(HANGUP, signal.SIG_IGN)
    with Interrupt() as interrupted:
        assert signal.getsignal(HANGUP) == signal.SIG_IGN
        signal.raise_signal(HANGUP)
        assert not interrupted()
    assert signal.getsignal(HANGUP) == signal.SIG_IGN


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, HANGUP], ids=["Ctrl-C", "a lost terminal"])
def test_a_real_training_saves_where_its_pipe_is_gone(outside, number):
    """As behind `2>&1 | tee log`, where Ctrl-C ends both. `outside` lets it ignore no signal from the start."""
    write_text()
    sizes = {**SMALL_RUN, "steps": 4000, "log_every": 1, "eval_every": 100_000, "out": "run"}
    flags = [word for name, value in sizes.items() for word in ("--" + name.replace("_", "-"), str(value))]
    training = subprocess.Popen(
        [sys.executable, "-m", "nanogpt", "train", "tale.txt", *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
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
