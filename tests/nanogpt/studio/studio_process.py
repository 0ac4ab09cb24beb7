"""The studio in its own process, and browser windows on it."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nanogpt.studio.training_jobs import Jobs

RUN = """
import sys
from nanogpt.cli.studio import main
from nanogpt.errors import UserError
exec(sys.argv.pop(1))
try:
    main(sys.argv[1:])
except UserError as error:
    sys.exit(f"nanogpt: {error}")
"""
WAIT_MILLISECONDS = 120_000
"""Other tests may run at the same time."""
WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")


class Studio:
    """`nanogpt studio` on a folder, at a free port; `first` is code that it executes at the start."""

    def __init__(self, folder: Path, *words: str, first: str = "") -> None:
        pytest.importorskip("nicegui", reason="the studio needs NiceGUI: pip install 'nanogpt[studio]'")
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, first, str(folder), "--port", "0", "--no-browser", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        line = self.process.stdout.readline()
        if not line.startswith("the studio is at http://"):
            raise AssertionError(f"it did not start: {line} {self.process.communicate(timeout=20)[1]}")
        self.address = line.split()[4]
        self.lines: list[str] = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self._reader.start()

    def end(self, how=signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._reader.join(5)
        return code


class Window:
    """A new browser on a studio; it records what went wrong, and requests to other servers."""

    def __init__(self, browser, studio: Studio, fragment: str = "", *, width=1280, dark=False) -> None:
        self.studio, self.errors, self.strangers = studio, [], []
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", accept_downloads=True
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MILLISECONDS)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console", lambda line: self.errors.append(line.text) if line.type in ("error", "warning") else None
        )
        self.page.on("request", lambda request: self._requested(request.url))
        self.page.on("websocket", lambda socket: self._requested(socket.url))
        self.page.on("dialog", lambda dialog: self.errors.append(f"a dialog: {dialog.message}"))
        self.page.goto(studio.address + (f"#{fragment}" if fragment else ""))

    def _requested(self, url: str) -> None:
        own = self.studio.address.split("?")[0]
        if not url.startswith((own, own.replace("http", "ws"), "data:", "blob:")):
            self.strangers.append(url)

    def button(self, name: str):
        return self.page.get_by_role("button", name=name, exact=True)

    def wait(self, script: str, *values) -> None:
        """Wait until a JavaScript function returns something true; else fail with what the page showed."""
        try:
            self.page.wait_for_function(script, arg=list(values))
        except Exception as error:
            shown = self.page.locator("body").inner_text()
            raise AssertionError(f"{script} {values}; the page: {shown}; the studio: {self.studio.lines}") from error

    def says(self, selector: str, text: str) -> None:
        self.wait("([at, text]) => document.querySelector(at)?.textContent.includes(text)", selector, text)

    def count(self, selector: str, number: int) -> None:
        self.wait("([at, number]) => document.querySelectorAll(at).length === number", selector, number)

    def opened(self) -> "Window":
        self.wait("() => /parameters/.test(document.querySelector('.column .hint, .inside .hint')?.textContent)")
        return self

    def write(self) -> str:
        """Press "Write", and return the finished text."""
        self.button("Write").click()
        return self.written()

    def written(self) -> str:
        self.says(".status", "a second")
        return self.text()

    def text(self, column: int = 0) -> str:
        return self.page.locator(".token-text .text").nth(column).text_content()

    def choose(self, position: int, column: int = 0) -> None:
        """Click a token, and wait for its panel."""
        self.page.locator(".token-text .text").nth(column).locator(".token").nth(position).click()
        self.wait("([n]) => RegExp(`oken ${n}\\\\b`).test(document.querySelector('.panel').textContent)", position + 1)

    def bars(self, inside: str) -> list[tuple[str, str]]:
        lines = self.page.locator(f"{inside} li")
        return list(zip(lines.locator(".name").all_text_contents(), lines.locator(".share").all_text_contents()))

    def fragment(self) -> str:
        return self.page.url.partition("#")[2]

    def wait_for_fragment(self, part: str) -> str:
        self.wait("([part]) => location.href.includes(part)", part)
        return self.fragment()

    def violations(self) -> list[str]:
        """Return what axe finds wrong by WCAG up to 2.2 AA and by its best practices."""
        axe = pytest.importorskip("axe_core_python", reason="needs axe-core-python")
        self.page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
        options = {"runOnly": {"type": "tag", "values": [*WCAG, "best-practice"]}}
        found = self.page.evaluate("(options) => axe.run(options)", options)
        assert len(found["passes"]) > 15, "axe looked at next to nothing"
        return [f"{one['id']}: {one['help']} {[n['html'][:200] for n in one['nodes']]}" for one in found["violations"]]

    def overhang(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def close(self) -> None:
        self.context.close()


def end_trainings(folder: Path) -> None:
    """Leave no process behind, also after a failure."""
    for file in folder.glob("*.job"):
        job = Jobs(folder).job(file.with_suffix(""))
        if job is not None and job.running:
            os.kill(job.pid, signal.SIGKILL)


def wait_for(call, seconds: float = 120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := call():
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain")
