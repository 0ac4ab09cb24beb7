"""The view's parts working together: models, settings, texts, and the token that is chosen."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nicegui import ui

from nanogpt.errors import UserError
from nanogpt.studio.models import ModelChoice
from nanogpt.studio.parts import Tag, Text, button, card, legend
from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import State, to_fragment
from nanogpt.studio.told import first_prompt, unknown_told
from nanogpt.studio.write.column import Column
from nanogpt.studio.write.panel import Panel
from nanogpt.studio.write.settings import Settings
from nanogpt.studio.writing import Tree

Keep = Callable[[State], Any]
LOG = logging.getLogger("nanogpt.studio")


class Desk:
    """What a person sees under "Write"."""

    def __init__(self, shelf: Shelf, state: State, keep: Keep) -> None:
        self.shelf, self.state, self._keep = shelf, state, keep
        self._writing = 0
        """pieces of work that are under way: a token put into a text begins one while the text is written"""
        self._told: list[str] = []
        """how those went that have ended"""
        with Tag("div", "views"):
            with card("Write"):
                self._models()
                self.settings = Settings(state, lambda text: self._warn(), self.write)
                with Tag("div", "buttons"):
                    self._write = button("Write", self.write, "primary")
                    self._stop = button("Stop", self.stop, disabled=True)
                    self._status = Text("span", "", "status", role="status", aria_live="polite")
            with card("Text"):
                legend()
                with Tag("div", "columns") as self._columns:
                    self.columns = [self._column(1), self._column(2)]
                self.columns[1].frame.set_visibility(bool(state.run2))
                self._text_buttons()
                Text(
                    "p",
                    "The stronger the colour, the less likely the model found a token. Point at one, or choose it, to "
                    "see what else it thought of there.",
                    "hint",
                )
            self.panel = Panel(self._move, lambda: self._choose(self.state.side, None), self._put)

    @property
    def active(self) -> list[Column]:
        """The columns that have a model."""
        return [one for one in self.columns if one.run is not None]

    async def start(self) -> None:
        """Open the models that the state names, and what was written with them."""
        self._status.set_text("Opening the model …")
        problems = []
        for side, (choice, column) in enumerate(zip(self.choices, self.columns), start=1):
            try:
                if await self._open(choice, column):
                    problems += choice.notes
                    problems += await self._restore(side, column)
            except Exception as error:
                problems.append(_in_words(error))
        if self.state.prompt is None and self.columns[0].run is not None:
            self.settings.prompt.put(first_prompt(self.columns[0].run.tokenizer))
        self._warn()
        self._status.set_text(" ".join(problems) or ("" if self.active else "There is no model to write with."))
        if self.active and self.state.token is not None:
            self._choose(self.state.side, self.state.token)
        self._save()

    async def write(self) -> None:
        """Begin a text with each model."""
        config = await self._ready()
        if config is not None:
            self.state = replace(self.state, token=None)
            self.panel.close()
            await self._work([column.write(self.state.prompt or "", config) for column in self.active])

    async def go_on(self) -> None:
        """Write on in each column."""
        config = await self._ready()
        if config is None:
            return
        begun = [column for column in self.active if column.tree is not None]
        if begun:
            await self._work([column.go_on(config) for column in begun])
        else:
            await self.write()

    def stop(self) -> None:
        """Let each model end with the token that it is at."""
        for column in self.columns:
            column.stop.set()

    def _models(self) -> None:
        with Tag("div", "fields models"):
            first = ModelChoice(self.shelf, "Model", self._reopen)
            second = ModelChoice(self.shelf, "Beside it", self._reopen, optional=True)
        self.choices = [first, second]
        first.put(self.state.run, self.state.step, self.state.model)
        second.put(self.state.run2, self.state.step2, self.state.model2)

    def _column(self, side: int) -> Column:
        name = "The text" if side == 1 else "The text of the second model"
        return Column(name, lambda place: self._choose(side, place), lambda: self._switched(side))

    def _text_buttons(self) -> None:
        with Tag("div", "buttons"):
            self._continue = button("Continue", self.go_on)
            self._back = button("Back", self._go_back, aria_label="Back to the text that this one branched from")
            # In the browser, as it happens by a click: only then may a page write to the clipboard.
            copying = button("Copy")
            text = self.columns[0].text.id
            copying.on(
                "click",
                lambda: self._status.set_text("Copied."),
                js_handler=f"() => navigator.clipboard.writeText(getElement({text}).text()).then(() => emit())",
            )
            button("Download", self._download)

    async def _open(self, choice: ModelChoice, column: Column) -> bool:
        """Give a column its model; whether it has one."""
        found = await choice.open()
        column.frame.set_visibility(found is not None)
        if found is None:
            column.run = None
            column.clear()
            return False
        if column.run is not found:
            column.use(found, self.shelf.lock_of(found), choice.told)
        return True

    async def _reopen(self) -> None:
        """Another model was chosen: its column begins anew."""
        self._status.set_text("Opening the model …")
        self.panel.close()
        self.state = replace(self.state, token=None)
        try:
            for choice, column in zip(self.choices, self.columns):
                await self._open(choice, column)
            self._status.set_text("")
        except Exception as error:
            self._status.set_text(_in_words(error))
        self._warn()
        self._save()

    async def _restore(self, side: int, column: Column) -> list[str]:
        packed = self.state.tree if side == 1 else self.state.tree2
        if not packed or column.run is None:
            return []
        if not self.choices[side - 1].same:
            return []  # a text of another model; that it is another was told
        try:
            tree = Tree.unpack(packed, column.run.tokenizer.vocab_size)
        except UserError as error:
            return [str(error)]
        chosen = self.state.token if self.state.side == side else None
        await column.restore(tree, self.state.prompt or "", chosen)
        return []

    async def _ready(self) -> Any:
        """The sampler, once the models are there; None where something has to be mended first, which is told."""
        try:
            self.state = self.settings.read(self.state)
        except UserError as error:
            self._status.set_text(str(error))
            return None
        if not self.active:
            await self._reopen()
        return self.state.sampler() if self.active else None

    async def _work(self, writing: list[Any]) -> None:
        """Write; at the end of all that is written, tell how it went and free the buttons, whatever happened."""
        self._writing += 1
        self._busy(True)
        self._status.set_text("Writing …")
        try:
            told = await asyncio.gather(*writing)
            self._told += told
        except Exception as error:
            self.stop()  # the other column
            self._told.append(f"It cannot go on: {_in_words(error)}")
        finally:
            self._writing -= 1
            if not self._writing and not self._status.is_deleted:
                self._done()

    def _done(self) -> None:
        self._status.set_text("   ".join(one for one in self._told if one))
        self._told = []
        self._busy(False)
        self._save()

    def _busy(self, writing: bool) -> None:
        self._write.set(disabled=writing)
        self._continue.set(disabled=writing)
        self._stop.set(disabled=not writing)

    def _choose(self, side: int, place: int | None) -> None:
        """A token was chosen, or none any more."""
        column, other = self.columns[side - 1], self.columns[2 - side]
        thoughts = column.thoughts()
        if place is not None and not (0 < place < len(thoughts)):
            place = None
        self.state = replace(self.state, side=side, token=place)
        column.text.select(place)
        other.text.select(None)
        told = thoughts[place] if place is not None else None
        if place is None or told is None or column.run is None or column.tree is None:
            self.panel.close()
        else:
            sentence = self.panel.show(
                told, place, column.origin(place), column.run.tokenizer.vocab_size, self._inside(side, place)
            )
            self._status.set_text(sentence)
        self._save()

    def _inside(self, side: int, place: int) -> str:
        column, choice = self.columns[side - 1], self.choices[side - 1]
        before = max(0, place - 1 - column.from_nothing)  # the token that this one was predicted from
        state = State(
            view="inside", run=choice.name, step=choice.step, model=choice.hash, text=column.plain, token=before
        )
        return to_fragment(state)

    def _move(self, by: int) -> None:
        last = len(self.columns[self.state.side - 1].ids) - 1
        if self.state.token is not None and last > 0:
            self._choose(self.state.side, min(max(self.state.token + by, 1), last))

    async def _put(self, line: int) -> None:
        """Another token of the bars was chosen for the place that is shown."""
        side, place = self.state.side, self.state.token
        column, config = self.columns[side - 1], await self._ready()
        if place is None or config is None:
            return
        told = column.thoughts()[place]
        if told is None:
            return
        new = column.branch(place, told.others[line].token)
        self._choose(side, place)
        if new:
            await self._work([column.go_on(config)])

    def _switched(self, side: int) -> None:
        self._choose(side, None)

    def _go_back(self) -> None:
        side = self.state.side
        place = self.columns[side - 1].back()
        if place is None:
            self._status.set_text("This is the text as it was first written.")
        else:
            self._choose(side, place)

    def _download(self) -> None:
        for number, column in enumerate(self.active, start=1):
            if column.tree is not None:
                name = f"{column.run.path.name if column.run else 'text'}{f'-{number}' if number > 1 else ''}.txt"
                ui.download(column.plain.encode("utf-8", "replace"), name)

    def _warn(self) -> None:
        """Tell which characters of the prompt a model does not know."""
        runs = [one.run for one in self.active if one.run is not None]
        lines = dict.fromkeys(unknown_told(run.tokenizer, self.settings.prompt.value) for run in runs)
        self.settings.prompt.tell(" ".join(lines), warning=True)

    def _save(self) -> None:
        """Put what is shown into the address."""
        first, second = self.choices
        trees = ["" if one.tree is None else one.tree.pack() for one in self.columns]
        self._back.set(disabled=not any(one.tree and len(one.tree.branches) > 1 for one in self.columns))
        try:
            state = self.settings.read(self.state)
        except UserError:
            state = self.state  # what the fields say makes no sense: the address keeps what did
        names: dict[str, Any] = {"run": first.name, "step": first.step, "model": first.hash, "tree": trees[0]}
        names |= {"run2": second.name, "step2": second.step, "model2": second.hash, "tree2": trees[1]}
        self.state = replace(state, view="write", **names)
        self._keep(self.state)


def _in_words(error: Exception) -> str:
    """What a person can mend is told; of whatever else a model, its device or its memory may raise, the log tells."""
    if isinstance(error, UserError):
        return str(error)
    LOG.error("the studio cannot write", exc_info=error)
    return "the studio's log says why"
