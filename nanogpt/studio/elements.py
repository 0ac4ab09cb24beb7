"""The elements that the views are built of: HTML tags, fields, bar lists, and text whose tokens can be selected.

Each `component` is a Vue component in `assets/`. Text of a model, a run or an address is never inserted as HTML.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from typing import Any

from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from nanogpt.studio.labels import LEVELS, Bar, TokenLabel

Change = Callable[[str], Any]
ARRIVE_SECONDS = 10
"""How long to wait for a browser that may be busy."""


class _WithAttributes(Element):
    def set(self, **attributes: Any) -> None:
        """Change attributes; nothing is sent to the browser if they are as before."""
        new = _html_names(attributes)
        if any(self.props.get(name) != value for name, value in new.items()):
            self.props.update(new)


class Tag(_WithAttributes):
    """An HTML element. `aria_label` becomes `aria-label`, `for_` becomes `for`."""

    def __init__(self, tag: str, classes: str = "", **attributes: Any) -> None:
        super().__init__(tag)
        self.classes(classes)
        self.props.update(_html_names(attributes))


class Text(TextElement, _WithAttributes):
    """An HTML element with text, which `set_text` changes."""

    def __init__(self, tag: str, text: str = "", classes: str = "", **attributes: Any) -> None:
        super().__init__(tag=tag, text=text)
        self.classes(classes)
        self.props.update(_html_names(attributes))


def _html_names(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}


def button(text: str, click: Callable[[], Any] | None = None, classes: str = "", **attributes: Any) -> Text:
    """Make a button; `click` may be a coroutine function."""
    made = Text("button", text, classes, **{"type": "button"} | attributes)
    if click is not None:
        made.on("click", click)
    return made


def card(title: str) -> Tag:
    """Make a section with a heading, for use in a `with` statement."""
    made = Tag("section", "card")
    made.props["aria-labelledby"] = f"title-{made.id}"
    with made:
        Text("h2", title, id=f"title-{made.id}")
    return made


def hint(text: str = "") -> Text:
    """Make a paragraph that explains what is around it."""
    return Text("p", text, "hint")


def sample_text(label: str, text: str = "") -> Text:
    """Make a block of generated text, which the keyboard can scroll."""
    return Text("pre", text, "sample", tabindex="0", role="region", aria_label=label)


def probability_legend() -> None:
    """Show the colour levels and their probabilities."""
    names = [*(f"≥ {100 * least:g} %" for least in LEVELS), "less"]
    with Tag("div", "legend"):
        Text("span", "Probability")
        for level, name in enumerate(names):
            Text("span", name, "token", data_level=level)


class Field(Element, component="assets/field.js"):
    """A labelled input; `kind` is `number`, `range`, `textarea` or `select`, and `settings` are attributes as in HTML.

    `value` is always a string, and `change` is called with each new one. Ctrl-Enter in a `textarea` raises `enter`.
    """

    def __init__(self, kind: str, label: str, value: str = "", change: Change | None = None, **settings: Any) -> None:
        super().__init__()
        self.value = value = _without_surrogates(value)
        self.props.update({"kind": kind, "label": label, "value": value, **settings})
        self._change = change
        self.on("change", lambda event: self._changed(event.args))

    def put(self, value: str) -> None:
        """Show another value, without calling `change`."""
        self.value = value = _without_surrogates(value)
        # The counter makes the browser replace what was typed even if the value is the same as before.
        self.props.update({"value": value, "turn": self.props.get("turn", 0) + 1})

    def set_options(self, options: Mapping[str, str], value: str) -> None:
        """Replace the options of a select field, {value: label}."""
        self.value = value
        self.props.update({"options": _pairs(options), "value": value})

    def set_help(self, help: str, warning: bool = False) -> None:
        """Show a line below the field."""
        self.props.update({"help": help, "warning": warning})

    def _changed(self, value: Any) -> Any:
        self.value = _without_surrogates(str(value))
        return self._change(self.value) if self._change is not None else None


def _without_surrogates(text: str) -> str:
    r"""Replace half characters (surrogates), as a cut emoji leaves them: they cannot be sent to a browser.

    >>> _without_surrogates("a\ud83d\ude00 b\ud83d")
    'a😀 b�'
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def select(label: str, options: Mapping[str, str], value: str, change: Change | None = None) -> Field:
    """Make a select field from {value: label}."""
    return Field("select", label, value, change, options=_pairs(options))


def _pairs(options: Mapping[str, str]) -> list[list[str]]:
    return [[value, name] for value, name in options.items()]


class NamedSlider(Element, component="assets/named_slider.js"):
    """A slider over a list of names. `change` is called with each new index."""

    def __init__(self, label: str, names: Sequence[str], index: int, change: Callable[[int], Any]) -> None:
        super().__init__()
        self._change = change
        self.props.update({"label": label, "names": list(names), "index": index, "turn": 0})
        self.on("change", lambda event: self._changed(event.args))  # a throttle would delay the last value

    def set_names(self, names: Sequence[str], index: int) -> None:
        """Replace the names, without calling `change`."""
        self.props.update({"names": list(names), "index": index, "turn": self.props["turn"] + 1})

    def _changed(self, index: Any) -> Any:
        return self._change(min(max(0, int(index)), len(self.props["names"]) - 1))


class VisibilityObserver(Element, component="assets/visibility.js"):
    """A container that knows whether it is `seen` in the browser. `removed` is called when it is deleted."""

    def __init__(self, removed: Callable[[], None]) -> None:
        super().__init__()
        self.seen, self._removed = False, removed
        self.on("seen", lambda event: setattr(self, "seen", bool(event.args)))

    def _handle_delete(self) -> None:
        self.seen = False
        self._removed()
        super()._handle_delete()


class Bars(Element, component="assets/bars.js"):
    """A list of names, bars and values. With `choose`, called with an index, each line is a button."""

    def __init__(self, label: str, choose: Callable[[int], Any] | None = None, classes: str = "") -> None:
        super().__init__()
        self.classes(classes)
        self.props.update({"label": label, "buttons": choose is not None, "lines": []})
        if choose is not None:
            self.on("choose", lambda event: choose(int(event.args)))

    def show(self, bars: Sequence[Bar]) -> None:
        """Replace the lines."""
        self.props["lines"] = [astuple(one) for one in bars]


class Branches(Element, component="assets/branches.js"):
    """An indented list of buttons, one of them current; `go` is called with the index of the one pressed."""

    def __init__(self, label: str, go: Callable[[int], Any]) -> None:
        super().__init__()
        self.props.update({"label": label, "items": []})
        self.on("go", lambda event: go(int(event.args)))

    def show(self, items: Sequence[tuple[str, int, bool]]) -> None:
        """Replace the items: (name, indent, whether it is the current one)."""
        self.props["items"] = [list(one) for one in items]


class TokenText(Element, component="assets/token_text.js"):
    """A text whose tokens are coloured, selected by click or arrow keys, and explained where the mouse points.

    `choose` is called with a position from `first` on, or None. `tip` returns the title and bars of a tooltip.
    """

    def __init__(
        self,
        label: str,
        choose: Callable[[int | None], Any],
        tip: Callable[[int], tuple[str, list[Bar]] | None] = lambda position: None,
        first: int = 1,
    ) -> None:
        super().__init__()
        self._tokens: list[TokenLabel] = []
        self._chosen: int | None = None
        self._weights: tuple[list[float], int] | None = None
        self._arcs = False
        self.props.update({"label": label, "first": first})
        self._choose = choose
        self.on("choose", lambda event: self._chose(event.args))
        self.on("point", lambda event: self._point(int(event.args), tip))
        # A browser that connects late or draws the element again asks for everything.
        self.on("ready", self._send)

    def show(self, tokens: Sequence[TokenLabel], chosen: int | None = None) -> None:
        """Replace the text."""
        self._tokens, self._chosen, self._weights = list(tokens), chosen, None
        self._send()

    def add(self, tokens: Sequence[TokenLabel]) -> None:
        """Append tokens."""
        self._tokens += tokens
        self.run_method("add", [astuple(one) for one in tokens])

    async def arrived(self) -> None:
        """Wait until the browser shows what it was sent: NiceGUI sends changes of elements before method calls."""
        await asyncio.sleep(0)  # a method call that is not awaited is sent by its own task
        if self.is_deleted:
            return
        with suppress(TimeoutError):
            await self.run_method("count", timeout=ARRIVE_SECONDS)

    def select(self, position: int | None) -> None:
        """Select a token, or none, without calling `choose`."""
        if position != self._chosen:  # else the browser selected it, and may be ahead: an arrow key is held down
            self._chosen = position
            self.run_method("select", position)

    def shade(self, weights: Sequence[float], start: int, arcs: bool = False) -> None:
        """Colour the tokens from `start` on by weights; `arcs` connects them with the selected token."""
        self._weights, self._arcs = (list(weights), start), arcs
        self._send_shade()

    def _send(self) -> None:
        self.run_method("show", [astuple(one) for one in self._tokens], self._chosen)
        self._send_shade()

    def _send_shade(self) -> None:
        if self._weights is not None:
            weights, start = self._weights
            self.run_method("shade", [round(one, 4) for one in weights], start, self._arcs)

    def _chose(self, position: int | None) -> Any:
        self._chosen = position
        return self._choose(position)

    def _point(self, position: int, tip: Callable[[int], tuple[str, list[Bar]] | None]) -> None:
        found = tip(position)
        if found is not None:
            title, bars = found
            self.run_method("tip", position, title, [astuple(one) for one in bars])
