"""An exported page opened in Chromium as a person would open it: from the disk, without a network.

Its methods call `window.nanogpt`, which `page/page.js` defines for this.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nanogpt.interop.formats import MissingProgram

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--no-first-run",
)
"""Stop the browser from contacting its maker and from initialising graphics that nobody sees."""
TIMEOUT_SECONDS = 60


class BrowserPage:
    """A page in its own headless browser (`nanogpt.interop.formats.ExportedModel`)."""

    def __init__(self, file: str | os.PathLike[str], width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file at a size in pixels; raise MissingProgram if playwright or Chromium is missing."""
        self._playwright, self._browser = launch()
        self.requests: list[str] = []
        """addresses that the page requested, its own first"""
        self.errors: list[str] = []
        """warnings and errors from its console, and uncaught exceptions"""
        try:
            self.page = self._browser.new_page(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", offline=True
            )
            self.page.on("request", lambda request: self.requests.append(request.url))
            self.page.on("pageerror", lambda error: self.errors.append(str(error)))
            self.page.on(
                "console",
                lambda message: self.errors.append(message.text) if message.type in ("warning", "error") else None,
            )
            self.page.goto(Path(file).resolve().as_uri(), timeout=1000 * TIMEOUT_SECONDS)
        except BaseException:
            self.close()
            raise

    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits of the token after each of ids, float32, shape (T, V)."""
        return torch.tensor(self.call("logits", list(ids)), dtype=torch.float32)

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """Return the next `tokens` tokens after ids, always the likeliest, also beyond block_size."""
        found: list[int] = self.call("greedy", list(ids), tokens)
        return found

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text by the page's own tokenizer, which drops unknown characters."""
        found: list[int] = self.call("encode", text)
        return found

    def call(self, name: str, *values: Any) -> Any:
        """Call a function of `window.nanogpt` and return its result, arrays of numbers as lists."""
        return self.page.evaluate(_CALL, [name, list(values)])

    @property
    def version(self) -> str:
        """Version of the browser."""
        found: str = self._browser.version
        return found

    def close(self) -> None:
        """End the browser."""
        self._browser.close()
        self._playwright.stop()

    def __enter__(self) -> "BrowserPage":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


_CALL = """([name, values]) => {
  const plain = (one) => ArrayBuffer.isView(one) ? Array.from(one)
    : Array.isArray(one) ? one.map(plain)
    : one && typeof one === "object" ? Object.fromEntries(Object.entries(one).map(([k, v]) => [k, plain(v)]))
    : one;
  return plain(window.nanogpt[name](...values));
}"""


def find_chromium() -> str:
    """Return the path of Chromium; raise MissingProgram if there is none."""
    for name in PROGRAMS:
        if found := shutil.which(name):
            return found
    raise MissingProgram("Chromium is not installed (no chromium or google-chrome on the PATH): install one of them")


def launch() -> "tuple[Any, Browser]":
    """Start playwright and a browser, and return both; raise MissingProgram if one of them is missing."""
    program = find_chromium()
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise MissingProgram("opening a page needs playwright: pip install 'nanogpt[browser]'") from None
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium's sandbox does not work for root
    running = sync_playwright().start()
    try:
        browser = running.chromium.launch(executable_path=program, args=[*FLAGS, *(["--no-sandbox"] if root else [])])
    except Error as error:
        running.stop()
        raise MissingProgram(
            f"{program} does not start ({str(error).splitlines()[0]}): install Chromium again"
        ) from None
    return running, browser
