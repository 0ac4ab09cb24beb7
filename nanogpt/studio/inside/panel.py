"""The token that is looked at: what comes after it, and where it looks."""

from collections.abc import Callable, Sequence
from typing import Any

from nanogpt.studio.inside.attention import mean_name
from nanogpt.studio.inside.looking import Looked
from nanogpt.studio.inside.words import attended_lines, attention_at
from nanogpt.studio.parts import Bars, Line, Tag, Text, button, choose, percent

ALL = "all"


class Panel:
    """A part of the page about one token. `head` is told a layer and a head, None for all; `move` -1 or 1."""

    def __init__(self, head: Callable[[int | None, int | None], Any], move: Callable[[int], Any]) -> None:
        self._tell_head = head
        with Tag("section", "card panel open", aria_label="The token that is looked at"):
            with Tag("div", "chosen"):
                button("←", lambda: move(-1), aria_label="Previous token")
                self._title = Text("h2", "")
                button("→", lambda: move(1), aria_label="Next token")
            self._told = Text("p", "")
            Text("h3", "What comes next")
            self._next = Bars("The ten likeliest tokens after it")
            Text("h3", "Where it looks")
            with Tag("div", "fields"):
                self._layer = choose("Layer", {ALL: "all, mean"}, ALL, lambda value: self._chosen())
                self._head = choose("Head", {ALL: "all, mean"}, ALL, lambda value: self._chosen())
            self._attended = Bars("The tokens that it looks at most", classes="attention")

    def offer(self, layers: int, heads: int) -> None:
        """Offer the layers and heads of a model."""
        for field, count in ((self._layer, layers), (self._head, heads)):
            field.offer({ALL: "all, mean"} | {str(one): str(one + 1) for one in range(count)}, field.value)

    def show(self, looked: Looked, names: Sequence[str], layer: int | None, head: int | None) -> None:
        """Show a place, and where the head looks that is meant, or several in the mean."""
        came, of = looked.came, looked.trace.logits.size(-1)
        weights = attention_at(looked.trace, looked.position, layer, head)
        self._title.set_text(names[looked.position])
        self._told.set_text(
            f"Token {looked.place + 1:,} of {len(looked.ids):,}. "
            + (
                f"After it came {came.text}: {percent(came.probability)} likely, number {came.rank:,} of {of:,}."
                if came
                else "Nothing came after it yet."
            )
        )
        self._next.show(
            [
                Line(one.text, one.probability, percent(one.probability), came is not None and one.token == came.token)
                for one in looked.next
            ]
        )
        self._layer.put(ALL if layer is None else str(layer))
        self._head.put(ALL if head is None else str(head))
        self._attended.show(attended_lines(weights, names, looked.position))
        self._attended.props["label"] = f"The tokens that it looks at most, {mean_name(layer, head)}"
        self._attended.update()

    def _chosen(self) -> Any:
        layer, head = (None if one.value == ALL else int(one.value) for one in (self._layer, self._head))
        return self._tell_head(layer, head)
