"""An exported page opened in Chromium, as a person would open it: from the disk, without a network.

What is asked of it goes to `window.nanogpt`, which `page/page.js` sets for this.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nanogpt.interop.opened import CannotRun

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    *("--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--no-first-run",
)
"""Without these a browser talks to its maker, and warms up graphics that nobody sees."""
OPENED_WITHIN_SECONDS = 60


class BrowserPage:
    """A page, open in a browser of its own that shows no window. Has what `nanogpt.interop.opened.Opened` asks for.

    Raises CannotRun where playwright or Chromium is missing.
    """

    def __init__(self, file: str | os.PathLike[str], width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file at a size in pixels. What the page asks of the network, and its errors, are kept in lists."""
        self._playwright, self._browser = launch()
        self.requests: list[str] = []
        """addresses that the page asked for, its own first"""
        self.errors: list[str] = []
        """what it wrote to the console as a warning or an error, and what it threw"""
        try:
            self.page = self._browser.new_page(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", offline=True
            )
            self.page.on("request", lambda request: self.requests.append(request.url))
            self.page.on("pageerror", lambda error: self.errors.append(str(error)))
            self.page.on(
                "console",
                lambda said: self.errors.append(said.text) if said.type in ("warning", "error") else None,
            )
            self.page.goto(Path(file).resolve().as_uri(), timeout=1000 * OPENED_WITHIN_SECONDS)
        except BaseException:
            self.close()
            raise

    def logits(self, ids: Sequence[int]) -> Tensor:
        """Logits (T, V), float32, of the tokens after each of ids."""
        return torch.tensor(self.call("logits", list(ids)), dtype=torch.float32)

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """So many of the likeliest tokens after ids, one after another, also beyond block_size."""
        found: list[int] = self.call("greedy", list(ids), tokens)
        return found

    def encode(self, text: str) -> list[int]:
        """The ids of a text, by the page's own tokenizer; what is not in its vocabulary is left out."""
        found: list[int] = self.call("encode", text)
        return found

    def call(self, name: str, *values: Any) -> Any:
        """What a function of `window.nanogpt` returns; arrays of numbers come as lists."""
        return self.page.evaluate(_CALL, [name, list(values)])

    @property
    def version(self) -> str:
        """Of the browser."""
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
    """Chromium's program. Raises CannotRun where there is none."""
    for name in PROGRAMS:
        if found := shutil.which(name):
            return found
    raise CannotRun("there is no Chromium on the PATH to open a page with: install chromium or Google Chrome")


def launch() -> "tuple[Any, Browser]":
    """playwright, to be stopped, and a browser that it started. Raises CannotRun where one of them is missing."""
    program = find_chromium()
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        raise CannotRun("opening a page needs playwright: pip install 'nanogpt[browser]'") from None
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # its sandbox does not work for root
    running = sync_playwright().start()
    try:
        browser = running.chromium.launch(executable_path=program, args=[*QUIET, *(["--no-sandbox"] if root else [])])
    except Error as error:
        running.stop()
        raise CannotRun(f"{program} does not start ({str(error).splitlines()[0]}): install chromium anew") from None
    return running, browser
