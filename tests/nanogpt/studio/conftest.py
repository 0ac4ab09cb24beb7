"""A studio on a few small runs, and browsers on it; both serve all tests of a file."""

import sys
from pathlib import Path

import pytest

# For the module `studio_process`, which the tests in this folder share.
sys.path.insert(0, str(Path(__file__).parent))

from studio_process import Studio, Window
from tiny import make_run

from nanogpt.text.tokenizer import CharTokenizer

TEXT = "The cat sat <b>here</b> & there, in a red tree.\n"


@pytest.fixture(scope="module")
def shelf_folder(tmp_path_factory):
    """Three runs, the newest called `modern`; with names and alphabets that a careless page would take for HTML."""
    folder = tmp_path_factory.mktemp("shelf")
    ending = CharTokenizer.train(["The <script>alert(2)</script>"])
    make_run(folder / "<img src=x onerror=alert(1)>", "lecture", tokenizer=ending, n_head=2)
    # Without a token that ends a text: a model that was never trained would draw it soon.
    for name, more in (("gpt2", "xyz"), ("modern", "")):
        tokenizer = CharTokenizer("".join(sorted({*TEXT, *more})), end_of_document=False)
        make_run(
            folder / name, name, tokenizer=tokenizer, n_layer=3, n_head=2 if more else 4, block_size=16 + len(name)
        )
    return folder


@pytest.fixture(scope="module")
def browser():
    """Chromium."""
    from nanogpt.interop.html.browser import launch
    from nanogpt.interop.opened import CannotRun

    try:
        playwright, found = launch()
    except CannotRun as error:
        pytest.skip(str(error))
    yield found
    found.close()
    playwright.stop()


@pytest.fixture(scope="module")
def studio(shelf_folder):
    """A server on those runs."""
    started = Studio(shelf_folder)
    yield started
    started.end()


@pytest.fixture
def visit(browser, studio):
    """Opens windows; afterwards none may have complained, or asked anyone but the studio, nor may that have failed."""
    opened = []

    def open_window(fragment="", at=None, **settings):
        opened.append(Window(browser, at or studio, fragment, **settings))
        return opened[-1]

    yield open_window
    complaints = [one.errors for one in opened if one.errors]
    strangers = [one.strangers for one in opened if one.strangers]
    for one in opened:
        one.close()
    assert not complaints
    assert not strangers
    assert not [line for one in opened for line in one.studio.lines if "Error" in line]
