"""The view's parts working together: a model, a text, the token that is looked at."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from nanogpt.errors import UserError
from nanogpt.explain import importance, visible
from nanogpt.runs.run import Run
from nanogpt.studio.inside.attention import Attention, Off
from nanogpt.studio.inside.embeddings import Embeddings
from nanogpt.studio.inside.looking import Looked, first_text, look_at, text_ids
from nanogpt.studio.inside.panel import Panel
from nanogpt.studio.inside.pictures import Lens
from nanogpt.studio.inside.window import MOST_DRAWN, MOST_LISTED, Span, shown_span
from nanogpt.studio.inside.words import attention_at, growth_lines, importance_lines
from nanogpt.studio.models import ModelChoice
from nanogpt.studio.parts import Bars, Shown, Tag, Text, TokenText, button, card, writing
from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import State
from nanogpt.studio.told import about, unknown_told
from nanogpt.studio.work import in_thread
from nanogpt.studio.writing import pieces

Keep = Callable[[State], Any]


class Room:
    """What a person sees under "Look inside"."""

    def __init__(self, shelf: Shelf, state: State, keep: Keep) -> None:
        self.shelf, self.state, self._keep = shelf, state, keep
        self.run: Run | None = None
        self._ids: list[int] = []
        self._listed = Span(0, 0)
        self._looked: Looked | None = None
        with Tag("div", "views inside"):
            self._build_settings()
            self._build_text()
            self.panel = Panel(self._choose_head, self._move)
            self.attention = Attention(self._choose_head, self._choose, self._switch, self._weigh)
            with card("The logit lens"):
                Text(
                    "p",
                    "What the model would say next if it ended after an earlier layer: its output layer was trained "
                    "for the last one alone, so what an early layer seems to say is a hint. The stronger the colour, "
                    "the likelier.",
                    "hint",
                )
                self._lens = Lens()
            with card("The residual stream"):
                Text(
                    "p",
                    "How large it is at this token after each layer, by the root of its mean square. In brackets: how "
                    "large the layer's change was against what it found.",
                    "hint",
                )
                self._growth = Bars("The size of the residual stream")
            self.embeddings = Embeddings()

    async def start(self) -> None:
        """Open the model that the state names, and look at what it says."""
        self._status.set_text("Opening the model …")
        try:
            self.run = await self.choice.open()
        except UserError as error:
            self._status.set_text(str(error))
            return
        assert self.run is not None
        run = self.run
        self._about.set_text(about(run))
        if self.state.text is None:
            self.text.put(await in_thread(lambda: first_text(run), self.shelf.lock_of(run)))
        self._warn()
        await self.look(self.state.token, note=" ".join(self.choice.notes))

    async def look(self, place: int | None = None, note: str = "") -> None:
        """Look at the text of the field: at the token of a place, else at its last."""
        if self.run is None:
            await self.start()
            return
        self._ids = text_ids(self.run, self.text.value)
        config = self.run.model.config
        off = tuple(one for one in self.state.off if one[0] < config.n_layer and one[1] < config.n_head)
        fits = (self.state.layer or 0) < config.n_layer and (self.state.head or 0) < config.n_head
        self.state = replace(self.state, off=off)
        if not fits:
            self.state = replace(self.state, layer=None, head=None)
        self.panel.offer(config.n_layer, config.n_head)
        self.attention.show_importance([])
        self._list(min(len(self._ids) - 1 if place is None else place, len(self._ids) - 1))
        await self._show(note)

    async def _look(self) -> None:
        """Look at the text as it is now."""
        await self.look()

    def _build_settings(self) -> None:
        with card("Look inside"):
            with Tag("div", "fields models"):
                self.choice = ModelChoice(self.shelf, "Model", self._reopen)
            self.choice.put(self.state.run, self.state.step, self.state.model)
            self._about = Text("p", "", "hint")
            self.text = writing("Text", self.state.text or "", lambda text: self._warn())
            self.text.on("enter", self._look)
            with Tag("div", "buttons"):
                button("Look", self._look, "primary")
                self._status = Text("span", "", "status", role="status", aria_live="polite")

    def _build_text(self) -> None:
        with card("The text"):
            Text(
                "p",
                "Choose a token, by a click or with the arrow keys. The stronger the colour and the curve, the more of "
                "its attention goes there.",
                "hint",
            )
            label = "The text. The arrow keys choose a token."
            self.tokens = TokenText(label, self._chosen, first=0)
            with Tag("div", "buttons") as self._pages:
                self._earlier = button("Earlier", lambda: self._choose(max(self._listed.start - 1, 0)))
                self._later = button("Later", lambda: self._choose(min(self._listed.end, len(self._ids) - 1)))
                self._where = Text("span", "", "status")

    def _list(self, place: int) -> None:
        """Show the tokens around a place."""
        assert self.run is not None
        self.state = replace(self.state, token=place)
        if place in self._listed and self._looked is not None and list(self._looked.ids) == self._ids:
            self.tokens.select(place - self._listed.start)
            return
        self._listed = shown_span(len(self._ids), place, MOST_LISTED)
        some = self._ids[self._listed.start : self._listed.end]
        shown = [Shown(text) for text in pieces(self.run.tokenizer, some)]
        self.tokens.show(shown, place - self._listed.start)
        self._pages.set_visibility(len(some) < len(self._ids))
        self._earlier.set(disabled=not self._listed.start)
        self._later.set(disabled=self._listed.end == len(self._ids))
        self._where.set_text(f"Tokens {self._listed.start + 1:,} to {self._listed.end:,} of {len(self._ids):,}")

    async def _show(self, note: str = "") -> None:
        """Compute what there is to see at the state's place, and show it."""
        run, place, before = self.run, self.state.token, self._looked
        assert run is not None
        assert place is not None
        ids, off = self._ids, self.state.off

        def is_wanted() -> bool:
            return (run, place, ids, off) == (self.run, self.state.token, self._ids, self.state.off)

        def look() -> Looked | None:
            return look_at(run, ids, place, off, before) if is_wanted() else None

        try:
            looked = await in_thread(look, self.shelf.lock_of(run))
        except UserError as error:
            self._status.set_text(str(error))
            return
        if looked is None or not is_wanted():
            return  # something else was asked for meanwhile, and is on its way
        self._looked = looked
        self._draw(run, looked)
        await self.embeddings.use(run, self.shelf.lock_of(run), ids, ids[place])
        self._status.set_text(" ".join(one for one in (note, self._limits(looked)) if one))
        self._save()

    def _draw(self, run: Run, looked: Looked) -> None:
        names = [visible(run.tokenizer, token) for token in looked.trace.ids]
        layer, head = self.state.layer, self.state.head
        weights = attention_at(looked.trace, looked.position, layer, head)
        start = looked.span.start - self._listed.start
        hidden = max(0, -start)  # read, but not listed
        self.tokens.shade(weights[hidden:].tolist(), max(0, start), arcs=True)
        self.panel.show(looked, names, layer, head)
        self.attention.show(looked, names, layer, head, run.tokenizer)
        self._lens.show(looked.lens)
        self._growth.show(growth_lines(looked.trace, looked.position))

    def _limits(self, looked: Looked) -> str:
        """What of a long text was not read or not drawn."""
        assert self.run is not None
        span, block_size = looked.span, self.run.model.config.block_size
        told = []
        if len(span) < len(looked.ids):
            whole = len(span) >= min(block_size, looked.place + 1)
            told.append(
                f"Tokens {span.start + 1:,} to {span.end:,} of {len(looked.ids):,} are read together"
                f"{'' if whole else f'; the model could read {block_size:,}'}."
            )
        if len(span) > MOST_DRAWN:
            told.append(f"Pictures show {MOST_DRAWN} tokens, around the chosen one.")
        return " ".join(told)

    async def _chosen(self, listed: int | None) -> None:
        """A token of the list was chosen; one always is."""
        if listed is None:
            self.tokens.select(None if self.state.token is None else self.state.token - self._listed.start)
        else:
            await self._choose(self._listed.start + listed)

    async def _choose(self, place: int) -> None:
        if self.run is not None and 0 <= place < len(self._ids):
            self._list(place)
            await self._show()

    async def _move(self, by: int) -> None:
        await self._choose((self.state.token or 0) + by)

    async def _choose_head(self, layer: int | None, head: int | None) -> None:
        self.state = replace(self.state, layer=layer, head=head)
        if self._looked is not None and self.run is not None:
            self._draw(self.run, self._looked)
            self._save()

    async def _switch(self, off: Off) -> None:
        if self.run is not None and self.state.token is not None:
            self.state = replace(self.state, off=off)
            await self._show()

    async def _weigh(self) -> None:
        """Try every head."""
        run, looked = self.run, self._looked
        if run is None or looked is None:
            return
        self._status.set_text("Switching off each head in turn …")
        near: Sequence[int] = looked.trace.ids[max(0, looked.position + 1 - MOST_DRAWN) : looked.position + 1]
        try:
            rises = await in_thread(lambda: importance(run.model, near), self.shelf.lock_of(run))
        except UserError as error:
            self._status.set_text(str(error))
            return
        self.attention.show_importance(importance_lines(rises))
        self._status.set_text(f"Measured on the {len(near)} tokens up to the chosen one.")

    async def _reopen(self) -> None:
        self.run, self._looked = None, None
        self.state = replace(self.state, off=(), text=self.text.value)
        await self.start()

    def _warn(self) -> None:
        told = "" if self.run is None else unknown_told(self.run.tokenizer, self.text.value)
        self.text.tell(told, warning=True)

    def _save(self) -> None:
        choice = self.choice
        self.state = replace(
            self.state, view="inside", run=choice.name, step=choice.step, model=choice.hash, text=self.text.value
        )
        self._keep(self.state)
