"""The studio as a process of its own, and browsers on it."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

RUN = """
import sys
from nanogpt.cli.studio import main
from nanogpt.errors import UserError
try:
    main(sys.argv[1:])
except UserError as error:
    sys.exit(f"nanogpt: {error}")
"""
WAIT_MILLISECONDS = 60_000
"""Other tests may run beside these."""
WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")


class Studio:
    """`nanogpt studio` on a folder, at a port that is free."""

    def __init__(self, folder: Path, *words: str) -> None:
        pytest.importorskip("nicegui", reason="the studio needs NiceGUI: pip install 'nanogpt[studio]'")
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(folder), "--port", "0", "--no-browser", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self.said = self.process.stdout.readline()
        if not self.said.startswith("the studio is at http://"):
            raise AssertionError(f"it did not start: {self.said} {self.process.communicate(timeout=20)[1]}")
        self.address = self.said.split()[4]
        self.lines: list[str] = []
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self._reader.start()

    def end(self, how=signal.SIGTERM) -> int:
        """Its exit code."""
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
    """A browser of its own on a studio; what it complained of, and whom it asked, is kept."""

    def __init__(self, browser, studio: Studio, fragment: str = "", *, width=1280, height=900, dark=False) -> None:
        self.studio, self.errors, self.strangers = studio, [], []
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", accept_downloads=True
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MILLISECONDS)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on(
            "console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None
        )
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("websocket", lambda socket: self._asked(socket.url))
        self.page.on("dialog", lambda dialog: self.errors.append(f"a dialog: {dialog.message}"))
        self.page.goto(studio.address + (f"#{fragment}" if fragment else ""))

    def _asked(self, url: str) -> None:
        own = self.studio.address.split("?")[0]
        if not url.startswith((own, own.replace("http", "ws"), "data:", "blob:")):
            self.strangers.append(url)

    def button(self, name: str):
        return self.page.get_by_role("button", name=name, exact=True)

    def wait(self, script: str, *values) -> None:
        """Until a function of JavaScript gives something true; where it never does, what the page showed is told."""
        try:
            self.page.wait_for_function(script, arg=list(values))
        except Exception as error:
            told = (
                f"the page showed:\n{self.page.locator('body').inner_text()}\nand the studio said: {self.studio.lines}"
            )
            raise AssertionError(f"{script} of {values} was never true; {told}") from error

    def opened(self) -> "Window":
        """Once the view's model is there."""
        self.wait("() => /parameters/.test(document.querySelector('.column .hint, .inside .hint')?.textContent)")
        return self

    def write(self) -> str:
        """Press the button, and give the text once it is there."""
        self.button("Write").click()
        return self.written()

    def written(self) -> str:
        self.wait("() => /a second/.test(document.querySelector('.status').textContent)")
        return self.text()

    def text(self, column: int = 0) -> str:
        return self.page.locator(".token-text .text").nth(column).text_content()

    def choose(self, place: int, column: int = 0) -> None:
        """Click a token, and wait for what is told of it."""
        self.page.locator(".token-text .text").nth(column).locator(".token").nth(place).click()
        self.wait("([n]) => RegExp(`oken ${n}\\\\b`).test(document.querySelector('.panel').textContent)", place + 1)

    def bars(self, inside: str) -> list[tuple[str, str]]:
        """Names and shares of a list."""
        lines = self.page.locator(f"{inside} li")
        return list(zip(lines.locator(".name").all_text_contents(), lines.locator(".share").all_text_contents()))

    def fragment(self) -> str:
        return self.page.url.partition("#")[2]

    def wait_for_fragment(self, part: str) -> str:
        self.wait("([part]) => location.href.includes(part)", part)
        return self.fragment()

    def violations(self) -> list[str]:
        """What axe finds wrong, by the rules of WCAG up to 2.2 AA and by those that it calls best practice."""
        axe = pytest.importorskip("axe_core_python", reason="needs axe-core-python")
        self.page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
        options = {"runOnly": {"type": "tag", "values": [*WCAG, "best-practice"]}}
        found = self.page.evaluate("(options) => axe.run(options)", options)
        assert len(found["passes"]) > 15, "axe looked at next to nothing"
        return [f"{one['id']}: {one['help']} {[n['html'][:200] for n in one['nodes']]}" for one in found["violations"]]

    def overhang(self) -> int:
        """By how many pixels the page is wider than the window."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def close(self) -> None:
        self.context.close()
