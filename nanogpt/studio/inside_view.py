"""The view "Look inside": a model, a text, the selected token, and all that the model computed there."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from nanogpt.errors import UserError, counted
from nanogpt.explain.head_ablation import head_importance
from nanogpt.explain.predictions import visible_text
from nanogpt.runs.run import Run
from nanogpt.studio import inside_analysis as analysis
from nanogpt.studio.background import run_in_thread
from nanogpt.studio.elements import Bars, Field, Tag, Text, TokenText, button, card, hint, select
from nanogpt.studio.generation import bars_of, default_prompt, describe_model, token_texts, unknown_warning
from nanogpt.studio.inside_pictures import AttentionCards, Chosen, EmbeddingsCard, Heads, LensTable
from nanogpt.studio.labels import TokenLabel, percent
from nanogpt.studio.model_choice import ModelChoice
from nanogpt.studio.registry import RunRegistry
from nanogpt.studio.state import State
from nanogpt.text.tokenizer import Tokenizer

ALL = "all"
DEFAULT_TOKENS = 60
"""Length of the default text, which the model writes."""


class TokenPanel:
    """The selected token. `head` is called with a layer and a head, each None for all; `move` with -1 or 1."""

    def __init__(self, head: Callable[[int | None, int | None], Any], move: Callable[[int], Any]) -> None:
        self._choose_head = head
        with Tag("section", "card panel open", aria_label="The token that is looked at"):
            with Tag("div", "chosen"):
                button("←", lambda: move(-1), aria_label="Previous token")
                self._title = Text("h2", "")
                button("→", lambda: move(1), aria_label="Next token")
            self._about = Text("p", "")
            Text("h3", "What comes next")
            self._next = Bars("The ten likeliest tokens after it")
            Text("h3", "Where it looks")
            with Tag("div", "fields"):
                self._layer = select("Layer", {ALL: "all, mean"}, ALL, lambda value: self._chosen())
                self._head = select("Head", {ALL: "all, mean"}, ALL, lambda value: self._chosen())
            self._attended = Bars("The tokens that it looks at most", classes="attention")

    def set_sizes(self, layers: int, heads: int) -> None:
        """Offer the layers and heads of a model."""
        for field, count in ((self._layer, layers), (self._head, heads)):
            field.set_options({ALL: "all, mean"} | {str(one): str(one + 1) for one in range(count)}, field.value)

    def show(self, found: analysis.Inspection, weights: Tensor, chosen: Chosen, tokenizer: Tokenizer) -> None:
        """Show a token and its attention (T,) in the chosen heads."""
        (layer, head), actual, vocab_size = chosen, found.actual, found.trace.logits.size(-1)
        names = [visible_text(tokenizer, token) for token in found.trace.ids]
        self._title.set_text(names[found.position])
        self._about.set_text(
            f"Token {found.place + 1:,} of {len(found.ids):,}. "
            + (
                f"After it came {actual.text}: {percent(actual.probability)} likely, number {actual.rank:,} of "
                f"{vocab_size:,}."
                if actual
                else "Nothing came after it yet."
            )
        )
        self._next.show(bars_of(found.next, None if actual is None else actual.token))
        self._layer.put(ALL if layer is None else str(layer))
        self._head.put(ALL if head is None else str(head))
        self._attended.props["label"] = f"The tokens that it looks at most, {analysis.heads_name(layer, head)}"
        self._attended.show(analysis.attention_bars(weights, names, found.position))

    def _chosen(self) -> Any:
        layer, head = (None if one.value == ALL else int(one.value) for one in (self._layer, self._head))
        return self._choose_head(layer, head)


class InsideView:
    """The view. `keep` is called with each new state."""

    def __init__(self, registry: RunRegistry, state: State, keep: Callable[[State], Any]) -> None:
        self.registry, self.state, self._keep = registry, state, keep
        self.run: Run | None = None
        self._ids: list[int] = []
        self._listed = range(0)
        self._found: analysis.Inspection | None = None
        with Tag("div", "views inside"):
            self._build_settings()
            self._build_text()
            self.panel = TokenPanel(self._choose_head, self._move)
            self.attention = AttentionCards(self._choose_head, self._choose, self._switch, self._measure)
            with card("The logit lens"):
                hint(
                    "What the model would predict if it ended after an earlier layer. Its output layer was trained for "
                    "the last layer only, so what an early one seems to say is a hint. The stronger the colour, the "
                    "likelier."
                )
                self._lens = LensTable()
            with card("The residual stream"):
                hint(
                    "How large it is at this token after each layer: the root of its mean square. In brackets: the "
                    "size of the layer's change relative to its input."
                )
                self._growth = Bars("The size of the residual stream")
            self.embeddings = EmbeddingsCard()

    async def start(self) -> None:
        """Load the model of the state, and inspect its token."""
        self._status.set_text("Opening the model …")
        try:
            self.run = await self.choice.open()
        except UserError as error:
            self._status.set_text(str(error))
            return
        assert self.run is not None
        run = self.run
        self._about.set_text(describe_model(run))
        if self.state.text is None:
            prompt = default_prompt(run.tokenizer)
            written = run_in_thread(lambda: run.generate(prompt, tokens=DEFAULT_TOKENS), self.registry.lock_of(run))
            self.text.put(await written)
        self._warn()
        await self._inspect(self.state.token, note=" ".join(self.choice.notes))

    async def _inspect(self, place: int | None = None, note: str = "") -> None:
        """Inspect the text in the field at a position, by default at its last token."""
        if self.run is None:
            await self.start()
            return
        self._ids = analysis.encode_text(self.run, self.text.value)
        config = self.run.model.config
        off = tuple(one for one in self.state.off if one[0] < config.n_layer and one[1] < config.n_head)
        self.state = replace(self.state, off=off)
        if (self.state.layer or 0) >= config.n_layer or (self.state.head or 0) >= config.n_head:
            self.state = replace(self.state, layer=None, head=None)
        self.panel.set_sizes(config.n_layer, config.n_head)
        self.attention.show_importance([])
        self._list(min(len(self._ids) - 1 if place is None else place, len(self._ids) - 1))
        await self._show(note)

    async def _look(self) -> None:
        await self._inspect()

    def _build_settings(self) -> None:
        with card("Look inside"):
            with Tag("div", "fields models"):
                self.choice = ModelChoice(self.registry, "Model", self._reopen)
            self.choice.put(self.state.run, self.state.step, self.state.model)
            self._about = hint()
            self.text = Field("textarea", "Text", self.state.text or "", lambda text: self._warn())
            self.text.on("enter", self._look)
            with Tag("div", "buttons"):
                button("Look", self._look, "primary")
                self._status = Text("span", "", "status", role="status")

    def _build_text(self) -> None:
        with card("The text"):
            hint(
                "Choose a token, by a click or with the arrow keys. The stronger the colour and the curve, the more of "
                "its attention goes there."
            )
            label = "The text. The arrow keys choose a token."
            self.tokens = TokenText(label, self._chosen, first=0)
            with Tag("div", "buttons") as self._pages:
                self._earlier = button("Earlier", lambda: self._choose(max(self._listed.start - 1, 0)))
                self._later = button("Later", lambda: self._choose(min(self._listed.stop, len(self._ids) - 1)))
                self._where = Text("span", "", "status")

    def _list(self, place: int) -> None:
        """Show the tokens around a position."""
        assert self.run is not None
        self.state = replace(self.state, token=place)
        if place in self._listed and self._found is not None and list(self._found.ids) == self._ids:
            self.tokens.select(place - self._listed.start)
            return
        self._listed = analysis.shown_span(len(self._ids), place, analysis.MAX_LISTED)
        some = self._ids[self._listed.start : self._listed.stop]
        labels = [TokenLabel(text) for text in token_texts(self.run.tokenizer, some)]
        self.tokens.show(labels, place - self._listed.start)
        self._pages.set_visibility(len(some) < len(self._ids))
        self._earlier.set(disabled=not self._listed.start)
        self._later.set(disabled=self._listed.stop == len(self._ids))
        self._where.set_text(f"Tokens {self._listed.start + 1:,} to {self._listed.stop:,} of {len(self._ids):,}")

    async def _show(self, note: str = "") -> None:
        """Inspect the token of the state in a thread, and show it."""
        run, place, before = self.run, self.state.token, self._found
        assert run is not None
        assert place is not None
        ids, off = self._ids, self.state.off

        def is_wanted() -> bool:
            return (run, place, ids, off) == (self.run, self.state.token, self._ids, self.state.off)

        def inspect() -> analysis.Inspection | None:
            return analysis.inspect_token(run, ids, place, off, before) if is_wanted() else None

        try:
            found = await run_in_thread(inspect, self.registry.lock_of(run))
        except UserError as error:
            self._status.set_text(str(error))
            return
        if found is None or not is_wanted():
            return  # a later request is on its way
        self._found = found
        self._draw(run, found)
        await self.embeddings.use(run, self.registry.lock_of(run), ids, ids[place])
        self._status.set_text(" ".join(one for one in (note, self._limits(run, found)) if one))
        self._save()

    def _draw(self, run: Run, found: analysis.Inspection) -> None:
        chosen = self.state.layer, self.state.head
        weights = analysis.attention_map(found.trace, *chosen)
        start = found.span.start - self._listed.start
        hidden = max(0, -start)  # tokens that are read but not listed
        self.tokens.shade(weights[found.position, hidden:].tolist(), max(0, start), arcs=True)
        self.panel.show(found, weights[found.position], chosen, run.tokenizer)
        self.attention.show(found, weights, chosen, run.tokenizer)
        self._lens.show(found.lens)
        self._growth.show(analysis.growth_bars(found.trace, found.position))

    def _limits(self, run: Run, found: analysis.Inspection) -> str:
        """Return what of a long text was not read or not drawn."""
        span, block_size = found.span, run.model.config.block_size
        limits = []
        if len(span) < len(found.ids):
            whole = len(span) >= min(block_size, found.place + 1)
            limits.append(
                f"Tokens {span.start + 1:,} to {span.stop:,} of {len(found.ids):,} are read together"
                f"{'' if whole else f'; the model could read {block_size:,}'}."
            )
        if len(span) > analysis.MAX_DRAWN:
            limits.append(f"Pictures show {analysis.MAX_DRAWN} tokens, around the chosen one.")
        return " ".join(limits)

    async def _chosen(self, listed: int | None) -> None:
        """Select a token of the list; the selection cannot be empty."""
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
        if self._found is not None and self.run is not None:
            self._draw(self.run, self._found)
            self._save()

    async def _switch(self, off: Heads) -> None:
        if self.run is not None and self.state.token is not None:
            self.state = replace(self.state, off=off)
            await self._show()

    async def _measure(self) -> None:
        """Measure the loss without each head in turn."""
        run, found = self.run, self._found
        if run is None or found is None:
            return
        self._status.set_text("Switching off each head in turn …")
        near: Sequence[int] = found.trace.ids[max(0, found.position + 1 - analysis.MAX_DRAWN) : found.position + 1]
        try:
            rises = await run_in_thread(lambda: head_importance(run.model, near), self.registry.lock_of(run))
        except UserError as error:
            self._status.set_text(str(error))
            return
        self.attention.show_importance(analysis.importance_bars(rises))
        self._status.set_text(f"Measured on {counted(len(near), 'token')}, up to the chosen one.")

    async def _reopen(self) -> None:
        self.run, self._found = None, None
        self.state = replace(self.state, off=(), text=self.text.value)
        await self.start()

    def _warn(self) -> None:
        """Name the characters of the text that the model does not know."""
        warning = "" if self.run is None else unknown_warning(self.run.tokenizer, self.text.value)
        self.text.set_help(warning, warning=True)

    def _save(self) -> None:
        choice = self.choice
        self.state = replace(
            self.state, view="inside", run=choice.name, step=choice.step, model=choice.hash, text=self.text.value
        )
        self._keep(self.state)
