"""The command line as a user meets it, in this process or another."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from nanogpt.cli.main import main


@pytest.fixture
def nanogpt(capsys, monkeypatch):
    """Run a command: `nanogpt("info", "book.txt")`; what it printed, and its exit code."""
    monkeypatch.setenv("COLUMNS", "90")

    def run(*words):
        capsys.readouterr()
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            code = main([str(word) for word in words])
        except SystemExit as error:
            code = error.code
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    return run


@pytest.fixture
def refuses(nanogpt):
    """A command that fails with code 2 and these words on standard error, and leaves every file as it was."""

    def check(*words, saying=()):
        before = snapshot()
        found = nanogpt(*words)
        assert found.code == 2, found
        assert all(part in found.err for part in saying), found.err
        assert "Traceback" not in found.err
        assert found.out == ""
        assert snapshot() == before
        return found

    return check


def snapshot():
    """Every file below the working folder, and when it was changed."""
    paths = {path for path in Path.cwd().rglob("*") if ".hypothesis" not in path.parts}
    return {path: path.stat().st_mtime_ns if path.is_file() else None for path in paths}


@pytest.fixture
def process():
    started = []

    def start(*words, **options):
        # A shell's background jobs ignore Ctrl-C, and so would what they start.
        if os.name == "posix":
            options = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} | options
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | options
        command = [sys.executable, "-m", "nanogpt", *map(str, words)]
        started.append(subprocess.Popen(command, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}, **pipes))
        return started[-1]

    yield start
    for one in started:
        if one.poll() is None:
            one.kill()
        with contextlib.suppress(BrokenPipeError, ValueError):  # a pipe that the test has closed
            one.communicate()
