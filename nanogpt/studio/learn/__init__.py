"""The view "Watch it learn": start a training, see it learn, stop it, go on, and look back at what it was.

A training is a process of its own that runs the command line (`jobs`); the page reads what it writes.

board, start, live, compare, machine     what is drawn
controls, drop                          what it is drawn with
chart, heatmap                          pictures as HTML
jobs, processes                         trainings that outlive the page
texts, outlook, curves, logs, history   what is read, without a page
arrival                                 what an address means among the runs
style                                   how it looks
"""

from collections.abc import Callable
from typing import Any

from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import State


def view(shelf: Shelf, state: State, keep: Callable[[State], Any] = lambda state: None) -> None:
    """Build the view inside the current element. `keep` is told each new state."""
    from nanogpt.studio.learn.board import Learn

    Learn(shelf, state, keep)
