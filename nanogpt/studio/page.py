"""The frame around the views: header, navigation between them, and the address."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nicegui import ui
from nicegui.element import Element

from nanogpt.studio.elements import Tag, Text, hint
from nanogpt.studio.labels import capitalized
from nanogpt.studio.registry import RunRegistry
from nanogpt.studio.state import LongTexts, State, default_state, from_fragment, to_fragment

if TYPE_CHECKING:
    from nanogpt.studio.course_view import SectionRun

NAMES = {"write": "Write", "inside": "Look inside", "learn": "Watch it learn", "course": "Follow the course"}
MODEL = ("run", "step", "model")
SHARED = {"write": MODEL, "inside": MODEL, "learn": ("run",)}
"""State that a view takes over from the one before. "learn" takes no step: there the page computes a step only on
request, because a running training needs the cores."""
_SKIP = "() => document.getElementById('content').focus()"
"""Not by a link to `#content`, since the fragment is the view's state."""


class BrowserWindow(Element, component="assets/browser_window.js"):
    """The button for dark mode, and the address's fragment; `arrived` is called with it, at first and after changes."""

    def __init__(self, arrived: Callable[[str], Any]) -> None:
        super().__init__()
        self.on("fragment", lambda event: arrived(str(event.args)))

    def put(self, fragment: str) -> None:
        """Replace the fragment, without a new entry in the browser's history."""
        self.run_method("put", fragment)


class Page:
    """One browser window. `trained` holds the finished runs of the course's sections, shared by all windows."""

    def __init__(self, registry: RunRegistry, texts: LongTexts, trained: "dict[int, SectionRun]") -> None:
        self.registry, self.texts, self.trained = registry, texts, trained
        self._states: dict[str, State] = {}
        self._state = self._with_model = State()
        self._close: Callable[[], None] | None = None
        Text("a", "Skip to the content", "skip", href="#content").on("click.prevent", js_handler=_SKIP)
        with Tag("header", "head"):
            Text("h1", "Nano-GPT studio")
            with Tag("nav", aria_label="Views"):
                self._links = {
                    view: Text("a", name, href=f"#{to_fragment(default_state(view))}") for view, name in NAMES.items()
                }
            self.window = BrowserWindow(self.open)
        with Tag("div", "content", id="content", tabindex="-1") as self.content:
            hint("Opening …")
        Text("footer", f"Everything here runs on this machine. Runs in {registry.folder}.")
        ui.context.client.on_delete(self.close)

    def open(self, fragment: str) -> None:
        """Show what an address says."""
        state, problems = from_fragment(fragment)
        state, missing = self.texts.restore(state)
        if state == default_state(state.view):  # a link without settings: what was there before, or the same model
            shared: dict[str, Any] = {name: getattr(self._with_model, name) for name in SHARED.get(state.view, ())}
            state = self._states.get(state.view, replace(state, **shared))
        self.show(state, problems + missing)

    def show(self, state: State, problems: list[str]) -> None:
        """Replace the view."""
        self.close()
        self._note(state)
        for view, link in self._links.items():
            link.set(aria_current="page" if view == state.view else None)
        ui.context.client.run_javascript(f"document.title = {NAMES[state.view]!r} + ' · Nano-GPT studio'")
        self.content.clear()
        with self.content:
            for problem in problems:
                Text("p", f"{capitalized(problem)}.", "warning", role="status")
            self._close = self._build(state)

    def keep(self, state: State) -> None:
        """Put a view's new state into the address."""
        if state.view == self._state.view:
            self._note(state)
            self._states[state.view] = state
            self.window.put(to_fragment(self.texts.shorten(state)))

    def close(self) -> None:
        """Stop the work of the current view."""
        if self._close is not None:
            self._close()
            self._close = None

    def _note(self, state: State) -> None:
        self._state = state
        if state.view in SHARED:
            self._with_model = state

    def _build(self, state: State) -> Callable[[], None] | None:
        """Build a view in the current element; return what stops its work, if it does not stop by itself."""
        if state.view == "write":
            from nanogpt.studio.write_view import WriteView

            write = WriteView(self.registry, state, self.keep)
            ui.timer(0, write.start, once=True)
            return write.stop
        if state.view == "inside":
            from nanogpt.studio.inside_view import InsideView

            ui.timer(0, InsideView(self.registry, state, self.keep).start, once=True)
        elif state.view == "learn":
            from nanogpt.studio.learn_view import LearnView

            LearnView(self.registry, state, self.keep)
        else:
            from nanogpt.studio.course_view import CourseView

            CourseView(self.registry, state, self.keep, self.trained)
        return None
