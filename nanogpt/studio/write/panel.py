"""The chosen token: how likely it was, and the ten likeliest at its place, each of which may be put there."""

from collections.abc import Callable
from typing import Any

from nanogpt.studio.parts import Bars, Tag, Text, button, percent
from nanogpt.studio.told import Told
from nanogpt.studio.write.column import lines_of


class Panel:
    """A part of the page that says what is known of one token. `move` is told -1 or 1, `put` a place in the bars."""

    def __init__(self, move: Callable[[int], Any], close: Callable[[], Any], put: Callable[[int], Any]) -> None:
        with Tag("section", "card panel", aria_label="The chosen token") as self.frame:
            with Tag("div") as self._invitation:
                Text("h2", "No token chosen")
                Text(
                    "p",
                    "Choose one in the text, by a click or with the arrow keys: here stands then what else was likely "
                    "at its place. Put another there, and the text goes on from it.",
                    "hint",
                )
            with Tag("div") as self._found:
                with Tag("div", "chosen"):
                    button("←", lambda: move(-1), aria_label="Previous token")
                    self._title = Text("h2", "")
                    button("→", lambda: move(1), aria_label="Next token")
                    button("×", close, aria_label="Close")
                self._told = Text("p", "")
                Text("h3", "The ten likeliest here")
                Text("p", "Choose another one, and the text branches: what was written stays.", "hint")
                self._bars = Bars("The ten likeliest here", put)
                self._inside = Text("a", "Look inside the model here", "button")
        self.close()

    def show(self, told: Told, place: int, origin: str, of: int, inside: str) -> str:
        """Show a token, and give a sentence about it. `inside`: the fragment that looks into the model there."""
        one = told.choice
        sentence = f"{percent(one.probability)} likely here, number {one.rank:,} of {of:,}."
        self._title.set_text(one.text)
        self._told.set_text(f"{origin}, token {place + 1}. {sentence} Surprise: {one.bits:.2f} bits.")
        self._bars.show(lines_of(told))
        self._inside.set(href=f"#{inside}")
        self._open(True)
        return f"Token {place + 1}, {one.text}: {sentence}"

    def close(self) -> None:
        """Show none."""
        self._open(False)

    def _open(self, open: bool) -> None:
        self._found.set_visibility(open)
        self._invitation.set_visibility(not open)
        self.frame.classes(add="open" if open else "", remove="" if open else "open")
