"""`nanogpt studio` in a process of its own, and Chromium on it, as a person has them."""

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.ours import NANOGPT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

STUDIO = (*NANOGPT, "studio")
WAIT_MILLISECONDS = 120_000
USABLE = "() => /parameters/.test(document.querySelector('.column .hint, .inside .hint')?.textContent)"
"""True once the view's model is open: the buttons then do what they say."""


@dataclass(frozen=True)
class Studio:
    """A studio that runs."""

    address: str
    starting_seconds: float
    """from its start to the line that says where it listens"""
    listened: float
    """when that line came, by the monotonic clock"""


@contextmanager
def studio(folder: Path, environment: Mapping[str, str]) -> Iterator[Studio]:
    """The studio on a folder's runs; ended by SIGTERM, and cleanly."""
    command, began = [*STUDIO, folder.name, "--port", "0", "--no-browser"], time.monotonic()
    with subprocess.Popen(
        command, cwd=folder.parent, env=dict(environment), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            said, now = process.stdout.readline(), time.monotonic()
            assert said.startswith("the studio is at "), f"the studio did not start: {said}"
            yield Studio(said.split()[4], now - began, now)
        finally:
            process.terminate()
            code = process.wait(30)
        assert code == 0, f"the studio ended with code {code}"


@contextmanager
def chromium() -> "Iterator[Browser]":
    """A browser without a window. Raises MissingProgram where there is none."""
    from nanogpt.interop.html.browser import launch

    playwright, browser = launch()
    try:
        yield browser
    finally:
        browser.close()
        playwright.stop()


@contextmanager
def opened(browser: "Browser", address: str, width: int = 1280, height: int = 900) -> "Iterator[Page]":
    """A page in a window of its own, which knows nothing of others."""
    context = browser.new_context(viewport={"width": width, "height": height})
    try:
        page = context.new_page()
        page.set_default_timeout(WAIT_MILLISECONDS)
        page.goto(address)
        yield page
    finally:
        context.close()
