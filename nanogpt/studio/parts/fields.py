"""Fields with their labels, as the browser has them."""

from collections.abc import Callable, Mapping
from typing import Any

from nicegui.element import Element

Change = Callable[[str], Any]


class Field(Element, component="field.js"):
    """A labelled field. What is in it is `value`, always a text; `change` is told of each new one."""

    def __init__(self, kind: str, label: str, value: str = "", change: Change | None = None, **settings: Any) -> None:
        super().__init__()
        self.value = value = _whole(value)
        self.props.update({"kind": kind, "label": label, "value": value, **settings})
        self._change = change
        self.on("change", lambda event: self._changed(event.args))

    def put(self, value: str) -> None:
        """Show another value; nobody is told."""
        self.value = value = _whole(value)
        # A counter beside it: the same value put again still replaces what was typed since.
        self.props.update({"value": value, "turn": self.props.get("turn", 0) + 1})
        self.update()

    def offer(self, options: Mapping[str, str], value: str) -> None:
        """Show other options of a choice: what each stands for, and its name."""
        self.value = value
        self.props.update({"options": _pairs(options), "value": value})
        self.update()

    def tell(self, help: str, warning: bool = False) -> None:
        """Show a line below the field."""
        self.props.update({"help": help, "warning": warning})
        self.update()

    def _changed(self, value: Any) -> Any:
        self.value = _whole(str(value))
        return self._change(self.value) if self._change is not None else None


def _whole(text: str) -> str:
    """A text without halves of characters (surrogates), as a cut emoji leaves them: they cannot be sent to a browser.

    >>> _whole("a\\ud83d\\ude00 b\\ud83d")
    'a😀 b�'
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def choose(label: str, options: Mapping[str, str], value: str, change: Change | None = None, **settings: Any) -> Field:
    """One of some options: what each stands for, and its name."""
    return Field("select", label, value, change, options=_pairs(options), **settings)


def number(label: str, value: str = "", change: Change | None = None, **settings: Any) -> Field:
    """A number; `min`, `max`, `step` and `placeholder` as in HTML."""
    return Field("number", label, value, change, **settings)


def slider(label: str, value: str, change: Change | None = None, **settings: Any) -> Field:
    """A number on a scale; `min`, `max` and `step` as in HTML."""
    return Field("range", label, value, change, **settings)


def writing(label: str, value: str = "", change: Change | None = None, **settings: Any) -> Field:
    """A text of several lines; Ctrl-Enter is the event `enter`."""
    return Field("textarea", label, value, change, **settings)


def _pairs(options: Mapping[str, str]) -> list[list[str]]:
    return [[value, name] for value, name in options.items()]
