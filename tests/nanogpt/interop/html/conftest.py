"""Runs with random weights, their pages, and pages opened in Chromium."""

import itertools

import pytest
import tiny
import torch
from html_pages import ALPHABET

from nanogpt.interop.formats import MissingProgram
from nanogpt.interop.html.browser import BrowserPage, find_chromium
from nanogpt.interop.html.export import export_html
from nanogpt.text.tokenizer import CharTokenizer


@pytest.fixture
def make_run(tmp_path):
    numbers = itertools.count()

    def make(preset="modern", tokenizer=None, text="tale", **settings):
        tokenizer = tokenizer or CharTokenizer(ALPHABET)
        return tiny.make_run(tmp_path / f"run-{next(numbers)}", preset, tokenizer=tokenizer, name=text, **settings)

    return make


@pytest.fixture
def make_page(make_run, tmp_path):
    """Makes runs as `make_run`, and returns the files of their pages."""
    numbers = itertools.count()
    return lambda *words, **settings: export_html(make_run(*words, **settings), tmp_path / f"page-{next(numbers)}.html")


@pytest.fixture
def open_page():
    try:
        find_chromium()
    except MissingProgram as error:
        pytest.skip(str(error))
    pytest.importorskip("playwright")
    opened = []

    def open_(file, **settings):
        opened.append(BrowserPage(file, **settings))
        return opened[-1]

    yield open_
    for page in opened:
        page.close()


@pytest.fixture
def ids():
    """Token ids (T,) of a whole context, T = 11."""
    return torch.randint(37, (11,), generator=torch.Generator().manual_seed(3))
