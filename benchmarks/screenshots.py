"""Pictures of the studio's four views for README and docs, of a model that is trained for them first.

    python -m benchmarks.screenshots
    python -m benchmarks.screenshots --run runs/shakespeare-modern-1

Each picture shows what a person sees after a few clicks.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from benchmarks.pictures import PICTURES
from benchmarks.processes import Workspace
from benchmarks.record import new_parser
from benchmarks.studio import USABLE, chromium, opened, studio
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
"""JavaScript that chooses the written token with the lowest probability."""
SECTIONS, SECTION_STEPS, CORPUS = 6, 300, "shakespeare"
WIDTH, HEIGHT = 1280, 1400


def main() -> None:
    """Train if there is no run, and take the pictures."""
    parser = new_parser(__doc__, text="shakespeare", minutes=3.0)
    parser.add_argument("--run", type=Path, help="a run to show instead of training one")
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder of the pictures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        trained = options.run or Path(folder) / "runs" / f"{options.text}-modern-1"
        work = Workspace(trained.absolute().parent)
        if options.run is None:
            work.nanogpt("train", options.text, "--minutes", str(options.minutes), "--out", str(trained))
        with studio(work) as opened_studio, chromium() as browser:
            for name, (fragment, act) in views(trained).items():
                file = options.out / f"studio_{name}.png"
                take(browser, f"{opened_studio.address}#{fragment}", act, file)
                print(f"wrote {file}")


def views(trained: Path) -> "dict[str, tuple[str, Callable[[Page], None]]]":
    """Return the address of each view, and what is done there before the picture is taken."""
    name, steps = trained.name, sorted(RunFolder(trained).checkpoints.history())
    writing = urlencode({"view": "write", "run": name, "prompt": PROMPT})
    inside = urlencode({"view": "inside", "run": name, "text": TEXT, "token": len(TEXT) - 9, "layer": 3, "head": 1})
    learning = urlencode({"view": "learn", "run": name, "step": steps[-2], "prompt": PROMPT}, quote_via=quote)
    return {
        "write": (writing, write),
        "inside": (inside, look_inside),
        "learn": (learning, show_curves),
        "course": (f"view=course&corpus={CORPUS}&steps={SECTION_STEPS}", train_sections),
    }


def write(page: "Page") -> None:
    """Write a text and choose one of its tokens."""
    page.wait_for_function(USABLE)
    page.get_by_role("button", name="Write", exact=True).click()
    page.wait_for_function("() => /a second/.test(document.querySelector('.status').textContent)")
    page.eval_on_selector_all(".text .token", UNLIKELIEST)
    page.locator(".panel .bars li").first.wait_for()


def look_inside(page: "Page") -> None:
    """Wait for attention and logit lens of one token."""
    page.wait_for_function(USABLE)
    page.locator(".lens tbody tr").first.wait_for()


def show_curves(page: "Page") -> None:
    """Wait for the curves of a run and a sample of one step."""
    page.locator(".curves polyline").first.wait_for(state="attached")
    page.locator(".found .sample").first.wait_for()


def train_sections(page: "Page") -> None:
    """Train the first sections of the course."""
    for number in range(SECTIONS):
        page.locator(".section-card button").nth(number).click()
        reached = f".section-card:nth-child({number + 1}) .reached"
        page.wait_for_function(
            "at => /Validation loss/.test(document.querySelector(at)?.textContent)", arg=reached, timeout=600_000
        )


def take(browser: "Browser", address: str, act: "Callable[[Page], None]", file: Path) -> None:
    """Open an address, act, and write the picture."""
    with opened(browser, address, width=WIDTH, height=HEIGHT) as page:
        act(page)
        page.evaluate("scrollTo(0, 0)")
        page.mouse.move(0, 0)
        page.wait_for_timeout(500)  # until animations end
        page.screenshot(path=file)


if __name__ == "__main__":
    main()
