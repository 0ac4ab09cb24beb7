"""Native elements with attributes, and the few words and colours that all views share."""

from collections.abc import Callable
from typing import Any

from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement

from nanogpt.studio.words import LEVELS


class Tag(Element):
    """An element of HTML. `aria_label` becomes `aria-label`, `for_` becomes `for`."""

    def __init__(self, tag: str, classes: str = "", **attributes: Any) -> None:
        super().__init__(tag)
        self.classes(classes)
        self.props.update(_named(attributes))

    def set(self, **attributes: Any) -> None:
        """Change attributes."""
        self.props.update(_named(attributes))
        self.update()


class Text(TextElement):
    """An element of HTML that holds a text, which can be changed by `set_text`."""

    def __init__(self, tag: str, text: str = "", classes: str = "", **attributes: Any) -> None:
        super().__init__(tag=tag, text=text)
        self.classes(classes)
        self.props.update(_named(attributes))

    def set(self, **attributes: Any) -> None:
        """Change attributes."""
        self.props.update(_named(attributes))
        self.update()


def button(text: str, click: Callable[[], Any] | None = None, classes: str = "", **attributes: Any) -> Text:
    """A button; `click` may be a coroutine function."""
    made = Text("button", text, classes, **{"type": "button"} | attributes)
    if click is not None:
        made.on("click", click)
    return made


def card(title: str, level: int = 2, **attributes: Any) -> Tag:
    """A framed part of the page under a heading; `with` it what follows goes into it."""
    made = Tag("section", "card", **attributes)
    made.props["aria-labelledby"] = f"title-{made.id}"
    with made:
        Text(f"h{level}", title, id=f"title-{made.id}")
    return made


def legend() -> None:
    """The colours and what they stand for; told in words beside them."""
    words = [*(f"≥ {100 * least:g} %" for least in LEVELS), "less"]
    with Tag("div", "legend"):
        Text("span", "Probability")
        for level, word in enumerate(words):
            Text("span", word, "token", data_level=level)


def _named(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
