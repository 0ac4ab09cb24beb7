"""Size of the HTML page of a model with 2 million parameters, and its speed in Chromium on one core.

    python -m benchmarks.html_page --minutes 10 --screenshot page.png

The speed is that of the page as a person sees it, with each token drawn and coloured, and that of the model alone; the
text is longer than the context, so that reading the window again counts.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.pairs import values
from benchmarks.processes import Workspace, flags
from benchmarks.record import new_parser, parse
from nanogpt.interop.html.browser import BrowserPage, find_chromium

SIZES = {"n_layer": 4, "n_head": 4, "n_embd": 208, "block_size": 256, "batch_size": 8}
"""2.08 million parameters with the 66 tokens of Shakespeare."""
GOALS = {"bytes": 3_000_000, "bytes_per_parameter": 1.4, "characters_per_second": 200}
TOKENS = 1000
PROMPT = "ROMEO:\nBut soft, what light"


def main() -> None:
    """Train what is missing, measure, print and record."""
    parser = new_parser(__doc__, text="shakespeare", minutes=10.0, runs=7)
    parser.add_argument("--run", type=Path, help="a run to export instead of training one")
    parser.add_argument("--screenshot", type=Path, help="write a PNG of the page with a token chosen")
    options, parts = parse(parser, "html_page")
    with Workspace.temporary() as work:
        file = work.folder / "page.html"
        if options.run is None:
            words = [options.text, "--minutes", str(options.minutes), *flags(SIZES), "--out", str(work.run_folder)]
            work.nanogpt("train", *words)
        exported = export(options.run or work.run_folder, file)
        with one_core() as core, BrowserPage(file) as page:
            rows = parts.repeat(options.runs, {"tokens": TOKENS, "core": core is not None}, lambda _: speeds(page))
            version = page.version
            if options.screenshot:
                take_screenshot(page, options.screenshot)
    speed = {name: values([row[name] for row in rows]) for name in ("page", "model")}
    browser = {"program": Path(find_chromium()).name, "version": version, "one_core": core is not None}
    parts.write(exported | {"characters_per_second": speed, "browser": browser, "goals": GOALS})


def export(trained: Path, file: Path) -> dict[str, Any]:
    """Write a run's page; return its size."""
    import nanogpt
    from nanogpt.interop.html.export import export_html

    opened = nanogpt.load(trained, device="cpu")
    size, count = export_html(opened, file).stat().st_size, opened.model.parameter_count
    return {"parameters": count, "step": opened.step, "bytes": size, "bytes_per_parameter": size / count}


@contextlib.contextmanager
def one_core() -> Iterator[int | None]:
    """Let the processes that are started meanwhile share one core; None where the system has no such setting."""
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
    """Return tokens/s of the page, from the button to the last token, and of its model alone."""
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
    """Write a picture of the page with a text and one of its tokens chosen."""
    write(page, tokens)
    page.page.evaluate("place => choose(place)", chosen)
    page.page.evaluate("scrollTo(0, 0)")
    page.page.screenshot(path=file)


if __name__ == "__main__":
    main()
