"""What a view shows, as the part of the address after `#`: copied to another browser, it shows the same.

Values that differ from the view's defaults are written; unknown names and invalid values are ignored. The address has
the hash of a text that is too long for it; the text is kept here.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from nanogpt.config import SampleConfig
from nanogpt.errors import UserError

VIEWS = ("write", "inside", "learn", "course")
AXES = ("steps", "seconds")
MAX_LENGTH = 6000
"""Characters of one text in an address that every browser, and most programs that pass addresses on, accept."""
BY_HASH = "sha256:"
MAX_NUMBER = 2**53

Head = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything a view shows."""

    view: str = "write"
    run: str = ""
    """name in the registry; empty for the newest run"""
    step: int | None = None
    """of the checkpoint; None for the best, in the view "learn" for none"""
    model: str = ""
    """hash of the weights, which identifies the model"""
    run2: str = ""
    """second model; empty for none"""
    step2: int | None = None
    model2: str = ""
    prompt: str | None = None
    """None for a prompt that the model knows all characters of"""
    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    tokens: int = 300
    seed: int = 1337
    tree: str = ""
    """the generated text and its branches, see `TextTree.pack`"""
    tree2: str = ""
    """text of the second model"""
    side: int = 1
    """which of the two texts the selected token is in"""
    token: int | None = None
    """position of the selected token"""
    text: str | None = None
    """text to look into; None for one that the model writes"""
    layer: int | None = None
    head: int | None = None
    off: tuple[Head, ...] = ()
    """heads that are switched off, (layer, head)"""
    compared: tuple[str, ...] = ()
    """runs whose curves are compared"""
    axis: str = AXES[0]
    """x axis of these curves"""
    corpus: str = "python"
    """text that the course's sections are trained on"""
    steps: int = 300
    """training steps of each section"""

    def sampler(self) -> SampleConfig:
        """Return the sampling settings. Raises UserError, with the names of the address, for values out of range."""
        try:
            return SampleConfig(**{name: getattr(self, name) for name in SETTINGS})
        except UserError as error:
            raise UserError(re.sub(r"--([a-z-]+)", lambda name: name[1].replace("-", "_"), str(error))) from None


DEFAULTS: dict[str, dict[str, Any]] = {"learn": {"temperature": 0.0, "tokens": 120}}
"""Defaults of a view that differ from `State`'s."""


def default_state(view: str) -> State:
    """Return the state of an address that names a view and nothing else."""
    return State(view=view, **DEFAULTS.get(view, {}))


def to_fragment(state: State) -> str:
    """Return a state as the fragment of an address, without the `#`.

    >>> to_fragment(State(view="inside", run="book-modern-1", text="the cat", off=((0, 1), (2, 3))))
    'view=inside&run=book-modern-1&text=the+cat&off=0.1,2.3'
    """
    default, pairs = default_state(state.view), [("view", state.view)]
    for name in (one.name for one in fields(State)):
        value = getattr(state, name)
        if value != getattr(default, name):
            pairs += [(name, _format(one)) for one in (value if name in SEVERAL else [value])]
    return urlencode(pairs, safe="/,:", errors="replace")


def from_fragment(fragment: str) -> tuple[State, list[str]]:
    """Return the state in the fragment of an address, and a message about each value that is invalid.

    >>> state, problems = from_fragment("view=inside&token=7&colour=red")
    >>> state.view, state.token, problems
    ('inside', 7, [])
    >>> from_fragment("token=seven")[1]
    ['the address says token=seven, which is invalid: left out']
    """
    found: dict[str, Any] = {}
    problems = []
    for name, text in parse_qsl(fragment.removeprefix("#"), errors="replace", keep_blank_values=True):
        if name not in READERS:
            continue
        try:
            value = READERS[name](text)
            found[name] = (*found.get(name, ()), value) if name in SEVERAL else value
        except (ValueError, OverflowError):
            problems.append(f"the address says {name}={text[:40]}, which is invalid: left out")
    default = default_state(found.get("view", State().view))
    try:
        replace(default, **found).sampler()
    except UserError as error:
        problems.append(f"the settings in the address are invalid ({error}): left out")
        found = {name: value for name, value in found.items() if name not in SETTINGS}
    return replace(default, **found), problems


class LongTexts:
    """Texts too long for an address, by their hash, as long as the studio runs; the oldest are dropped first."""

    def __init__(self, max_characters: int = 20_000_000) -> None:
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._max_characters = max_characters

    def shorten(self, state: State) -> State:
        """Return the state with each long text replaced by its hash."""
        short: dict[str, Any] = {}
        for name in LONG:
            text = getattr(state, name)
            if text is None or (len(text) <= MAX_LENGTH and not text.startswith(BY_HASH)):
                continue
            digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            self._kept[digest] = text
            self._kept.move_to_end(digest)
            short[name] = BY_HASH + digest
        while len(self._kept) > 1 and sum(map(len, self._kept.values())) > self._max_characters:
            self._kept.popitem(last=False)
        return replace(state, **short)

    def restore(self, state: State) -> tuple[State, list[str]]:
        """Return the state with its texts, and a message about each that is missing."""
        found: dict[str, Any] = {}
        missing = []
        for name, what in LONG.items():
            value = getattr(state, name)
            if value is None or not value.startswith(BY_HASH):
                continue
            digest = value.removeprefix(BY_HASH)
            found[name] = self._kept.get(digest)
            if found[name] is None:
                found[name] = getattr(State(), name)
                missing.append(
                    f"{what} (hash {digest[:12]}) is too long for an address and unknown to this studio: "
                    f"everything else is as it was"
                )
        return replace(state, **found), missing


LONG = {
    "prompt": "the prompt of this address",
    "text": "the text of this address",
    "tree": "the text of this address",
    "tree2": "the second text of this address",
}
SETTINGS = ("temperature", "top_k", "top_p", "min_p", "tokens", "seed")
SEVERAL = ("compared",)
"""Fields with several values. The address repeats the name for each, since a text may contain any character."""


def _format(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{layer}.{head}" for layer, head in value)
    return repr(value) if isinstance(value, float) else str(value)


def _integer(least: int, most: int = MAX_NUMBER) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and least <= int(text[:20]) <= most):
            raise ValueError(text)
        return int(text)

    return read


def _one_of(*names: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in names:
            raise ValueError(text)
        return text

    return read


def _heads(text: str) -> tuple[Head, ...]:
    number = _integer(0, 10_000)
    pairs = [one.split(".") for one in text.split(",")]
    return tuple((number(layer), number(head)) for layer, head in pairs)


READERS: dict[str, Callable[[str], Any]] = {
    "view": _one_of(*VIEWS),
    "axis": _one_of(*AXES),
    **dict.fromkeys(("run", "model", "run2", "model2", "prompt", "tree", "tree2", "text", "compared", "corpus"), str),
    **dict.fromkeys(("temperature", "top_p", "min_p"), float),
    **dict.fromkeys(("step", "step2", "token", "layer", "head", "seed"), _integer(0)),
    **dict.fromkeys(("top_k", "tokens", "steps"), _integer(1)),
    "side": _integer(1, 2),
    "off": _heads,
}
