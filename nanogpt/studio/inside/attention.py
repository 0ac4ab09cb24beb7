"""Attention: a small picture of every head, one of them large, and what happens without it."""

from collections.abc import Callable, Sequence
from typing import Any

from nanogpt.explain import Head
from nanogpt.studio.inside.looking import Looked
from nanogpt.studio.inside.pictures import Heads, Map
from nanogpt.studio.inside.window import MOST_DRAWN, Span, shown_span
from nanogpt.studio.inside.words import effect_lines, head_name, map_of
from nanogpt.studio.parts import Bars, Line, Tag, Text, button, card
from nanogpt.text.tokenizer import Tokenizer

Off = tuple[Head, ...]


class Attention:
    """The part of the page about heads. It asks by `choose` (layer, head), `place`, `switch` (heads off), `weigh`."""

    def __init__(
        self,
        choose: Callable[[int | None, int | None], Any],
        place: Callable[[int], Any],
        switch: Callable[[Off], Any],
        weigh: Callable[[], Any],
    ) -> None:
        self._choose, self._switch = choose, switch
        self._one: Head | None = None
        self._off: Off = ()
        with card("Attention of every head"):
            Text(
                "p",
                "A row of a picture is a token that looks, a column one that is seen. The stronger the colour, the "
                "more of its attention goes there; colours grow with the square root, so that little shows too. "
                "Choose a head to see it large.",
                "hint",
            )
            self._heads = Heads(self._toggle)
            self._title = Text("h3", "")
            self._map = Map(place)
        with card("Without a head"):
            Text(
                "p",
                "Switch a head off, and its output is zero; all else stays as it was trained. What another head could "
                "take over does not show.",
                "hint",
            )
            with Tag("div", "buttons"):
                self._button = button("Switch this head off", self._switch_one)
                self._all = button("Switch all on", lambda: switch(()))
                button("Which heads matter for this text?", weigh)
            self._told = Text("p", "", role="status", aria_live="polite")
            self._effects = Bars("What switching off changes")
            self._rises_title = Text("h3", "How much worse the text is predicted without each, in nats a token")
            self._rises = Bars("The heads that matter most")
        self.show_importance([])

    def show(self, looked: Looked, names: Sequence[str], layer: int | None, head: int | None, of: Tokenizer) -> None:
        """Show what a place looks at; `names` are those of the tokens of the trace."""
        trace, position = looked.trace, looked.position
        span = shown_span(len(trace.ids), position, MOST_DRAWN)
        self._one = None if layer is None or head is None else (layer, head)
        self._off = trace.off
        self._heads.show(trace, span, self._one)
        self._show_map(looked, names, span, layer, head)
        on = self._one not in self._off
        self._button.set_text("Switch this head off" if on else "Switch this head on")
        self._button.set(disabled=self._one is None)
        self._all.set(disabled=not self._off)
        self._show_effects(looked, of)

    def show_importance(self, lines: Sequence[Line]) -> None:
        """Show which heads matter; nothing where nobody asked."""
        self._rises.show(lines)
        self._rises.set_visibility(bool(lines))
        self._rises_title.set_visibility(bool(lines))

    def _show_map(self, looked: Looked, names: Sequence[str], span: Span, layer: int | None, head: int | None) -> None:
        title = mean_name(layer, head)
        weights = map_of(looked.trace, layer, head)[span.start : span.end, span.start : span.end]
        self._title.set_text(title[0].upper() + title[1:])
        first = looked.span.start + span.start
        label = f"Attention, {title}"
        self._map.show(weights, names[span.start : span.end], looked.position - span.start, first, label)

    def _show_effects(self, looked: Looked, tokenizer: Tokenizer) -> None:
        self._effects.set_visibility(bool(self._off))
        if self._off:
            heads = "; ".join(head_name(*one) for one in self._off)
            self._told.set_text(f"Switched off: {heads}. What comes next, before and after, the largest changes first:")
            self._effects.show(effect_lines(looked.effects, tokenizer))
        else:
            self._told.set_text("All heads are on." if self._one else "All heads are on. Choose one above first.")

    def _toggle(self, layer: int, head: int) -> Any:
        return self._choose(None, None) if (layer, head) == self._one else self._choose(layer, head)

    def _switch_one(self) -> Any:
        if self._one is None:
            return None
        rest = tuple(one for one in self._off if one != self._one)
        return self._switch(rest if self._one in self._off else (*rest, self._one))


def mean_name(layer: int | None, head: int | None) -> str:
    """Which heads are meant, in words."""
    if layer is None:
        return "all heads, mean" if head is None else f"head {head + 1} of each layer, mean"
    return f"layer {layer + 1}, all heads, mean" if head is None else head_name(layer, head)
