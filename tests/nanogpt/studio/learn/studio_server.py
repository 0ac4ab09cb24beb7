"""The studio as a process of its own, and a browser on it: what the tests of both views share."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nanogpt.interop.html.browser import launch
from nanogpt.interop.opened import CannotRun
from nanogpt.studio.learn.jobs import Jobs

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SERVE = """
import socket, sys
from pathlib import Path
import uvicorn
from nanogpt.studio.app import make_app
from nanogpt.studio.shelf import Shelf
exec(sys.argv[2])
found = socket.socket()
found.bind(("127.0.0.1", 0))
found.listen()  # who comes early waits
print(found.getsockname()[1], flush=True)
app = make_app(Shelf(Path(sys.argv[1])))
uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)).run(sockets=[found])
"""
WAIT = 120_000
"""Milliseconds: other tests may run beside these."""


class Studio:
    """A server on the runs of a folder; `first` is what it does before all else."""

    def __init__(self, shelf: Path, first: str = "") -> None:
        pytest.importorskip("nicegui")
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(shelf), first], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        port = self.process.stdout.readline().strip()
        assert port.isdecimal(), "the studio did not start"
        self.address = f"http://127.0.0.1:{port}/"

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Window:
    """A browser's window on a view; what it complains about is in `errors`, what it asked elsewhere in `strangers`."""

    def __init__(self, browser: "Browser", studio: Studio, view: str, width: int = 1280, dark: bool = False) -> None:
        self.errors: list[str] = []
        self.strangers: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light")
        self.page.set_default_timeout(WAIT)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("request", self._note)
        self._own = studio.address
        self.page.goto(f"{studio.address}#view={view}")

    def _note(self, request) -> None:
        if not request.url.startswith((self._own, self._own.replace("http", "ws"), "data:", "blob:")):
            self.strangers.append(request.url)

    def violations(self) -> list[str]:
        """What axe finds wrong with the page as it is."""
        axe = pytest.importorskip("axe_core_python")
        self.page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
        found = self.page.evaluate("axe.run()")["violations"]
        return [f"{one['id']}: {one['help']} {[node['html'][:200] for node in one['nodes']]}" for one in found]

    def fits(self) -> bool:
        """Whether nothing stands out at the side."""
        return self.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@contextlib.contextmanager
def chromium() -> "Iterator[Browser]":
    """A browser; skips the test where there is none."""
    try:
        playwright, browser = launch()
    except CannotRun as error:
        pytest.skip(str(error))
    try:
        yield browser
    finally:
        browser.close()
        playwright.stop()


def end_trainings(shelf: Path) -> None:
    """Leave no process behind, also where a test failed."""
    for file in shelf.glob("*.job"):
        job = Jobs(shelf).job(file.with_suffix(""))
        if job is not None and job.running:
            os.kill(job.pid, signal.SIGKILL)


def wait_for(what, seconds: float = 120):
    """What a call returns once it is true; fails where that takes longer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s in vain")
