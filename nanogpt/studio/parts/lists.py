"""Lists that are changed in place, so that whoever moves through them by keyboard stays where they are."""

from collections.abc import Callable, Sequence
from typing import Any

from nicegui.element import Element

from nanogpt.studio.shown import Line


class Bars(Element, component="bars.js"):
    """Names, bars and what they stand for. With `choose` each line is a button; it is told the line's place."""

    def __init__(self, label: str, choose: Callable[[int], Any] | None = None, classes: str = "") -> None:
        super().__init__()
        self.classes(classes)
        self.props.update({"label": label, "buttons": choose is not None, "lines": []})
        if choose is not None:
            self.on("choose", lambda event: choose(int(event.args)))

    def show(self, lines: Sequence[Line]) -> None:
        """Show other lines."""
        self.props["lines"] = [one.packed() for one in lines]
        self.update()


class Branches(Element, component="branches.js"):
    """Names with an indent, one of them current, each a button; `go` is told the place of the one that is wanted."""

    def __init__(self, label: str, go: Callable[[int], Any]) -> None:
        super().__init__()
        self.props.update({"label": label, "items": []})
        self.on("go", lambda event: go(int(event.args)))

    def show(self, items: Sequence[tuple[str, int, bool]]) -> None:
        """Show other items: (name, indent, whether it is the current one)."""
        self.props["items"] = [list(one) for one in items]
        self.update()
