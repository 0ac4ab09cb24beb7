"""The pictures of the studio's four views in README and docs, of a model that is trained for them first.

    python -m benchmarks.screenshots
    python -m benchmarks.screenshots --run runs/shakespeare-modern-1

Each is what a person sees after a few clicks; nothing in it is drawn by hand.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from benchmarks.ours import NANOGPT
from benchmarks.pictures import PICTURES
from benchmarks.processes import own_environment, run
from benchmarks.studio_page import USABLE, chromium, opened, studio
from nanogpt.runs.folder import RunFolder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROMPT = "ROMEO:\nBut soft, what light"
TEXT = "ROMEO:\nBut soft, what light through yonder window breaks?"
UNLIKELIEST = """all => {
  const written = all.filter((one) => !one.classList.contains("prompt"));
  const level = (one) => Number(one.dataset.level);
  written.reduce((best, one) => (level(one) > level(best) ? one : best)).click();
}"""
"""Chooses the first of the written tokens that the model found least likely."""
RUNGS, RUNG_STEPS, CORPUS = 6, 300, "shakespeare"
WIDTH, HEIGHT = 1280, 1400


def main() -> None:
    """Train where there is no run, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", default="shakespeare")
    parser.add_argument("--minutes", type=float, default=3.0, help="of training")
    parser.add_argument("--run", type=Path, help="a run to look at instead of training one")
    parser.add_argument("--out", type=Path, default=PICTURES, help="the folder that the pictures go to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        environment = own_environment(Path(folder))
        trained = options.run or Path(folder) / "runs" / f"{options.text}-modern-1"
        if options.run is None:
            words = [options.text, "--minutes", str(options.minutes), "--out", str(trained)]
            run([*NANOGPT, "train", *words], Path(folder), environment)
        with studio(trained.parent, environment) as server, chromium() as browser:
            for name, (fragment, act) in views(trained).items():
                file = options.out / f"studio_{name}.png"
                take(browser, f"{server.address}#{fragment}", act, file)
                print(f"wrote {file}")


def views(trained: Path) -> "dict[str, tuple[str, Callable[[Page], None]]]":
    """The address of each view, and what is done there before the picture is taken."""
    name, steps = trained.name, sorted(RunFolder(trained).checkpoints.history())
    writing = urlencode({"view": "write", "run": name, "prompt": PROMPT})
    looking = urlencode({"view": "inside", "run": name, "text": TEXT, "token": len(TEXT) - 9, "layer": 3, "head": 1})
    learning = urlencode({"view": "learn", "run": name, "step": steps[-2], "prompt": PROMPT}, quote_via=quote)
    return {
        "write": (writing, write),
        "inside": (looking, look),
        "learn": (learning, watch),
        "course": (f"view=course&corpus={CORPUS}&steps={RUNG_STEPS}", climb),
    }


def write(page: "Page") -> None:
    """A text, one of its tokens chosen."""
    page.wait_for_function(USABLE)
    page.get_by_role("button", name="Write", exact=True).click()
    page.wait_for_function("() => /a second/.test(document.querySelector('.status').textContent)")
    page.eval_on_selector_all(".text .token", UNLIKELIEST)
    page.locator(".panel .bars li").first.wait_for()


def look(page: "Page") -> None:
    """Attention, the lens, and what else there is to see of one token."""
    page.wait_for_function(USABLE)
    page.locator(".lens tbody tr").first.wait_for()


def watch(page: "Page") -> None:
    """The curves of a run, and what it was at a step."""
    page.locator(".curves polyline").first.wait_for(state="attached")
    page.locator(".found .sample").first.wait_for()


def climb(page: "Page") -> None:
    """The first sections, trained one after another."""
    for number in range(RUNGS):
        page.locator(".section-card button").nth(number).click()
        reached = f".section-card:nth-child({number + 1}) .reached"
        page.wait_for_function(
            "at => /Validation loss/.test(document.querySelector(at)?.textContent)", arg=reached, timeout=600_000
        )


def take(browser: "Browser", address: str, act: "Callable[[Page], None]", file: Path) -> None:
    """Open an address, act, and keep the picture."""
    with opened(browser, address, width=WIDTH, height=HEIGHT) as page:
        act(page)
        page.evaluate("scrollTo(0, 0)")
        page.mouse.move(0, 0)
        page.wait_for_timeout(500)  # what moves comes to rest
        page.screenshot(path=file)


if __name__ == "__main__":
    main()
