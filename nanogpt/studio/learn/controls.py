"""What the two views have beside the studio's common parts: a slider over named places, a watched part, a picture."""

from collections.abc import Callable, Sequence
from typing import Any

from nicegui import ui
from nicegui.element import Element

from nanogpt.studio.learn.chart import Line, draw, legend, table
from nanogpt.studio.parts import Tag, Text


class Scale(Element, component="scale.js"):
    """A slider over named places. `change` is told each new place."""

    def __init__(self, label: str, names: Sequence[str], place: int, change: Callable[[int], Any]) -> None:
        super().__init__()
        self.place, self._change = place, change
        self.props.update({"label": label, "names": list(names), "place": place, "turn": 0})
        self.on("change", lambda event: self._changed(event.args))  # no throttle: it would tell the last one late

    def offer(self, names: Sequence[str], place: int) -> None:
        """Show other places; nobody is told."""
        self.place = place
        self.props.update({"names": list(names), "place": place, "turn": self.props["turn"] + 1})
        self.update()

    def _changed(self, place: Any) -> Any:
        self.place = min(max(0, int(place)), len(self.props["names"]) - 1)
        return self._change(self.place)


class Watched(Element, component="watched.js"):
    """A part of the page that knows whether it is `seen`. `gone` is called when it is taken away."""

    def __init__(self, gone: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.seen, self._gone = False, gone
        self.on("seen", lambda event: self._tell(event.args))

    def _tell(self, seen: Any) -> None:
        self.seen = bool(seen)

    def _handle_delete(self) -> None:
        self.seen = False
        self._gone()
        super()._handle_delete()


class Picture:
    """Curves with their keys, and the same as a table that can be unfolded. Sent again only where it changed."""

    def __init__(self, label: str) -> None:
        self._label = label
        with Tag("figure", "chart"):
            self._curves = ui.html("", sanitize=False)
            self._keys = ui.html("", sanitize=False)
            with Tag("details") as self._numbers:
                Text("summary", "The curves as numbers")
                self._table = ui.html("", sanitize=False).classes("scrolled")
                self._table.props("tabindex=0 role=region").props["aria-label"] = f"{label}, as numbers"
        self.show([], "", "")

    def show(self, lines: Sequence[Line], x_name: str, y_name: str) -> None:
        """Show other curves."""
        self._numbers.set_visibility(any(line.x for line in lines))
        put(self._curves, draw(lines, x_name, y_name, self._label))
        put(self._keys, legend([line for line in lines if line.x]))
        put(self._table, table(lines, x_name))


def put(element: ui.html, content: str) -> None:
    """Change a piece of HTML where it is another one."""
    if element.content != content:
        element.set_content(content)
