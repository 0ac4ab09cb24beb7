"""The time machine: a slider over the steps that a run kept, and what the model was then."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from nicegui import ui

from nanogpt.errors import UserError
from nanogpt.runs.folder import RunFolder
from nanogpt.studio.learn.controls import Scale, put
from nanogpt.studio.learn.heatmap import attention_table, draw_attention, lens_table
from nanogpt.studio.learn.history import MOST_TOKENS, Moment, Question, look_back, steps_kept
from nanogpt.studio.parts import Tag, Text, button, card, choose, number, slider, writing
from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import State

KEPT = 64
"""Moments that are kept, so that sliding back costs nothing."""
LAST, ALL = "last", "all"
LIST_EVERY = 5
PLAY_SECONDS = 0.6


class Machine:
    """The part of the page. `changed` is called when something else is shown.

    Nothing is computed before a person asks for it, here or by an address that has a step: a training next to it needs
    the cores.
    """

    def __init__(self, shelf: Shelf, state: State, changed: Callable[[], Any]) -> None:
        self._shelf, self._name, self._changed = shelf, "", changed
        self._sought: int | None = None
        """the step of the address, until it is looked for"""
        self._meant: dict[int | None, str] = {}
        """hash of the weights that the address means by a step, until that is shown"""
        self._steps: list[int] = []
        self._place = 0
        self._kept: OrderedDict[tuple[str, int, Question], Moment] = OrderedDict()
        self._moment: Moment | None = None
        self._asked = Question()
        """what the moment answers"""
        self._work: asyncio.Task[None] | None = None
        self._wanted = False
        self._turn = 0
        self._playing = False
        with card("Look back: the time machine"):
            Text("p", "The same prompt, given to the model as it was after each step that was kept.", "hint")
            self._prompt = writing("Prompt", "The " if state.prompt is None else state.prompt, rows=2)
            self._prompt.on("enter", self._ask)
            with Tag("div", "fields"):
                self._temperature = slider("Temperature", f"{state.temperature:g}", min=0, max=2, step=0.1)
                self._seed = number("Seed", str(state.seed), min=0, step=1)
                self._tokens = number("Length, tokens", str(state.tokens), min=1, max=MOST_TOKENS, step=1)
            self._scale = Scale("Step", ["–"], 0, self._slide)
            with Tag("div", "buttons"):
                button("Look", self._ask, "primary")
                self._play = button("Play from the start", self._play_all)
                self._status = Text("span", "", "status", role="status")
            with Tag("div", "found") as self._found:
                with Tag("div"):
                    Text("h3", "What it writes")
                    self._text = Text("pre", "", "sample", tabindex="0", role="region", aria_label="What it writes")
                    Text("h3", "What each layer would say next (the logit lens)")
                    self._lens = ui.html("", sanitize=False).classes("scrolled").props("tabindex=0 role=region")
                    self._lens.props["aria-label"] = "What each layer would say next"
                with Tag("div"):
                    self._build_attention(state)
            self._found.set_visibility(False)

    def _build_attention(self, state: State) -> None:
        Text("h3", "Where it looks")
        layer, head = _told(state.layer, LAST), _told(state.head, ALL)
        with Tag("div", "fields"):
            self._layer = choose("Layer", {LAST: "the last"}, layer, lambda _: self._show())
            self._head = choose("Head", {ALL: "the mean of all"}, head, lambda _: self._show())
        self._attention = ui.html("", sanitize=False)
        self._seen = Text("p", "", "hint")
        with Tag("details"):
            Text("summary", "Where each token looks, as a table")
            self._table = ui.html("", sanitize=False).classes("scrolled").props("tabindex=0 role=region")
            self._table.props["aria-label"] = "Where each token looks"

    def read(self, state: State) -> State:
        """The state with what is shown. What was typed since then is not in it, as the moment does not answer it."""
        found, asked = self._moment, self._asked
        if found is None:
            return replace(state, step=self._sought, model=self._meant.get(self._sought, ""))
        return replace(
            state,
            step=found.step,
            model=found.model,
            prompt=asked.prompt,
            temperature=asked.temperature,
            tokens=asked.tokens,
            seed=asked.seed,
            layer=_number(self._layer.value, LAST),
            head=_number(self._head.value, ALL),
        )

    def use(self, name: str, step: int | None = None, model: str = "") -> None:
        """Look back at another run; at once where an address means a step of it, with the weights of this hash."""
        if name != self._name:
            self._name, self._steps, self._moment, self._turn = name, [], None, 0
            self._sought, self._meant = step, {} if step is None else {step: model}
            self._found.set_visibility(False)
            self._status.set_text("")

    async def tick(self) -> None:
        """Offer the steps that there are by now; who looks at one stays there."""
        self._turn += 1
        if self._turn % LIST_EVERY != 1 or not self._name:
            return
        name = self._name
        steps = await asyncio.to_thread(lambda: steps_kept(RunFolder(self._path(name))))
        if name != self._name:
            return
        if steps != self._steps:
            self._offer_steps(steps)
        self._arrive()

    def _offer_steps(self, steps: list[int]) -> None:
        here = self._sought
        if self._steps and self._moment is not None:
            here = self._steps[self._place]
        self._steps = steps
        before = [one for one in steps if here is not None and one <= here]
        self._place = max(0, len(before) - 1 if here is not None else len(steps) - 1)
        self._scale.offer([f"{one:,}" for one in steps] or ["–"], self._place)

    def _arrive(self) -> None:
        """Show the moment that the address means, where its weights are there."""
        sought, self._sought = self._sought, None
        if sought is None:
            return
        if sought in self._steps:
            self._ask()
        else:
            self._status.set_text(f"The address means step {sought:,}, which is not kept here: choose another.")

    def _path(self, name: str) -> str:
        return str(self._shelf.folder if self._shelf.is_run else self._shelf.folder / name)

    def _slide(self, place: int) -> None:
        self._place = place
        self._ask()

    def _ask(self) -> None:
        """Show the moment that is chosen. While one is computed others wait, and of those only the newest is made."""
        self._wanted = True
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        while self._wanted:
            self._wanted = False
            await self._make()

    async def _make(self) -> None:
        if not self._steps:
            self._status.set_text("There are no weights to look at yet.")
            return
        name, step = self._name, self._steps[min(self._place, len(self._steps) - 1)]
        try:
            question = self._question()
            if (found := self._kept.get((name, step, question))) is None:
                self._status.set_text(f"Asking the model of step {step:,} …")
                found = await asyncio.to_thread(look_back, self._shelf, name, step, question)
                self._keep((name, step, question), found)
        except UserError as error:
            self._status.set_text(f"{str(error)[:1].upper()}{str(error)[1:]}")
            return
        if name == self._name and not self._found.is_deleted:
            self._moment, self._asked = found, question
            self._status.set_text(f"After {step:,} steps.{self._other_weights(found)}")
            self._show()

    def _other_weights(self, found: Moment) -> str:
        """A sentence where the address means others than those which are here."""
        meant = self._meant.pop(found.step, "")
        if meant in ("", found.model):
            return ""
        return f" The address means other weights ({meant}); these are {found.model}, and may say something else."

    def _question(self) -> Question:
        try:
            return Question(
                prompt=self._prompt.value,
                tokens=int(self._tokens.value),
                temperature=float(self._temperature.value),
                seed=int(self._seed.value),
            )
        except ValueError:
            raise UserError("length and seed are whole numbers: correct them") from None

    def _keep(self, key: tuple[str, int, Question], found: Moment) -> None:
        self._kept[key] = found
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def _show(self) -> None:
        found = self._moment
        if found is None:
            return
        self._offer_heads(found)
        last = len(found.attention) - 1
        chosen, head = _number(self._layer.value, LAST), _number(self._head.value, ALL)
        layer = last if chosen is None else chosen
        weights = found.weights(layer, head)
        label = f"Attention of block {layer + 1}, {'the mean of its heads' if head is None else f'head {head + 1}'}"
        self._text.set_text(found.prompt + found.text)
        cut = f" Only the newest {len(found.tokens)} tokens of the prompt are shown." if found.skipped else ""
        put(self._attention, draw_attention(found.tokens, weights, f"{label} after {found.step:,} steps"))
        told = label + ". Each row looks at the tokens below: the stronger the colour, the more." + cut
        self._seen.set_text(told)
        put(self._table, attention_table(found.tokens, weights))
        put(self._lens, lens_table(found.lens))
        self._found.set_visibility(True)
        self._changed()

    def _offer_heads(self, found: Moment) -> None:
        layers, heads = len(found.attention), len(found.attention[0])
        names = {LAST: "the last"} | {str(one): f"block {one + 1}" for one in range(layers)}
        if len(self._layer.props["options"]) != len(names):
            self._layer.offer(names, self._layer.value if self._layer.value in names else LAST)
        names = {ALL: "the mean of all"} | {str(one): f"head {one + 1}" for one in range(heads)}
        if len(self._head.props["options"]) != len(names):
            self._head.offer(names, self._head.value if self._head.value in names else ALL)

    async def _play_all(self) -> None:
        """One step after another, until the end or until it is asked to stop."""
        if self._playing:
            self._playing = False
            return
        self._playing = True
        self._play.set_text("Stop here")
        try:
            for place in range(len(self._steps)):
                if not self._playing or self._found.is_deleted:
                    return
                self._place = place
                self._scale.offer([f"{one:,}" for one in self._steps], place)
                self._ask()
                if self._work is not None:
                    await self._work
                await asyncio.sleep(PLAY_SECONDS)
        finally:
            self._playing = False
            self._play.set_text("Play from the start")

    def end(self) -> None:
        """Compute nothing more."""
        self._playing = self._wanted = False


def _told(number: int | None, otherwise: str) -> str:
    return otherwise if number is None else str(number)


def _number(told: str, otherwise: str) -> int | None:
    return None if told == otherwise else int(told)
