"""The view "Look inside": attention, the logit lens, the residual stream, a head switched off, embeddings."""

from collections.abc import Callable
from typing import Any

from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import State


def view(shelf: Shelf, state: State, keep: Callable[[State], Any] = lambda state: None) -> Callable[[], None] | None:
    """Build the view inside the current element. `keep` is told each new state."""
    from nicegui import ui

    from nanogpt.studio.inside.room import Room

    room = Room(shelf, state, keep)
    ui.timer(0, room.start, once=True)
    return None
