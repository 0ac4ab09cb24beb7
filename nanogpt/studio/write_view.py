"""The view "Write": one or two models, the sampler, their texts, and the alternatives of a token."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from nicegui import ui

from nanogpt.errors import UserError
from nanogpt.studio.elements import Bars, Field, Tag, Text, button, card, hint, probability_legend
from nanogpt.studio.generation import Prediction, default_prompt, unknown_warning
from nanogpt.studio.labels import percent
from nanogpt.studio.model_choice import ModelChoice
from nanogpt.studio.registry import RunRegistry
from nanogpt.studio.state import State, to_fragment
from nanogpt.studio.text_tree import TextTree
from nanogpt.studio.write_column import TextColumn

LOG = logging.getLogger("nanogpt.studio")
FILTERS = ("top_k", "top_p", "min_p")
SAMPLER: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("temperature", "Temperature", {"min": 0, "max": 2, "step": 0.05}),
    ("tokens", "Tokens", {"min": 1, "max": 10000, "step": 1}),
    ("seed", "Seed", {"min": 0, "step": 1}),
    ("top_k", "Top-k", {"min": 1, "step": 1, "placeholder": "all"}),
    ("top_p", "Top-p", {"min": 0, "max": 1, "step": "any", "placeholder": "all"}),
    ("min_p", "Min-p", {"min": 0, "max": 1, "step": "any", "placeholder": "all"}),
)
"""Fields of the sampler: name, label and attributes."""


class SamplerFields:
    """Fields for the prompt and the sampler. `enter` is called when a person asks for the text by keyboard."""

    def __init__(self, state: State, typed: Callable[[str], Any], enter: Callable[[], Any]) -> None:
        self.prompt = Field("textarea", "Prompt", state.prompt or "", typed)
        self.prompt.on("enter", enter)
        self._numbers: dict[str, Field] = {}
        with Tag("div", "fields sampler"):
            for name, label, settings in SAMPLER:
                value = getattr(state, name)
                text = "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
                kind = "range" if name == "temperature" else "number"
                self._numbers[name] = Field(kind, label, text, **settings)
                self._numbers[name].on("enter", enter)
        hint(
            "Temperature below 1 is safer, above 1 wilder; 0 always takes the likeliest token. Top-k, top-p and min-p "
            "leave out unlikely ones. The same seed and settings give the same text.",
        )

    def read(self, state: State) -> State:
        """Return the state with the values of the fields. Raises UserError for invalid ones."""
        found: dict[str, Any] = {}
        for name, field in self._numbers.items():
            whole = name in ("tokens", "seed", "top_k")
            try:
                empty = name in FILTERS and not field.value.strip()
                found[name] = None if empty else int(field.value) if whole else float(field.value)
            except ValueError:
                kind = "whole number" if whole else "number"
                raise UserError(f"{name.replace('_', '-')} is {field.value!r}; give a {kind}") from None
        state = replace(state, prompt=self.prompt.value, **found)
        state.sampler()
        return state


class AlternativesPanel:
    """The selected token and its alternatives: `move` is called with -1 or 1, `put` with the index of one of them."""

    def __init__(self, move: Callable[[int], Any], close: Callable[[], Any], put: Callable[[int], Any]) -> None:
        with Tag("section", "card panel", aria_label="The chosen token") as self.frame:
            with Tag("div") as self._empty:
                Text("h2", "No token chosen")
                hint(
                    "Choose a token in the text, by a click or with the arrow keys: alternatives appear here. Choose "
                    "one of them, and the text continues from it."
                )
            with Tag("div") as self._filled:
                with Tag("div", "chosen"):
                    button("←", lambda: move(-1), aria_label="Previous token")
                    self._title = Text("h2", "")
                    button("→", lambda: move(1), aria_label="Next token")
                    button("×", close, aria_label="Close")
                self._about = Text("p", "")
                Text("h3", "The ten likeliest here")
                hint("Choose another one, and the text branches: what was written stays.")
                self._bars = Bars("The ten likeliest here", put)
                self._inside = Text("a", "Look inside the model here", "button")
        self.close()

    def show(self, found: Prediction, position: int, origin: str, vocab_size: int, inside: str) -> str:
        """Show a token and return a sentence about it. `inside` is the fragment of "Look inside" for it."""
        one = found.choice
        sentence = f"{percent(one.probability)} likely here, number {one.rank:,} of {vocab_size:,}."
        self._title.set_text(one.text)
        self._about.set_text(f"{origin}, token {position + 1}. {sentence} Surprise: {one.bits:.2f} bits.")
        self._bars.show(found.bars())
        self._inside.set(href=f"#{inside}")
        self._open(True)
        return f"Token {position + 1}, {one.text}: {sentence}"

    def close(self) -> None:
        """Show no token."""
        self._open(False)

    def _open(self, open: bool) -> None:
        self._filled.set_visibility(open)
        self._empty.set_visibility(not open)
        self.frame.classes(add="open" if open else "", remove="" if open else "open")


class WriteView:
    """The view. `keep` is called with each new state."""

    def __init__(self, registry: RunRegistry, state: State, keep: Callable[[State], Any]) -> None:
        self.registry, self.state, self._keep = registry, state, keep
        self._tasks = 0
        """running generations: choosing an alternative starts one while the text is still being written"""
        self._results: list[str] = []
        """sentences about those that ended"""
        with Tag("div", "views"):
            with card("Write"):
                with Tag("div", "fields models"):
                    first = ModelChoice(registry, "Model", self._reopen)
                    second = ModelChoice(registry, "Compare with", self._reopen, optional=True)
                self.choices = [first, second]
                first.put(state.run, state.step, state.model)
                second.put(state.run2, state.step2, state.model2)
                self.settings = SamplerFields(state, lambda text: self._warn(), self.write)
                with Tag("div", "buttons"):
                    self._write = button("Write", self.write, "primary")
                    self._stop = button("Stop", self.stop, disabled=True)
                    self._status = Text("span", "", "status", role="status")
            with card("Text"):
                probability_legend()
                with Tag("div", "columns") as self._columns:
                    self.columns = [
                        TextColumn(name, partial(self._choose, side), partial(self._choose, side, None))
                        for side, name in ((1, "The text"), (2, "The text of the second model"))
                    ]
                self.columns[1].frame.set_visibility(bool(state.run2))
                with Tag("div", "buttons"):
                    self._continue = button("Continue", self.go_on)
                    self._back = button(
                        "Back", self._go_back, aria_label="Back to the text that this one branched from"
                    )
                    # In the browser: a page may write to the clipboard only while it handles a click.
                    text = self.columns[0].text.id
                    button("Copy").on(
                        "click",
                        lambda: self._status.set_text("Copied."),
                        js_handler=f"() => navigator.clipboard.writeText(getElement({text}).text()).then(() => emit())",
                    )
                    button("Download", self._download)
                hint(
                    "The stronger the colour, the less likely the model found a token. Point at a token, or choose it, "
                    "to see the alternatives."
                )
            self.panel = AlternativesPanel(self._move, lambda: self._choose(self.state.side, None), self._put)

    @property
    def active(self) -> list[TextColumn]:
        """The columns that have a model."""
        return [one for one in self.columns if one.run is not None]

    async def start(self) -> None:
        """Load the models of the state, and show the texts in it."""
        self._status.set_text("Opening the model …")
        problems = []
        for side, (choice, column) in enumerate(zip(self.choices, self.columns), start=1):
            try:
                if await self._open(choice, column):
                    problems += choice.notes
                    problems += await self._restore(side, column)
            except Exception as error:
                problems.append(_message(error))
        if self.state.prompt is None and self.columns[0].run is not None:
            self.settings.prompt.put(default_prompt(self.columns[0].run.tokenizer))
        self._warn()
        self._status.set_text(" ".join(problems) or ("" if self.active else "There is no model to write with."))
        if self.active and self.state.token is not None:
            self._choose(self.state.side, self.state.token)
        self._save()

    async def write(self) -> None:
        """Start a new text with each model."""
        config = await self._ready()
        if config is not None:
            self.state = replace(self.state, token=None)
            self.panel.close()
            await self._run([column.write(self.state.prompt or "", config) for column in self.active])

    async def go_on(self) -> None:
        """Continue each text."""
        config = await self._ready()
        if config is None:
            return
        begun = [column for column in self.active if column.tree is not None]
        if begun:
            await self._run([column.go_on(config) for column in begun])
        else:
            await self.write()

    def stop(self) -> None:
        """Stop generation after the current token."""
        for column in self.columns:
            column.stop.set()

    async def _open(self, choice: ModelChoice, column: TextColumn) -> bool:
        """Give a column its model; return whether it has one."""
        found = await choice.open()
        column.frame.set_visibility(found is not None)
        if found is None:
            column.run = None
            column.clear()
            return False
        if column.run is not found:
            column.use(found, self.registry.lock_of(found), choice.title)
        return True

    async def _reopen(self) -> None:
        """Load the model that a person chose."""
        self._status.set_text("Opening the model …")
        self.panel.close()
        self.state = replace(self.state, token=None)
        try:
            for choice, column in zip(self.choices, self.columns):
                await self._open(choice, column)
            self._status.set_text("")
        except Exception as error:
            self._status.set_text(_message(error))
        self._warn()
        self._save()

    async def _restore(self, side: int, column: TextColumn) -> list[str]:
        packed = self.state.tree if side == 1 else self.state.tree2
        if not packed or column.run is None or not self.choices[side - 1].same:
            return []  # the choice has reported that the model is another one
        try:
            tree = TextTree.unpack(packed, column.run.tokenizer.vocab_size)
        except UserError as error:
            return [str(error)]
        chosen = self.state.token if self.state.side == side else None
        await column.restore(tree, self.state.prompt or "", chosen)
        return []

    async def _ready(self) -> Any:
        """Return the sampling settings once the models are loaded; None after reporting what has to be fixed."""
        try:
            self.state = self.settings.read(self.state)
        except UserError as error:
            self._status.set_text(str(error))
            return None
        if not self.active:
            await self._reopen()
        return self.state.sampler() if self.active else None

    async def _run(self, texts: list[Any]) -> None:
        """Generate texts; when the last one ends, report all results and enable the buttons, whatever happened."""
        self._tasks += 1
        self._set_busy(True)
        self._status.set_text("Writing …")
        try:
            results = await asyncio.gather(*texts)
            self._results += results
        except Exception as error:
            self.stop()  # the other column
            self._results.append(f"It cannot go on: {_message(error)}")
        finally:
            self._tasks -= 1
            if not self._tasks and not self._status.is_deleted:
                self._status.set_text("   ".join(one for one in self._results if one))
                self._results = []
                self._set_busy(False)
                self._save()

    def _set_busy(self, busy: bool) -> None:
        self._write.set(disabled=busy)
        self._continue.set(disabled=busy)
        self._stop.set(disabled=not busy)

    def _choose(self, side: int, position: int | None) -> None:
        """Select a token, or none."""
        column, other = self.columns[side - 1], self.columns[2 - side]
        found = None if position is None else column.prediction(position)
        if found is None:
            position = None
        self.state = replace(self.state, side=side, token=position)
        column.text.select(position)
        other.text.select(None)
        if position is None or found is None or column.run is None:
            self.panel.close()
        else:
            vocab_size, inside = column.run.tokenizer.vocab_size, self._inside(side, position)
            sentence = self.panel.show(found, position, column.origin(position), vocab_size, inside)
            self._status.set_text(sentence)
        self._save()

    def _inside(self, side: int, position: int) -> str:
        """Return the fragment of "Look inside" at the token that this one was predicted from."""
        column, choice = self.columns[side - 1], self.choices[side - 1]
        before = max(0, position - 1 - column.empty_prompt)
        state = State(
            view="inside", run=choice.name, step=choice.step, model=choice.hash, text=column.plain, token=before
        )
        return to_fragment(state)

    def _move(self, by: int) -> None:
        last = len(self.columns[self.state.side - 1].ids) - 1
        if self.state.token is not None and last > 0:
            self._choose(self.state.side, min(max(self.state.token + by, 1), last))

    async def _put(self, index: int) -> None:
        """Replace the selected token by one of its alternatives, and generate the branch."""
        side, position = self.state.side, self.state.token
        column, config = self.columns[side - 1], await self._ready()
        if position is None or config is None or (found := column.prediction(position)) is None:
            return
        new = column.branch(position, found.alternatives[index].token)
        self._choose(side, position)
        if new:
            await self._run([column.go_on(config)])

    def _go_back(self) -> None:
        side = self.state.side
        position = self.columns[side - 1].back()
        if position is None:
            self._status.set_text("This is the text as it was first written.")
        else:
            self._choose(side, position)

    def _download(self) -> None:
        for side, column in enumerate(self.active, start=1):
            if column.tree is not None and column.run is not None:
                name = f"{column.run.path.name}{f'-{side}' if side > 1 else ''}.txt"
                ui.download(column.plain.encode("utf-8", "replace"), name)

    def _warn(self) -> None:
        """Name the characters of the prompt that a model does not know."""
        runs = [one.run for one in self.active if one.run is not None]
        lines = dict.fromkeys(unknown_warning(run.tokenizer, self.settings.prompt.value) for run in runs)
        self.settings.prompt.set_help(" ".join(lines), warning=True)

    def _save(self) -> None:
        """Put the state into the address."""
        first, second = self.choices
        trees = ["" if one.tree is None else one.tree.pack() for one in self.columns]
        self._back.set(disabled=not any(one.tree and len(one.tree.branches) > 1 for one in self.columns))
        try:
            state = self.settings.read(self.state)
        except UserError:
            state = self.state  # the address keeps the last valid settings
        names: dict[str, Any] = {"run": first.name, "step": first.step, "model": first.hash, "tree": trees[0]}
        names |= {"run2": second.name, "step2": second.step, "model2": second.hash, "tree2": trees[1]}
        self.state = replace(state, view="write", **names)
        self._keep(self.state)


def _message(error: Exception) -> str:
    """Return a UserError's message; log anything else that a model, device or memory may raise."""
    if isinstance(error, UserError):
        return str(error)
    LOG.error("the studio cannot write", exc_info=error)
    return "the studio's log says why"
