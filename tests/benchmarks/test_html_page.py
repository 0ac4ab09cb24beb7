"""The page is measured and pictured."""

import os

import pytest
from tiny import trained

from benchmarks import html_page
from nanogpt.interop.formats import MissingProgram
from nanogpt.interop.html.browser import BrowserPage, find_chromium


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_of_a_run_is_measured(tmp_path):
    try:
        find_chromium()
    except MissingProgram as error:
        pytest.skip(str(error))
    exported = html_page.export(trained("run"), tmp_path / "a.html")
    assert exported["bytes"] == (tmp_path / "a.html").stat().st_size
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    with html_page.one_core() as core, BrowserPage(tmp_path / "a.html") as page:
        if before is not None:
            assert os.sched_getaffinity(0) == {core}
        found = html_page.speeds(page, 43)
        assert set(found) == {"page", "model"}
        assert all(speed > 1 for speed in found.values())
        html_page.take_screenshot(page, tmp_path / "a.png", tokens=37, chosen=30)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    if before is not None:
        assert os.sched_getaffinity(0) == before
