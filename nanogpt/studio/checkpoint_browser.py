"""The time machine: a slider over the kept checkpoints of a run, and what each makes of one prompt."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from nanogpt.errors import UserError, counted
from nanogpt.explain.predictions import visible_text
from nanogpt.explain.trace import logit_lens_at, trace_text
from nanogpt.runs.folder import RunFolder
from nanogpt.studio.elements import Field, NamedSlider, Tag, Text, button, card, hint, sample_text, select
from nanogpt.studio.inside_analysis import LensRow, heads_name, lens_rows
from nanogpt.studio.inside_pictures import AttentionMap, LensTable
from nanogpt.studio.labels import capitalized
from nanogpt.studio.registry import RunRegistry
from nanogpt.studio.state import State

CACHE_SIZE = 64
"""Snapshots kept in memory, so that sliding back is instant."""
LAST, ALL = "last", "all"
LIST_EVERY = 5
PLAY_SECONDS = 0.6
MAX_SHOWN = 20
"""Tokens of the prompt whose attention is shown, the newest."""
MAX_TOKENS = 300


@dataclass(frozen=True, kw_only=True)
class SnapshotQuery:
    """The prompt and settings given to every checkpoint."""

    prompt: str = ""
    tokens: int = 120
    temperature: float = 0.0
    """0 takes the likeliest token, so that every change between checkpoints was learned"""
    seed: int = 1337


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The results of one step's checkpoint."""

    step: int
    model: str
    """hash of the weights"""
    text: str
    """the prompt and its continuation"""
    tokens: list[str]
    """newest tokens of the prompt, (T,)"""
    skipped: int
    """tokens of the prompt before them"""
    attention: Tensor
    """(layers, heads, T, T)"""
    lens: list[LensRow]
    """the likeliest tokens after the prompt"""


def take_snapshot(registry: RunRegistry, name: str, step: int, query: SnapshotQuery) -> Snapshot:
    """Run the checkpoint of a step. Slow: not for the event loop. Raises UserError if it is missing or damaged."""
    try:
        run = registry.open(name, checkpoint=step)
        lock = registry.lock_of(run)
    except (OSError, KeyError):  # a running training drops old checkpoints
        raise UserError(f"the weights of step {step:,} have just been dropped: choose another step") from None
    with lock:
        tokens = min(query.tokens, MAX_TOKENS)
        text = "".join(run.stream(query.prompt, "skip", tokens=tokens, temperature=query.temperature, seed=query.seed))
        found = trace_text(run, query.prompt, unknown="skip")
        lens = lens_rows(logit_lens_at(run.model, found, -1), run.tokenizer)
    first = max(0, len(found.ids) - MAX_SHOWN)
    return Snapshot(
        step=step,
        model=registry.hash_of(run),
        text=query.prompt + text,
        tokens=[visible_text(run.tokenizer, token) for token in found.ids[first:]],
        skipped=found.skipped + first,
        attention=found.attention[:, :, first:, first:],
        lens=lens,
    )


class CheckpointBrowser:
    """A card of the page. `changed` is called when something else is shown.

    Nothing is computed before a person, or an address with a step, asks for it: a running training needs the cores.
    """

    def __init__(self, registry: RunRegistry, state: State, changed: Callable[[], Any]) -> None:
        self._registry, self._name, self._changed = registry, "", changed
        self._address_step: int | None = None
        """step of the address, until it is looked up"""
        self._address_hash: dict[int | None, str] = {}
        """hash of the weights that the address means by a step, until they are shown"""
        self._steps: list[int] = []
        self._index = 0
        self._cache: OrderedDict[tuple[str, int, SnapshotQuery], Snapshot] = OrderedDict()
        self._snapshot: Snapshot | None = None
        self._query = SnapshotQuery()
        """what the snapshot answers"""
        self._task: asyncio.Task[None] | None = None
        self._wanted = False
        self._turn = 0
        self._playing = False
        with card("Look back: the time machine"):
            hint("The same prompt, given to the model as it was after each step that was kept.")
            self._prompt = Field("textarea", "Prompt", "The " if state.prompt is None else state.prompt, rows=2)
            self._prompt.on("enter", self._ask)
            with Tag("div", "fields"):
                self._temperature = Field("range", "Temperature", f"{state.temperature:g}", min=0, max=2, step=0.1)
                self._seed = Field("number", "Seed", str(state.seed), min=0, step=1)
                self._tokens = Field("number", "Length, tokens", str(state.tokens), min=1, max=MAX_TOKENS, step=1)
            self._slider = NamedSlider("Step", ["–"], 0, self._slide)
            with Tag("div", "buttons"):
                button("Look", self._ask, "primary")
                self._play = button("Play from the start", self._play_all)
                self._status = Text("span", "", "status", role="status")
            with Tag("div", "found") as self._found:
                with Tag("div"):
                    Text("h3", "What it writes")
                    self._text = sample_text("What it writes")
                    Text("h3", "What each layer would predict (the logit lens)")
                    self._lens = LensTable()
                with Tag("div"):
                    Text("h3", "Where it looks")
                    layer = LAST if state.layer is None else str(state.layer)
                    head = ALL if state.head is None else str(state.head)
                    with Tag("div", "fields"):
                        self._layer = select("Layer", {LAST: "the last"}, layer, lambda _: self._show())
                        self._head = select("Head", {ALL: "the mean of all"}, head, lambda _: self._show())
                    self._attention = AttentionMap(lambda position: None)
                    self._caption = hint()
            self._found.set_visibility(False)

    @property
    def _chosen(self) -> tuple[int | None, int | None]:
        """The chosen layer, None for the last, and head, None for the mean of all."""
        layer, head = self._layer.value, self._head.value
        return None if layer == LAST else int(layer), None if head == ALL else int(head)

    def read(self, state: State) -> State:
        """Return the state with what is shown, without fields that were changed since."""
        found, query = self._snapshot, self._query
        if found is None:
            return replace(state, step=self._address_step, model=self._address_hash.get(self._address_step, ""))
        layer, head = self._chosen
        return replace(state, step=found.step, model=found.model, layer=layer, head=head, **asdict(query))

    def use(self, name: str, step: int | None = None, model: str = "") -> None:
        """Change the run; a step and a hash of weights from an address are shown at once."""
        if name != self._name:
            self._name, self._steps, self._snapshot, self._turn = name, [], None, 0
            self._address_step, self._address_hash = step, {} if step is None else {step: model}
            self._found.set_visibility(False)
            self._status.set_text("")

    async def tick(self) -> None:
        """Update the list of steps; the current one stays selected."""
        self._turn += 1
        if self._turn % LIST_EVERY != 1 or not self._name:
            return
        name, folder = self._name, RunFolder(self._registry.expected_path(self._name))
        steps = await asyncio.to_thread(lambda: list(folder.checkpoints.history()))
        if name != self._name:
            return
        if steps != self._steps:
            self._offer_steps(steps)
        wanted, self._address_step = self._address_step, None
        if wanted is not None and wanted in self._steps:
            self._ask()
        elif wanted is not None:
            self._status.set_text(f"The address means step {wanted:,}, which is not kept here: choose another.")

    def _offer_steps(self, steps: list[int]) -> None:
        here = self._address_step
        if self._steps and self._snapshot is not None:
            here = self._steps[self._index]
        self._steps = steps
        before = [one for one in steps if here is not None and one <= here]
        self._index = max(0, len(before) - 1 if here is not None else len(steps) - 1)
        self._slider.set_names([f"{one:,}" for one in steps] or ["–"], self._index)

    def _slide(self, index: int) -> None:
        self._index = index
        self._ask()

    def _ask(self) -> None:
        """Show the selected step. Of the requests that come while one is computed, only the newest is answered."""
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer())

    async def _answer(self) -> None:
        while self._wanted:
            self._wanted = False
            await self._compute()

    async def _compute(self) -> None:
        if not self._steps:
            self._status.set_text("There are no weights to look at yet.")
            return
        name, step = self._name, self._steps[min(self._index, len(self._steps) - 1)]
        try:
            query = self._read_query()
            if (found := self._cache.get((name, step, query))) is None:
                self._status.set_text(f"Asking the model of step {step:,} …")
                found = await asyncio.to_thread(take_snapshot, self._registry, name, step, query)
                self._cache[name, step, query] = found
                if len(self._cache) > CACHE_SIZE:
                    self._cache.popitem(last=False)
        except UserError as error:
            self._status.set_text(capitalized(str(error)))
            return
        if name == self._name and not self._found.is_deleted:
            self._snapshot, self._query = found, query
            status, meant = f"After {counted(step, 'step')}.", self._address_hash.pop(step, "")
            if meant not in ("", found.model):
                status += (
                    f" The address means other weights ({meant}); these are {found.model}, and may give another text."
                )
            self._status.set_text(status)
            self._show()

    def _read_query(self) -> SnapshotQuery:
        try:
            tokens, seed = int(self._tokens.value), int(self._seed.value)
        except ValueError:
            raise UserError("length and seed have to be whole numbers") from None
        temperature = float(self._temperature.value)
        return SnapshotQuery(prompt=self._prompt.value, tokens=tokens, temperature=temperature, seed=seed)

    def _show(self) -> None:
        found = self._snapshot
        if found is None:
            return
        layers = {LAST: "the last"} | {str(one): f"layer {one + 1}" for one in range(len(found.attention))}
        names = {ALL: "the mean of all"} | {str(one): f"head {one + 1}" for one in range(len(found.attention[0]))}
        for field, options, default in ((self._layer, layers, LAST), (self._head, names, ALL)):
            if len(field.props["options"]) != len(options):
                field.set_options(options, field.value if field.value in options else default)
        chosen, head = self._chosen
        layer = len(found.attention) - 1 if chosen is None else chosen
        heads, last = found.attention[layer], len(found.tokens) - 1
        label = f"Attention of {heads_name(layer, head)}"
        cut = f" Only the newest {len(found.tokens)} tokens of the prompt are shown." if found.skipped else ""
        self._text.set_text(found.text)
        self._attention.show(heads.mean(0) if head is None else heads[head], found.tokens, last, found.skipped, label)
        self._caption.set_text(f"{label}. Each row looks at columns: the stronger the colour, the more.{cut}")
        self._lens.show(found.lens)
        self._found.set_visibility(True)
        self._changed()

    async def _play_all(self) -> None:
        """Show one step after another, until the last one or until the button is pressed again."""
        if self._playing:
            self._playing = False
            return
        self._playing = True
        self._play.set_text("Stop here")
        try:
            for index in range(len(self._steps)):
                if not self._playing or self._found.is_deleted:
                    return
                self._slider.set_names([f"{one:,}" for one in self._steps], index)
                self._slide(index)
                if self._task is not None:
                    await self._task
                await asyncio.sleep(PLAY_SECONDS)
        finally:
            self._playing = False
            self._play.set_text("Play from the start")

    def close(self) -> None:
        """Compute nothing more."""
        self._playing = self._wanted = False
