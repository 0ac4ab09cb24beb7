"""How large the HTML page of a model of 2 million parameters is, and how fast it writes in Chromium on one core.

    python -m benchmarks.html_page --minutes 10 --screenshot page.png

Trains the model, exports it, and opens the page from the disk in a browser that has one core for all its processes.
Measured is the page as a person sees it, with each token drawn and coloured, and the model in it alone; the text is
longer than the context, so that reading the window again is counted. With `--run RUN` a run that is there already.
"""

import argparse
import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.ours import NANOGPT
from benchmarks.pairs import told, values
from benchmarks.processes import own_environment, run
from benchmarks.record import Parts, add_part_options
from nanogpt.interop.html.browser import BrowserPage, find_chromium

SIZES = {"n-layer": 4, "n-head": 4, "n-embd": 208, "block-size": 256, "batch-size": 8}
"""2.08 million parameters with the 66 tokens of Shakespeare."""
GOALS = {"bytes": 3_000_000, "bytes_per_parameter": 1.4, "characters_per_second": 200}
TOKENS = 1000
PROMPT = "ROMEO:\nBut soft, what light"


def main() -> None:
    """Train what is missing, measure, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", default="shakespeare")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training")
    parser.add_argument("--run", type=Path, help="a run to export instead of training one")
    parser.add_argument("--runs", type=int, default=7, help="how often speed is measured")
    parser.add_argument("--screenshot", type=Path, help="a PNG of the page with a token chosen")
    add_part_options(parser)
    options = parser.parse_args()
    parts = Parts("html_page", keep=options.keep, trial=options.trial)
    with tempfile.TemporaryDirectory(prefix="html-page-") as folder:
        place = Path(folder)
        trained = options.run or train(place, options.text, options.minutes)
        exported = export(trained, place / "page.html")
        with one_core() as core, BrowserPage(place / "page.html") as page:
            rows = [
                parts.measure({"number": number, "tokens": TOKENS, "core": core is not None}, lambda: speeds(page))
                for number in range(options.runs)
            ]
            version = page.version
            if options.screenshot:
                take_screenshot(page, options.screenshot)
    speed = {name: values([row[name] for row in rows]) for name in ("page", "model")}
    print(f"{exported['bytes']:,} bytes, {exported['bytes_per_parameter']:.3f} a parameter  goals {GOALS}")
    for name, row in speed.items():
        print(f"{name:<6} {told(row)} characters a second")
    browser = {"program": Path(find_chromium()).name, "version": version, "one_core": core is not None}
    parts.write(exported | {"characters_per_second": speed, "browser": browser, "goals": GOALS})


def train(folder: Path, text: str, minutes: float) -> Path:
    """A run of 2 million parameters, by the command; returns its folder."""
    sizes = [word for name, value in SIZES.items() for word in (f"--{name}", str(value))]
    command = [*NANOGPT, "train", text, "--minutes", str(minutes), *sizes, "--out", str(folder / "run")]
    run(command, folder, own_environment(folder))
    return folder / "run"


def export(trained: Path, file: Path) -> dict[str, Any]:
    """Write a run's page; its size."""
    import nanogpt
    from nanogpt.interop.html.export import export_html

    opened = nanogpt.load(trained, device="cpu")
    size, count = export_html(opened, file).stat().st_size, opened.model.parameter_count
    return {"parameters": count, "step": opened.step, "bytes": size, "bytes_per_parameter": size / count}


@contextlib.contextmanager
def one_core() -> Iterator[int | None]:
    """What is started meanwhile shares one core; None where the system cannot be told so."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield max(before)
    finally:
        os.sched_setaffinity(0, before)


def speeds(page: BrowserPage, tokens: int = TOKENS) -> dict[str, float]:
    """Tokens a second: of the page, from the button to the last token, and of the model in it alone."""
    write(page, tokens)
    count, milliseconds = page.page.evaluate("[current.ids.length - current.prompt, current.milliseconds]")
    return {"page": 1000 * count / milliseconds, "model": page.call("speed", tokens)}


def write(page: BrowserPage, tokens: int) -> None:
    """Press the button and wait for the end of the text."""
    page.page.fill("#prompt", PROMPT)
    page.page.fill("#tokens", str(tokens))
    page.page.click("#write")
    while page.page.evaluate("document.getElementById('write').disabled"):
        page.page.wait_for_timeout(50)


def take_screenshot(page: BrowserPage, file: Path, tokens: int = 320, chosen: int = 90) -> None:
    """The page with a text and one of its tokens chosen."""
    write(page, tokens)
    page.page.evaluate("place => choose(place)", chosen)
    page.page.evaluate("scrollTo(0, 0)")
    page.page.screenshot(path=file)


if __name__ == "__main__":
    main()
