"""A studio and windows on it, ended after the test."""

import sys
from pathlib import Path

import pytest

# For the module `studio_server`, which the tests of the course's view use as well.
sys.path.insert(0, str(Path(__file__).parent))

from studio_server import Studio, Window, chromium, end_trainings


@pytest.fixture
def open_studio():
    """Starts servers on a folder."""
    opened = []

    def open_(shelf, **settings):
        opened.append(Studio(shelf, **settings))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


@pytest.fixture
def open_window():
    """Opens windows on a server's view."""
    with chromium() as browser:
        yield lambda studio, view, **settings: Window(browser, studio, view, **settings)


@pytest.fixture
def shelf(tmp_path):
    """An empty folder for runs. No training of it outlives the test."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    yield folder
    end_trainings(folder)
