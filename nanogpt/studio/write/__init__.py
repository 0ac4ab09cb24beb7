"""The view "Write": a text as the model writes it, with what else it thought of at each place."""

from collections.abc import Callable
from typing import Any

from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import State


def view(shelf: Shelf, state: State, keep: Callable[[State], Any] = lambda state: None) -> Callable[[], None]:
    """Build the view inside the current element. `keep` is told each new state; what is returned ends its work."""
    from nicegui import ui

    from nanogpt.studio.write.desk import Desk

    desk = Desk(shelf, state, keep)
    ui.timer(0, desk.start, once=True)
    return desk.stop
