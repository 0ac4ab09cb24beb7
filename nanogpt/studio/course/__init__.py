"""The view "Follow the course": its ten sections, each trained there and then beside the earlier ones.

ladder, rung     what is drawn
rungs            a section as a process, whose JSON lines are read
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nanogpt.studio.shelf import Shelf


def view(shelf: "Shelf") -> None:
    """Build the view inside the current element of the page."""
    from nanogpt.studio.course.ladder import Course

    Course(shelf)
