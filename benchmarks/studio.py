"""How soon the studio's page can be used, and what an open page costs a training beside it.

    python -m benchmarks.studio
    python -m benchmarks.studio --starts 1 --pairs 1 --seconds 5 --trial

The model has 2 million parameters. A start is measured from the line that says where the studio listens until the
model is open in the page and its buttons work, in a browser that is open already; the button is then pressed, and the
first letter waited for. Each start is a fresh process.

For the cost a training runs in a process of its own, and the studio beside it all the time. A page that shows its
curves is opened and closed in turn, and the training's own count of seconds and steps says how fast it was meanwhile:
the studio's and the browser's work on the same cores is in it. What an open page costs is what the pairs lack.
"""

import argparse
import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from benchmarks.html_page import SIZES
from benchmarks.ours import FEW_EVALUATIONS, NANOGPT, Ours
from benchmarks.pairs import one_pair, ratios, told, values
from benchmarks.record import Parts, add_part_options
from benchmarks.studio_page import USABLE, chromium, opened, studio
from nanogpt.runs.folder import RunFolder

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GOALS = {"seconds from listening to usable": 2.0, "share of a training's speed that an open page costs": 0.05}
SETTLING_SECONDS = 3.0
"""After a page was opened or closed, before anything is counted."""
SHOWN = "Training."
"""What the page says of a training that runs."""
STEPS = 1_000_000
"""Of the training beside: it is ended when all is measured."""


def main() -> None:
    """Measure what is missing, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=7, help="how often the studio is started")
    parser.add_argument("--pairs", type=int, default=10, help="of a closed and an open page")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each of the two")
    parser.add_argument("--threads", type=int, help="CPU threads; as many as torch takes if left out")
    add_part_options(parser)
    options = parser.parse_args()
    parts = Parts("studio", keep=options.keep, trial=options.trial)
    sizes = [word for name, value in SIZES.items() for word in (f"--{name}", str(value))]
    with tempfile.TemporaryDirectory(prefix="studio-") as folder, chromium() as browser:
        place = Ours(Path(folder) / "shelf", options.threads)
        place.train(["python"], 1, *sizes)
        starts = [
            parts.measure({"start": number, "threads": options.threads}, lambda: start(place, browser))
            for number in range(options.starts)
        ]
        count = place.parameters()
        with training(place, sizes) as run, studio(place.folder, place.environment) as server:
            address = f"{server.address}#view=learn&run={quote(run.path.name)}"
            pairs = [
                parts.measure(
                    {"pair": number, "seconds": options.seconds, "threads": options.threads},
                    lambda number=number: one_of_pairs(  # type: ignore[misc]
                        number, browser, address, run, options.seconds
                    ),
                )
                for number in range(options.pairs)
            ]
        version = browser.version
    seconds = {name: values([one[name] for one in starts]) for name in starts[0] if name.endswith("_seconds")}
    speed = ratios([one["open"] for one in pairs], [one["closed"] for one in pairs])
    for name, row in seconds.items():
        print(f"{name:<18} {told(row, 2)}")
    print(f"steps a second with the page open / closed: {told(speed)}; goals {GOALS}")
    parts.write(
        {"parameters": count, "seconds": seconds, "speed_open_over_closed": speed, "browser": version, "goals": GOALS}
    )


def start(place: Ours, browser: "Browser") -> dict[str, float]:
    """Seconds until the studio listens, from there until its page can be used, and from the button to a letter."""
    with studio(place.folder, place.environment) as server, opened(browser, server.address) as page:
        page.wait_for_function(USABLE)
        usable = time.monotonic()
        page.get_by_role("button", name="Write", exact=True).click()
        page.wait_for_function("() => document.querySelector('.text').textContent.length > 10")
        written = time.monotonic()
        return {
            "starting_seconds": server.starting_seconds,
            "usable_seconds": usable - server.listened,
            "writing_seconds": written - usable,
        }


@contextlib.contextmanager
def training(place: Ours, sizes: list[str]) -> Iterator[RunFolder]:
    """A training that goes on until it is no longer needed; begun once its first steps are counted."""
    run = RunFolder(place.folder / "beside")
    words = ["python", *sizes, "--steps", str(STEPS), "--eval-every", str(STEPS), *FEW_EVALUATIONS, "--log-every", "1"]
    command = [*NANOGPT, "train", *words, "--out", str(run.path)]
    with subprocess.Popen(command, env=place.environment, stdout=subprocess.DEVNULL, cwd=place.folder) as process:
        try:
            while place_of(run) < (10, 0.0):
                assert process.poll() is None, "the training ended before it was measured"
                time.sleep(0.2)
            yield run
        finally:
            process.terminate()


def one_of_pairs(number: int, browser: "Browser", address: str, run: RunFolder, seconds: float) -> dict[str, float]:
    """Steps a second with the page open, and with it closed."""

    def with_page() -> float:
        with opened(browser, address) as page:
            page.get_by_text(SHOWN).first.wait_for()
            return speed_of(run, seconds)

    return dict(zip(("open", "closed"), one_pair(number, with_page, lambda: speed_of(run, seconds))))


def speed_of(run: RunFolder, seconds: float, sleep: Callable[[float], None] = time.sleep) -> float:
    """Steps a second that a training makes in the next so many seconds, by its own count of both."""
    sleep(SETTLING_SECONDS)
    before = place_of(run)
    sleep(seconds)
    after = place_of(run)
    return (after[0] - before[0]) / (after[1] - before[1])


def place_of(run: RunFolder) -> tuple[int, float]:
    """A training's newest step, and its seconds."""
    found = (0, 0.0)
    if (run.path / "metrics.jsonl").exists():
        for line in run.metrics():
            if line["event"] == "step":
                found = (line["step"], line["seconds"])
    return found


if __name__ == "__main__":
    main()
