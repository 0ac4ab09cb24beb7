"""What a view shows, as the part of the address after `#`: copied to another browser it shows the same.

Only what differs from the view's defaults is written. What is read is not trusted: an unknown name is left out, a value
that makes no sense is left out and told. A text too long for an address is kept here, and stands in it by its hash.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from nanogpt.config import SampleConfig
from nanogpt.errors import UserError

VIEWS = ("write", "inside", "learn", "course")
AXES = ("steps", "seconds")
LONGEST = 6000
"""Characters of one text in an address; every browser and most programs that pass addresses on take as many."""
BY_HASH = "sha256:"
LARGEST_NUMBER = 2**53

Head = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class State:
    """All that a view shows."""

    view: str = "write"
    run: str = ""
    """name on the shelf; empty for the newest"""
    step: int | None = None
    """of the checkpoint; None for the best, and under "learn" for none"""
    model: str = ""
    """hash of the weights, which decides whether it is the same model"""
    run2: str = ""
    """the second model, beside the first; empty for none"""
    step2: int | None = None
    model2: str = ""
    prompt: str | None = None
    """how the text begins; None for a beginning that suits the model"""
    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    tokens: int = 300
    seed: int = 1337
    tree: str = ""
    """the text that was written, and its branches (`nanogpt.studio.writing.Tree.pack`)"""
    tree2: str = ""
    """that of the second model"""
    side: int = 1
    """in which of the two texts the token is"""
    token: int | None = None
    """the chosen token's place in the text"""
    text: str | None = None
    """what is looked into; None for what suits the model"""
    layer: int | None = None
    head: int | None = None
    off: tuple[Head, ...] = ()
    """heads that are switched off"""
    compared: tuple[str, ...] = ()
    """runs whose curves are drawn together"""
    axis: str = AXES[0]
    """what these curves are drawn over"""
    corpus: str = "python"
    """what the course's sections are trained on"""
    steps: int = 300
    """how long each of them is trained"""

    def sampler(self) -> SampleConfig:
        """How text is drawn. Raises UserError for settings out of range."""
        return SampleConfig(
            tokens=self.tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            seed=self.seed,
        )


DEFAULTS: dict[str, dict[str, Any]] = {"learn": {"temperature": 0.0, "tokens": 120}}
"""Those of a view where they are other ones: the time machine asks for the likeliest token, so that whatever changes
from step to step was learned."""


def bare(view: str) -> State:
    """What an address shows that names a view and nothing else."""
    return State(view=view, **DEFAULTS.get(view, {}))


def to_fragment(state: State) -> str:
    """A state as an address's fragment, without the `#`.

    >>> to_fragment(State(view="inside", run="book-modern-1", text="the cat", off=((0, 1), (2, 3))))
    'view=inside&run=book-modern-1&text=the+cat&off=0.1,2.3'
    """
    default, pairs = bare(state.view), [("view", state.view)]
    for name in (one.name for one in fields(State)):
        value = getattr(state, name)
        if value != getattr(default, name):
            pairs += [(name, _written(one)) for one in (value if name in SEVERAL else [value])]
    return urlencode(pairs, safe="/,:", errors="replace")


def from_fragment(fragment: str) -> tuple[State, list[str]]:
    """The state that an address's fragment tells, and what in it could not be read.

    >>> state, problems = from_fragment("view=inside&token=7&colour=red")
    >>> state.view, state.token, problems
    ('inside', 7, [])
    >>> from_fragment("token=seven")[1]
    ['the address says token=seven, which makes no sense: left out']
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
            problems.append(f"the address says {name}={text[:40]}, which makes no sense: left out")
    default = bare(found.get("view", State().view))
    try:
        replace(default, **found).sampler()
    except UserError as error:
        problems.append(f"the address's settings make no sense ({error}): left out")
        found = {name: value for name, value in found.items() if name not in SETTINGS}
    return replace(default, **found), problems


class Texts:
    """Texts too long for an address, by their hash, while the studio runs; the oldest goes where there are too many."""

    def __init__(self, room_characters: int = 20_000_000) -> None:
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._room, self._busy = room_characters, threading.Lock()

    def shorten(self, state: State) -> State:
        """The state with each long text replaced by its hash."""
        short: dict[str, Any] = {name: self._short(getattr(state, name)) for name in LONG}
        return replace(state, **short)

    def restore(self, state: State) -> tuple[State, list[str]]:
        """The state with its texts, and a line for each that is not here."""
        found: dict[str, Any] = {}
        missing = []
        for name, what in LONG.items():
            value = getattr(state, name)
            if value is None or not value.startswith(BY_HASH):
                continue
            digest = value.removeprefix(BY_HASH)
            with self._busy:
                found[name] = self._kept.get(digest)
            if found[name] is None:
                found[name] = getattr(State(), name)
                missing.append(
                    f"{what} (hash {digest[:12]}) is too long for an address, and this studio has not got it: "
                    f"all else is as it was"
                )
        return replace(state, **found), missing

    def _short(self, text: str | None) -> str | None:
        if text is None or (len(text) <= LONGEST and not text.startswith(BY_HASH)):
            return text
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        with self._busy:
            self._kept[digest] = text
            self._kept.move_to_end(digest)
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > self._room:
                self._kept.popitem(last=False)
        return BY_HASH + digest


LONG = {
    "prompt": "the prompt of this address",
    "text": "the text of this address",
    "tree": "the text of this address",
    "tree2": "the second text of this address",
}
SETTINGS = ("temperature", "top_k", "top_p", "min_p", "tokens", "seed")
SEVERAL = ("compared",)
"""Fields of several texts. The address names such a field once for each, as any sign may be in a text."""


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(f"{layer}.{head}" for layer, head in value)
    return repr(value) if isinstance(value, float) else str(value)


def _whole(least: int, most: int = LARGEST_NUMBER) -> Callable[[str], int]:
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
    number = _whole(0, 10_000)
    pairs = [one.split(".") for one in text.split(",")]
    return tuple((number(layer), number(head)) for layer, head in pairs)


READERS: dict[str, Callable[[str], Any]] = {
    "view": _one_of(*VIEWS),
    "axis": _one_of(*AXES),
    **dict.fromkeys(("run", "model", "run2", "model2", "prompt", "tree", "tree2", "text", "compared", "corpus"), str),
    **dict.fromkeys(("temperature", "top_p", "min_p"), float),
    **dict.fromkeys(("step", "step2", "token", "layer", "head", "seed"), _whole(0)),
    **dict.fromkeys(("top_k", "tokens", "steps"), _whole(1)),
    "side": _whole(1, 2),
    "off": _heads,
}
