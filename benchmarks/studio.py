"""Time until the studio's page can be used, and what an open page costs a training on the same machine.

    python -m benchmarks.studio
    python -m benchmarks.studio --starts 1 --pairs 1 --seconds 5 --trial

A start is measured from the line with the studio's address until the model (2 million parameters) is open in the page
and its buttons work, in a browser that is already open; then the first letters are awaited. For the cost a training
runs, and a page with its curves is opened and closed in turn; the training's own count of steps and seconds gives its
speed.
"""

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from benchmarks.html_page import SIZES
from benchmarks.pairs import one_pair, ratios, values
from benchmarks.processes import FEW_EVALUATIONS, NANOGPT, Workspace, flags, server
from benchmarks.record import new_parser, parse
from nanogpt.runs.folder import RunFolder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

GOALS = {"seconds from listening to usable": 2.0, "share of a training's speed that an open page costs": 0.05}
SETTLING_SECONDS = 3.0
"""After a page was opened or closed, before anything is counted."""
RUNNING = "Training."
"""What the page shows of a training that runs."""
STEPS = 1_000_000
"""Steps of the training; it is ended when everything is measured."""
WAIT_MILLISECONDS = 120_000
USABLE = "() => /parameters/.test(document.querySelector('.column .hint, .inside .hint')?.textContent)"
"""JavaScript that is true once the view's model is open and the buttons work."""


def main() -> None:
    """Measure what is missing, print and record."""
    options, parts = parse(new_parser(__doc__, threads=True, starts=7, pairs=10, seconds=20.0), "studio")
    with tempfile.TemporaryDirectory(prefix="studio-") as folder, chromium() as browser:
        work = Workspace(Path(folder) / "runs", options.threads)
        work.train(["python"], 1, *flags(SIZES))
        threads = {"threads": options.threads}
        starts = parts.repeat(options.starts, {"what": "start"} | threads, lambda _: start(work, browser))
        count = work.parameters()
        with training(work) as run, studio(work) as opened_studio:
            address = f"{opened_studio.address}#view=learn&run={quote(run.path.name)}"
            measure = partial(measure_pair, browser, address, run, options.seconds)
            pairs = parts.repeat(options.pairs, {"seconds": options.seconds} | threads, measure)
        version = browser.version
    seconds = {name: values([one[name] for one in starts]) for name in starts[0] if name.endswith("_seconds")}
    speed = ratios([one["open"] for one in pairs], [one["closed"] for one in pairs])
    result = {"parameters": count, "seconds": seconds, "speed_open_over_closed": speed}
    parts.write(result | {"browser": version, "goals": GOALS})


class Studio(NamedTuple):
    """A running studio: its address, the seconds until it printed that, and when, by the monotonic clock."""

    address: str
    starting_seconds: float
    listened: float


@contextmanager
def studio(work: Workspace) -> Iterator[Studio]:
    """Run the studio on the runs in a folder."""
    began = time.monotonic()
    words = ["studio", work.folder.name, "--port", "0", "--no-browser"]
    with server(words, work.folder.parent, work.environment) as (_, line):
        assert line.startswith("the studio is at "), f"the studio did not start: {line}"
        listened = time.monotonic()
        yield Studio(line.split()[4], listened - began, listened)


@contextmanager
def chromium() -> "Iterator[Browser]":
    """Open a browser without a window. Raises MissingProgram where there is none."""
    from nanogpt.interop.html.browser import launch

    playwright, browser = launch()
    try:
        yield browser
    finally:
        browser.close()
        playwright.stop()


@contextmanager
def opened(browser: "Browser", address: str, width: int = 1280, height: int = 900) -> "Iterator[Page]":
    """Open a page in a separate window."""
    context = browser.new_context(viewport={"width": width, "height": height})
    try:
        page = context.new_page()
        page.set_default_timeout(WAIT_MILLISECONDS)
        page.goto(address)
        yield page
    finally:
        context.close()


def start(work: Workspace, browser: "Browser") -> dict[str, float]:
    """Return the seconds until the studio listens, from there until its page is usable, and from button to letters."""
    with studio(work) as opened_studio, opened(browser, opened_studio.address) as page:
        page.wait_for_function(USABLE)
        usable = time.monotonic()
        page.get_by_role("button", name="Write", exact=True).click()
        page.wait_for_function("() => document.querySelector('.text').textContent.length > 10")
        written = time.monotonic()
        return {
            "starting_seconds": opened_studio.starting_seconds,
            "usable_seconds": usable - opened_studio.listened,
            "writing_seconds": written - usable,
        }


@contextmanager
def training(work: Workspace) -> Iterator[RunFolder]:
    """Train until the context ends; yield once the first steps are logged."""
    run = RunFolder(work.folder / "training")
    length = ["--steps", str(STEPS), "--eval-every", str(STEPS), *FEW_EVALUATIONS, "--log-every", "1"]
    command = [*NANOGPT, "train", "python", *flags(SIZES), *length, "--out", str(run.path)]
    with subprocess.Popen(command, env=work.environment, stdout=subprocess.DEVNULL, cwd=work.folder) as process:
        try:
            while newest_step(run) < (10, 0.0):
                assert process.poll() is None, "the training ended before it was measured"
                time.sleep(0.2)
            yield run
        finally:
            process.terminate()


def measure_pair(browser: "Browser", address: str, run: RunFolder, seconds: float, number: int) -> dict[str, float]:
    """Return steps/s with the page open, and with it closed."""

    def with_page() -> float:
        with opened(browser, address) as page:
            page.get_by_text(RUNNING).first.wait_for()
            return steps_per_second(run, seconds)

    return dict(zip(("open", "closed"), one_pair(number, with_page, lambda: steps_per_second(run, seconds))))


def steps_per_second(run: RunFolder, seconds: float, sleep: Callable[[float], None] = time.sleep) -> float:
    """Return the speed of a training in the next `seconds`, by its own count of steps and seconds."""
    sleep(SETTLING_SECONDS)
    before = newest_step(run)
    sleep(seconds)
    after = newest_step(run)
    return (after[0] - before[0]) / (after[1] - before[1])


def newest_step(run: RunFolder) -> tuple[int, float]:
    """Return a training's newest step, and its seconds."""
    steps = [(line["step"], line["seconds"]) for line in run.metrics() if line["event"] == "step"]
    return steps[-1] if steps else (0, 0.0)


if __name__ == "__main__":
    main()
