"""The view "Watch it learn": start a training, see it learn, stop it, go on, and look back at what it was.

A training is a process of its own that runs the command line (`jobs`); the page reads what it writes.

board, start, live, compare, machine     what is drawn
controls, drop                          what it is drawn with
chart, heatmap                          pictures as HTML
jobs, processes                         trainings that outlive the page
texts, outlook, curves, logs, history   what is read, without a page
style                                   how it looks
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nanogpt.studio.shelf import Shelf


def view(shelf: "Shelf") -> None:
    """Build the view inside the current element of the page."""
    from nanogpt.studio.learn.board import Learn

    Learn(shelf)
