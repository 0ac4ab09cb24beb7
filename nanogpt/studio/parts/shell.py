"""What belongs to the browser's window: the address's fragment, and light or dark."""

from collections.abc import Callable
from typing import Any

from nicegui.element import Element


class Shell(Element, component="shell.js"):
    """The button for light and dark. `arrived` is told the fragment, at first and whenever a person changes it."""

    def __init__(self, arrived: Callable[[str], Any]) -> None:
        super().__init__()
        self.on("fragment", lambda event: arrived(str(event.args)))

    def put(self, fragment: str) -> None:
        """Show another fragment in the address, without a new entry in the browser's history."""
        self.run_method("put", fragment)
