"""The settings of a text, as fields: what they say is a `State`, what they cannot say is told."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nanogpt.errors import UserError
from nanogpt.studio.parts import Tag, Text, number, slider, writing
from nanogpt.studio.state import State


class Settings:
    """Prompt and sampler. `enter` is called where a person asks for the text by keyboard."""

    def __init__(self, state: State, typed: Callable[[str], Any], enter: Callable[[], Any]) -> None:
        self.prompt = writing("How the text begins", state.prompt or "", typed)
        self.prompt.on("enter", enter)
        shown = {name: "" if (value := getattr(state, name)) is None else f"{value:g}" for name in OPTIONAL}
        with Tag("div", "fields sampler"):
            self.temperature = slider("Temperature", f"{state.temperature:g}", min=0, max=2, step=0.05)
            self.tokens = number("Tokens", str(state.tokens), min=1, max=10000, step=1)
            self.seed = number("Seed", str(state.seed), min=0, step=1)
            self.top_k = number("Top-k", shown["top_k"], min=1, step=1, placeholder="all")
            self.top_p = number("Top-p", shown["top_p"], min=0, max=1, step="any", placeholder="all")
            self.min_p = number("Min-p", shown["min_p"], min=0, max=1, step="any", placeholder="all")
        for one in (self.tokens, self.seed, self.top_k, self.top_p, self.min_p):
            one.on("enter", enter)
        Text(
            "p",
            "Temperature below 1 is safer, above 1 wilder; 0 always takes the likeliest token. Top-k, top-p and min-p "
            "leave out unlikely ones. The same seed and settings give the same text.",
            "hint",
        )

    def read(self, state: State) -> State:
        """The state with what the fields say. Raises UserError for what makes no sense."""
        found = replace(
            state,
            prompt=self.prompt.value,
            temperature=_number("temperature", self.temperature.value, float),
            tokens=_number("tokens", self.tokens.value, int),
            seed=_number("seed", self.seed.value, int),
            **{name: _optional(name, getattr(self, name).value) for name in OPTIONAL},
        )
        found.sampler()
        return found


OPTIONAL = ("top_k", "top_p", "min_p")


def _optional(name: str, text: str) -> Any:
    return _number(name.replace("_", "-"), text, int if name == "top_k" else float) if text.strip() else None


def _number(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise UserError(f"{name} is {text!r}; give a {'whole ' if kind is int else ''}number") from None
