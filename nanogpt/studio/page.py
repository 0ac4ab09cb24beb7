"""The page around the views: its head, the way from one view to another, and the address."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nicegui import ui

from nanogpt.studio.parts import Shell, Tag, Text
from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import State, Texts, bare, from_fragment, to_fragment

if TYPE_CHECKING:
    from nanogpt.studio.course.rungs import Attempt

NAMES = {"write": "Write", "inside": "Look inside", "learn": "Watch it learn", "course": "Follow the course"}
MODEL = ("run", "step", "model")
SHARED = {"write": MODEL, "inside": MODEL, "learn": ("run",)}
"""What each view that has a model takes along from another. A step is none of it under "learn": there it is a moment to
be computed, for which a person asks, as a training beside needs the cores."""


class Page:
    """What one browser's window shows. `trained` holds what each section of the course came to, for all windows."""

    def __init__(self, shelf: Shelf, texts: Texts, trained: "dict[int, Attempt]") -> None:
        self.shelf, self.texts, self.trained = shelf, texts, trained
        self._states: dict[str, State] = {}
        self._state = self._with_model = State()
        self._close: Callable[[], None] | None = None
        Text("a", "Skip to the content", "skip", href="#content").on("click.prevent", js_handler=_SKIP)
        with Tag("header", "head"):
            Text("h1", "Nano-GPT studio")
            with Tag("nav", aria_label="Views"):
                self._links = {
                    view: Text("a", name, href=f"#{to_fragment(bare(view))}") for view, name in NAMES.items()
                }
            self.shell = Shell(self.arrive)
        with Tag("div", "content", id="content", tabindex="-1") as self.content:
            Text("p", "Opening …", "hint")
        Text("footer", f"Everything here runs on this machine. Runs of {shelf.folder}.")
        ui.context.client.on_delete(self.end)

    def arrive(self, fragment: str) -> None:
        """Show what an address says."""
        state, problems = from_fragment(fragment)
        state, missing = self.texts.restore(state)
        if state == bare(state.view):  # a bare link: what was there before, else the same model
            shared: dict[str, Any] = {name: getattr(self._with_model, name) for name in SHARED.get(state.view, ())}
            state = self._states.get(state.view, replace(state, **shared))
        self.show(state, problems + missing)

    def show(self, state: State, problems: list[str]) -> None:
        """Show a view in the place of another."""
        self.end()
        self._note(state)
        for view, link in self._links.items():
            link.set(aria_current="page" if view == state.view else None)
        ui.context.client.run_javascript(f"document.title = {NAMES[state.view]!r} + ' · Nano-GPT studio'")
        self.content.clear()
        with self.content:
            for problem in problems:
                Text("p", problem[0].upper() + problem[1:] + ".", "warning", role="status")
            self._close = build(self.shelf, state, self.keep, self.trained)

    def keep(self, state: State) -> None:
        """Put a view's new state into the address."""
        if state.view == self._state.view:
            self._note(state)
            self._states[state.view] = state
            self.shell.put(to_fragment(self.texts.shorten(state)))

    def _note(self, state: State) -> None:
        self._state = state
        if state.view in SHARED:
            self._with_model = state

    def end(self) -> None:
        """End the work of the view that is shown."""
        if self._close is not None:
            self._close()
            self._close = None


def build(
    shelf: Shelf, state: State, keep: Callable[[State], Any], trained: "dict[int, Attempt]"
) -> Callable[[], None] | None:
    """A view inside the current element."""
    if state.view == "write":
        from nanogpt.studio import write

        return write.view(shelf, state, keep)
    if state.view == "inside":
        from nanogpt.studio import inside

        return inside.view(shelf, state, keep)
    if state.view == "learn":
        from nanogpt.studio import learn

        learn.view(shelf, state, keep)
    else:
        from nanogpt.studio import course

        course.view(shelf, state, keep, trained)
    return None


_SKIP = "() => document.getElementById('content').focus()"
"""Not as the browser does it, by the address: that says what the view shows."""
