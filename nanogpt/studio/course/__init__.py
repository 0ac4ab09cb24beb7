"""The view "Follow the course": its ten sections, each trained there and then beside the earlier ones.

ladder, rung     what is drawn
rungs            a section as a process, whose JSON lines are read
"""

from collections.abc import Callable
from typing import Any

from nanogpt.studio.course.rungs import Attempt
from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import State


def view(shelf: Shelf, state: State, keep: Callable[[State], Any], trained: dict[int, Attempt]) -> None:
    """Build the view inside the current element. `keep` is told each new state.

    `trained` holds what came of each section that was trained, by its number, while the studio runs.
    """
    from nanogpt.studio.course.ladder import Course

    Course(shelf, state, keep, trained)
