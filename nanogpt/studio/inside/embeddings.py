"""Embeddings as pictures: tokens, and positions, on the plane in which they differ most."""

import threading
from collections.abc import Sequence

from nanogpt.explain import Plane as Projection
from nanogpt.explain import position_plane, token_plane, visible
from nanogpt.runs.run import Run
from nanogpt.studio.inside.pictures import Plane
from nanogpt.studio.inside.words import near
from nanogpt.studio.parts import Tag, Text, card
from nanogpt.studio.words import percent
from nanogpt.studio.work import in_thread

MOST_TOKENS = 150
"""Names on the plane of tokens: more would lie on each other."""
POSITION_NAMES = 12


class Embeddings:
    """The part of the page about embeddings: computed when somebody opens it."""

    def __init__(self) -> None:
        self._run: Run | None = None
        self._lock = threading.Lock()
        self._ids: Sequence[int] = ()
        self._token = 0
        self._open = False
        self._tokens: Projection | None = None
        with card("Embeddings"):
            with Tag("details") as details:
                Text("summary", "Tokens and positions as the model keeps them, on a plane")
                self._told = Text("p", "", "hint")
                self._plane = Plane("Tokens by their embeddings; the text beside it names the nearest")
                self._near = Text("p", "")
                self._positions_told = Text("p", "", "hint")
                self._positions = Plane("Positions by their embeddings, joined in their order")
        details.on("toggle", self._toggled, js_handler="(event) => emit(event.target.open)")

    async def use(self, run: Run, lock: threading.Lock, ids: Sequence[int], token: int) -> None:
        """Show another model's, or mark another token."""
        if run is not self._run:
            self._run, self._lock, self._tokens = run, lock, None
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
        if self._tokens is None:
            self._tokens = await in_thread(lambda: token_plane(run.model), self._lock)
            self._show_positions(await in_thread(lambda: position_plane(run.model), self._lock))
        self._show_tokens(run, self._tokens)

    def _show_tokens(self, run: Run, plane: Projection) -> None:
        """The tokens of the text, and as many others as there is room for."""
        shown = list(dict.fromkeys([self._token, *reversed(self._ids), *range(run.tokenizer.vocab_size)]))[:MOST_TOKENS]
        name = {token: visible(run.tokenizer, token) for token in shown}
        self._plane.show([(*plane.points[one].tolist(), name[one], one == self._token) for one in shown])
        count = run.tokenizer.vocab_size
        self._told.set_text(
            f"{'The' if count <= len(shown) else f'{len(shown)} of the'} {count:,} tokens. Nearer ones have more "
            f"similar embeddings; the plane shows {percent(sum(plane.shares))} of how they differ."
        )
        nearest = ", ".join(visible(run.tokenizer, one) for one in near(plane.points, self._token))
        self._near.set_text(f"Nearest to {name[self._token]} on this plane: {nearest}.")

    def _show_positions(self, plane: Projection | None) -> None:
        self._positions.set_visibility(plane is not None)
        if plane is None:
            self._positions_told.set_text(
                "Positions have no embeddings here: rotary position embeddings (RoPE) turn queries and keys inside "
                "each head instead, by angles that are the same in every model."
            )
            return
        count = len(plane.points)
        every = max(1, count // POSITION_NAMES)
        points = [
            (*point, str(place + 1) if place % every == 0 else "", False)
            for place, point in enumerate(plane.points.tolist())
        ]
        self._positions.show(points, joined=True)
        self._positions_told.set_text(
            f"The {count:,} positions, joined in their order; the plane shows {percent(sum(plane.shares))} of how "
            f"their embeddings differ. Where neighbours lie beside each other, the model learned what is near to what."
        )
