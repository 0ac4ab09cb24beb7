"""A text whose tokens are coloured and can be chosen."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from nicegui.element import Element

from nanogpt.studio.shown import Line, Shown

ARRIVE_SECONDS = 10
"""How long a browser is waited for that may have other things to do."""


class TokenText(Element, component="tokens.js"):
    """The text. A token is chosen by a click or with the arrow keys, and pointed at with a mouse.

    `choose` is told a place from `first` on, or None where no token is chosen any more; the very first token is
    predicted from nothing. `tip` is asked for a title and lines about one that a mouse points at.
    """

    def __init__(
        self,
        label: str,
        choose: Callable[[int | None], Any],
        tip: Callable[[int], tuple[str, list[Line]] | None] = lambda place: None,
        first: int = 1,
    ) -> None:
        super().__init__()
        self._shown: list[Shown] = []
        self._chosen: int | None = None
        self._weights: tuple[list[float], int] | None = None
        self._arcs = False
        self.props.update({"label": label, "first": first})
        self._tell = choose
        self.on("choose", lambda event: self._chose(event.args))
        self.on("point", lambda event: self._point(int(event.args), tip))
        # A browser that comes late, or draws the element anew, asks for all.
        self.on("ready", self._send)

    def show(self, tokens: Sequence[Shown], chosen: int | None = None) -> None:
        """Show a text in the place of what was there."""
        self._shown, self._chosen, self._weights = list(tokens), chosen, None
        self._send()

    def add(self, tokens: Sequence[Shown]) -> None:
        """Show more of the text."""
        self._shown += tokens
        self.run_method("add", [one.packed() for one in tokens])

    async def arrived(self) -> None:
        """Wait until the browser shows what it was sent.

        NiceGUI sends what changed in an element before the calls that came earlier: whatever is to be seen after the
        text, such as a line that it is done, has to wait for it.
        """
        await asyncio.sleep(0)  # a call that is not awaited is sent by a task of its own
        if self.is_deleted:
            return
        with suppress(TimeoutError):
            await self.run_method("count", timeout=ARRIVE_SECONDS)

    def select(self, place: int | None) -> None:
        """Mark the token at a place, or none; nobody is told.

        One that the browser marked itself is left alone: whoever holds an arrow key down is already further on.
        """
        if place != self._chosen:
            self._chosen = place
            self.run_method("select", place)

    def shade(self, weights: Sequence[float] | None, start: int = 0, arcs: bool = False) -> None:
        """Shade tokens from `start` on by weights instead of by probability; with arcs from the chosen one."""
        self._weights, self._arcs = None if weights is None else (list(weights), start), arcs
        self._send_shade()

    def _send(self) -> None:
        self.run_method("show", [one.packed() for one in self._shown], self._chosen)
        if self._weights is not None:
            self._send_shade()

    def _send_shade(self) -> None:
        weights, start = self._weights or (None, 0)
        rounded = None if weights is None else [round(one, 4) for one in weights]
        self.run_method("shade", rounded, start, self._arcs)

    def _chose(self, place: int | None) -> Any:
        self._chosen = place
        return self._tell(place)

    def _point(self, place: int, tip: Callable[[int], tuple[str, list[Line]] | None]) -> None:
        found = tip(place)
        if found is not None:
            title, lines = found
            self.run_method("tip", place, title, [one.packed() for one in lines])
