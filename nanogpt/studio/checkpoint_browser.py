"""The time machine: a slider over the kept checkpoints of a run, and what each makes of one prompt."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from nicegui import ui

from nanogpt.errors import UserError
from nanogpt.runs.folder import RunFolder
from nanogpt.studio import snapshots
from nanogpt.studio.chart import scrolled_html, set_html
from nanogpt.studio.elements import NamedSlider, Tag, Text, button, card, number, select, slider, text_area
from nanogpt.studio.labels import capitalized
from nanogpt.studio.registry import RunRegistry
from nanogpt.studio.state import State

CACHE_SIZE = 64
"""Snapshots kept in memory, so that sliding back is instant."""
LAST, ALL = "last", "all"
LIST_EVERY = 5
PLAY_SECONDS = 0.6


class CheckpointBrowser:
    """A card of the page. `changed` is called when something else is shown.

    Nothing is computed before a person asks for it, here or by an address with a step: a running training needs the
    cores.
    """

    def __init__(self, registry: RunRegistry, state: State, changed: Callable[[], Any]) -> None:
        self._registry, self._name, self._changed = registry, "", changed
        self._address_step: int | None = None
        """step of the address, until it is looked up"""
        self._address_hash: dict[int | None, str] = {}
        """hash of the weights that the address means by a step, until they are shown"""
        self._steps: list[int] = []
        self._index = 0
        self._cache: OrderedDict[tuple[str, int, snapshots.SnapshotQuery], snapshots.Snapshot] = OrderedDict()
        self._snapshot: snapshots.Snapshot | None = None
        self._query = snapshots.SnapshotQuery()
        """what the snapshot answers"""
        self._task: asyncio.Task[None] | None = None
        self._wanted = False
        self._turn = 0
        self._playing = False
        with card("Look back: the time machine"):
            Text("p", "The same prompt, given to the model as it was after each step that was kept.", "hint")
            self._prompt = text_area("Prompt", "The " if state.prompt is None else state.prompt, rows=2)
            self._prompt.on("enter", self._ask)
            with Tag("div", "fields"):
                self._temperature = slider("Temperature", f"{state.temperature:g}", min=0, max=2, step=0.1)
                self._seed = number("Seed", str(state.seed), min=0, step=1)
                self._tokens = number("Length, tokens", str(state.tokens), min=1, max=snapshots.MAX_TOKENS, step=1)
            self._slider = NamedSlider("Step", ["–"], 0, self._slide)
            with Tag("div", "buttons"):
                button("Look", self._ask, "primary")
                self._play = button("Play from the start", self._play_all)
                self._status = Text("span", "", "status", role="status")
            with Tag("div", "found") as self._found:
                with Tag("div"):
                    Text("h3", "What it writes")
                    self._text = Text("pre", "", "sample", tabindex="0", role="region", aria_label="What it writes")
                    Text("h3", "What each layer would predict (the logit lens)")
                    self._lens = scrolled_html("What each layer would predict")
                with Tag("div"):
                    self._build_attention(state)
            self._found.set_visibility(False)

    def _build_attention(self, state: State) -> None:
        Text("h3", "Where it looks")
        layer = LAST if state.layer is None else str(state.layer)
        head = ALL if state.head is None else str(state.head)
        with Tag("div", "fields"):
            self._layer = select("Layer", {LAST: "the last"}, layer, lambda _: self._show())
            self._head = select("Head", {ALL: "the mean of all"}, head, lambda _: self._show())
        self._attention = ui.html("", sanitize=False)
        self._caption = Text("p", "", "hint")
        with Tag("details"):
            Text("summary", "Where each token looks, as a table")
            self._table = scrolled_html("Where each token looks")

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
                found = await asyncio.to_thread(snapshots.take_snapshot, self._registry, name, step, query)
                self._cache[name, step, query] = found
                if len(self._cache) > CACHE_SIZE:
                    self._cache.popitem(last=False)
        except UserError as error:
            self._status.set_text(capitalized(str(error)))
            return
        if name == self._name and not self._found.is_deleted:
            self._snapshot, self._query = found, query
            self._status.set_text(f"After {step:,} steps.{self._other_weights(found)}")
            self._show()

    def _other_weights(self, found: snapshots.Snapshot) -> str:
        """Return a sentence if the address means other weights than these."""
        meant = self._address_hash.pop(found.step, "")
        if meant in ("", found.model):
            return ""
        return f" The address means other weights ({meant}); these are {found.model}, and may give another text."

    def _read_query(self) -> snapshots.SnapshotQuery:
        try:
            return snapshots.SnapshotQuery(
                prompt=self._prompt.value,
                tokens=int(self._tokens.value),
                temperature=float(self._temperature.value),
                seed=int(self._seed.value),
            )
        except ValueError:
            raise UserError("length and seed have to be whole numbers") from None

    def _show(self) -> None:
        found = self._snapshot
        if found is None:
            return
        self._offer_heads(found)
        chosen, head = self._chosen
        layer = len(found.attention) - 1 if chosen is None else chosen
        weights = found.weights(layer, head)
        label = f"Attention of layer {layer + 1}, {'the mean of its heads' if head is None else f'head {head + 1}'}"
        self._text.set_text(found.prompt + found.text)
        cut = f" Only the newest {len(found.tokens)} tokens of the prompt are shown." if found.skipped else ""
        set_html(
            self._attention, snapshots.draw_attention(found.tokens, weights, f"{label} after {found.step:,} steps")
        )
        self._caption.set_text(f"{label}. Each row looks at the tokens below: the stronger the colour, the more.{cut}")
        set_html(self._table, snapshots.attention_table(found.tokens, weights))
        set_html(self._lens, snapshots.lens_table(found.lens))
        self._found.set_visibility(True)
        self._changed()

    def _offer_heads(self, found: snapshots.Snapshot) -> None:
        layers = {LAST: "the last"} | {str(one): f"layer {one + 1}" for one in range(len(found.attention))}
        heads = {ALL: "the mean of all"} | {str(one): f"head {one + 1}" for one in range(len(found.attention[0]))}
        for field, names, default in ((self._layer, layers, LAST), (self._head, heads, ALL)):
            if len(field.props["options"]) != len(names):
                field.set_options(names, field.value if field.value in names else default)

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
