"""The pictures of "Look inside": attention, the logit lens, embeddings. Each has a text for screen readers."""

import base64
import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from nicegui.element import Element
from torch import Tensor

from nanogpt.explain.embeddings import Plane, position_plane, token_plane
from nanogpt.explain.hooks import Head
from nanogpt.explain.predictions import visible_text
from nanogpt.explain.trace import Trace
from nanogpt.runs.run import Run
from nanogpt.studio import inside_analysis as analysis
from nanogpt.studio.background import run_in_thread
from nanogpt.studio.elements import Bars, Tag, Text, button, card, hint
from nanogpt.studio.labels import Bar, capitalized, percent
from nanogpt.text.tokenizer import Tokenizer

HUE = bytes((214, 130, 0))
"""`--attention` in the style sheet."""
MAX_TOKENS = 150
"""Tokens in the scatter plot; more would overlap."""
POSITION_LABELS = 12

Heads = tuple[Head, ...]
Chosen = tuple[int | None, int | None]
"""A layer and a head, each None for the mean over all."""


def png_url(shares: Tensor) -> str:
    """Return numbers (T, S) from 0 to 1 as a PNG in a data URL: one colour, transparent where the number is small."""
    rows = (shares.clamp(0, 1) * 255).round().byte().cpu().numpy()
    height, width = rows.shape
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)  # 8 bits per pixel, with a palette
    palette, opacity = HUE * 256, bytes(range(256))
    chunks = ((b"IHDR", head), (b"PLTE", palette), (b"tRNS", opacity), (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        png += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    return "data:image/png;base64," + base64.b64encode(png).decode()


class HeadGrid(Element, component="assets/head_grid.js"):
    """A small picture of each head's attention; `choose` is called with the layer and head of one."""

    def __init__(self, choose: Callable[[int, int], Any]) -> None:
        super().__init__()
        self.props.update({"layers": [], "chosen": None})
        self.on("choose", lambda event: choose(*event.args))

    def show(self, trace: Trace, span: range, chosen: Head | None) -> None:
        """Show the attention among the tokens of a span of the trace."""
        some = trace.attention[:, :, span.start : span.stop, span.start : span.stop]
        self.props["layers"] = [
            [
                [png_url(one.sqrt()), analysis.describe_head(trace, layer, head), (layer, head) in trace.off]
                for head, one in enumerate(some[layer])
            ]
            for layer in range(len(some))
        ]
        self.props["chosen"] = chosen


class AttentionMap(Element, component="assets/attention_map.js"):
    """Attention of one head, large, explored by mouse or arrow keys; `choose` is called with a clicked row's token."""

    def __init__(self, choose: Callable[[int], Any]) -> None:
        super().__init__()
        self.props.update({"names": [], "weights": [], "row": 0, "first": 0})
        self.on("choose", lambda event: choose(int(event.args)))

    def show(self, weights: Tensor, names: Sequence[str], row: int, first: int, label: str) -> None:
        """Show weights (T, T); `first` is the position of the first of these tokens in the text."""
        packed = [[round(one, 4) for one in line[: index + 1]] for index, line in enumerate(weights.tolist())]
        self.props.update({"weights": packed, "names": list(names), "row": row, "first": first, "label": label})


class LensTable(Element, component="assets/lens_table.js"):
    """A table of the logit lens."""

    def __init__(self) -> None:
        super().__init__()
        self.props.update({"rows": [], "final": ""})

    def show(self, rows: Sequence[analysis.LensRow]) -> None:
        """Replace the rows."""
        self.props["rows"] = [
            [
                one.name,
                [[choice.text, percent(choice.probability), choice.probability] for choice in one.choices],
                f"{percent(one.final.probability)}, number {one.final.rank:,}",
            ]
            for one in rows
        ]
        self.props["final"] = rows[-1].choices[0].text


class ScatterPlot(Element, component="assets/scatter.js"):
    """Names at points of a plane."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.props.update({"points": [], "label": label, "joined": False})

    def show(self, points: Sequence[tuple[float, float, str, bool]], joined: bool = False) -> None:
        """Replace the points: (x, y, name, whether marked); `joined` draws a line through them."""
        self.props.update({"points": [list(one) for one in points], "joined": joined})


class AttentionCards:
    """The cards about heads: `choose` a head or None, `place` the token, `switch` heads off, `measure` them all."""

    def __init__(
        self,
        choose: Callable[[int | None, int | None], Any],
        place: Callable[[int], Any],
        switch: Callable[[Heads], Any],
        measure: Callable[[], Any],
    ) -> None:
        self._choose, self._switch = choose, switch
        self._one: Head | None = None
        self._off: Heads = ()
        with card("Attention of every head"):
            hint(
                "A row of a picture is a token that looks, a column one that is seen. The stronger the colour, the "
                "more of its attention goes there; colours grow with the square root, so that little shows too. "
                "Choose a head to see it large."
            )
            self._heads = HeadGrid(self._toggle)
            self._title = Text("h3", "")
            self._map = AttentionMap(place)
        with card("Without a head"):
            hint(
                "Switch a head off, and its output is zero; everything else stays as it was trained. What another head "
                "could take over does not show."
            )
            with Tag("div", "buttons"):
                self._button = button("Switch this head off", self._switch_one)
                self._all = button("Switch all on", lambda: switch(()))
                button("Which heads matter for this text?", measure)
            self._summary = Text("p", "", role="status", aria_live="polite")
            self._effects = Bars("What switching off changes")
            self._rises_title = Text("h3", "How much worse the text is predicted without each, in nats per token")
            self._rises = Bars("The heads that matter most")
        self.show_importance([])

    def show(self, found: analysis.Inspection, weights: Tensor, chosen: Chosen, tokenizer: Tokenizer) -> None:
        """Show an inspected token with the attention (T, T) of the chosen heads."""
        (layer, head), trace, position = chosen, found.trace, found.position
        names = [visible_text(tokenizer, token) for token in trace.ids]
        span = analysis.shown_span(len(trace.ids), position, analysis.MAX_DRAWN)
        self._one = None if layer is None or head is None else (layer, head)
        self._off = trace.off
        self._heads.show(trace, span, self._one)
        title, part = analysis.heads_name(layer, head), slice(span.start, span.stop)
        self._title.set_text(capitalized(title))
        first, label = found.span.start + span.start, f"Attention, {title}"
        self._map.show(weights[part, part], names[part], position - span.start, first, label)
        self._button.set_text(f"Switch this head {'on' if self._one in self._off else 'off'}")
        self._button.set(disabled=self._one is None)
        self._all.set(disabled=not self._off)
        self._effects.set_visibility(bool(self._off))
        if self._off:
            heads = "; ".join(analysis.heads_name(*one) for one in self._off)
            self._summary.set_text(
                f"Switched off: {heads}. What comes next, before and after, the largest changes first:"
            )
            self._effects.show(analysis.effect_bars(found.effects, tokenizer))
        else:
            self._summary.set_text("All heads are on." if self._one else "All heads are on. Choose one above first.")

    def show_importance(self, bars: Sequence[Bar]) -> None:
        """Show which heads matter; nothing before a person asks."""
        self._rises.show(bars)
        self._rises.set_visibility(bool(bars))
        self._rises_title.set_visibility(bool(bars))

    def _toggle(self, layer: int, head: int) -> Any:
        return self._choose(None, None) if (layer, head) == self._one else self._choose(layer, head)

    def _switch_one(self) -> Any:
        if self._one is None:
            return None
        rest = tuple(one for one in self._off if one != self._one)
        return self._switch(rest if self._one in self._off else (*rest, self._one))


class EmbeddingsCard:
    """The card about embeddings, computed when it is opened."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._lock = threading.Lock()
        self._ids: Sequence[int] = ()
        self._token = 0
        self._open = False
        self._projection: Plane | None = None
        with card("Embeddings"):
            with Tag("details") as details:
                Text("summary", "Embeddings of tokens and positions, on a plane")
                self._about = hint()
                self._tokens = ScatterPlot("Tokens by their embeddings; the text next to it names the nearest")
                self._near = Text("p", "")
                self._about_positions = hint()
                self._positions = ScatterPlot("Positions by their embeddings, joined in their order")
        details.on("toggle", self._toggled, js_handler="(event) => emit(event.target.open)")

    async def use(self, run: Run, lock: threading.Lock, ids: Sequence[int], token: int) -> None:
        """Change the model, the text, or the marked token."""
        if run is not self._run:
            self._run, self._lock, self._projection = run, lock, None
        self._ids, self._token = ids, token
        if self._open:
            await self._show()

    async def _toggled(self, event: object) -> None:
        self._open = bool(getattr(event, "args", False))
        if self._open:
            await self._show()

    async def _show(self) -> None:
        run = self._run
        if run is None:
            return
        if self._projection is None:
            self._projection = await run_in_thread(lambda: token_plane(run.model), self._lock)
            self._show_positions(await run_in_thread(lambda: position_plane(run.model), self._lock))
        plane, count = self._projection, run.tokenizer.vocab_size
        # The tokens of the text come first, then others.
        shown = list(dict.fromkeys([self._token, *reversed(self._ids), *range(count)]))[:MAX_TOKENS]
        name = {token: visible_text(run.tokenizer, token) for token in shown}
        self._tokens.show([(*plane.points[one].tolist(), name[one], one == self._token) for one in shown])
        self._about.set_text(
            f"{'The' if count <= len(shown) else f'{len(shown)} of the'} {count:,} tokens. Nearer ones have more "
            f"similar embeddings; the plane shows {percent(sum(plane.shares))} of how they differ."
        )
        near = analysis.nearest_points(plane.points, self._token)
        nearest = ", ".join(visible_text(run.tokenizer, one) for one in near)
        self._near.set_text(f"Nearest to {name[self._token]} on this plane: {nearest}.")

    def _show_positions(self, plane: Plane | None) -> None:
        self._positions.set_visibility(plane is not None)
        if plane is None:
            self._about_positions.set_text(
                "Positions have no embeddings here: rotary position embeddings (RoPE) rotate queries and keys inside "
                "each head instead, by angles that are the same in every model."
            )
            return
        count = len(plane.points)
        every = max(1, count // POSITION_LABELS)
        points = [
            (*point, str(index + 1) if index % every == 0 else "", False)
            for index, point in enumerate(plane.points.tolist())
        ]
        self._positions.show(points, joined=True)
        self._about_positions.set_text(
            f"The {count:,} positions, joined in their order; the plane shows {percent(sum(plane.shares))} of how "
            f"their embeddings differ. Where neighbours are close, the model learned which positions are near."
        )
