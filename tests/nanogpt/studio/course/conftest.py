"""A studio and windows on it, as for the view that shows a training."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "learn"))

from studio_server import Studio, Window, chromium


@pytest.fixture
def studio(tmp_path):
    """Starts a server on a folder without runs."""
    opened = []

    def open_(**settings):
        opened.append(Studio(tmp_path / "shelf", **settings))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


@pytest.fixture
def open_window():
    """Opens windows on a server's view."""
    with chromium() as browser:
        yield lambda server, view="course", **settings: Window(browser, server, view, **settings)
