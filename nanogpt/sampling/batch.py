"""Rows that are generated together, a token each at every step; each has its own length and settings.

A row may join or leave between two steps, and its tokens do not depend on who else is there: what several prompts of
different lengths need, and a server that answers several people at once.

Shapes: B rows, W tokens of the window that a row's next token is predicted from, V vocabulary.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from nanogpt.config import SampleConfig
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT
from nanogpt.random_streams import uniform
from nanogpt.sampling.cache import EqualRows, KeyValueCache, index_of, window_start
from nanogpt.sampling.decoder import Decoder, can_decode
from nanogpt.sampling.filters import COLDEST, draw, filter_logits, likeliest


@dataclass(eq=False)
class Row:
    """One text on its way."""

    config: SampleConfig
    number: int
    """which of the samples of its config; with the seed and the position it decides what is drawn"""
    position: int
    """of the token that comes next, in the whole text"""
    start: int
    """of the window that it is predicted from"""

    @property
    def width(self) -> int:
        """Tokens in the window."""
        return self.position - self.start

    @property
    def filters(self) -> tuple[float | None, ...]:
        """What its logits go through."""
        c = self.config
        return (c.repetition_penalty, c.temperature, c.top_k, c.top_p, c.min_p)


class Batch:
    """Up to `room` rows. Without `cached` every window is read anew for each token: slower, the same tokens."""

    def __init__(self, model: GPT, room: int, cached: bool = True) -> None:
        self.model, self.rows, self.room = model, list[Row](), room
        self._block_size = model.config.block_size
        weight = model.token_embedding.weight
        self._cache = KeyValueCache(model.config, room, weight) if cached else None
        self._decoder = Decoder(model) if can_decode(model) else None
        # Each row's window, and a place for the token that comes next.
        self._ids = torch.zeros(room, self._block_size + 1, dtype=torch.long, device=weight.device)

    def join(self, prompt: Tensor, config: SampleConfig, number: int = 0) -> Row:
        """A new row, last in `rows`, that continues prompt ids (T,), T at least 1. UserError where no room is left."""
        if len(self.rows) == self.room:
            raise UserError(f"all {self.room} rows are taken: let one leave first")
        place = len(self.rows)
        row = Row(config, number, len(prompt), window_start(len(prompt), self._block_size))
        self._ids[place, : row.width] = prompt[row.start :]
        if self._cache:
            self._cache.forget(place)
        self.rows.append(row)
        return row

    def leave(self, row: Row) -> None:
        """Take a row out; the last one gets its place in `rows`."""
        place, last = self.rows.index(row), self.rows.pop()
        if last is not row:
            self.rows[place] = last
            self._ids[place] = self._ids[len(self.rows)]
            if self._cache:
                self._cache.move(len(self.rows), place)

    @torch.no_grad()
    def step(self) -> list[int]:
        """The next token of each row, in the order of `rows`. Raises UserError where the logits are not numbers."""
        self._move_windows()
        logits = self._predict() if self._cache is None else self._predict_on(self._cache)  # (B, V)
        new = self._by_kind(lambda row: row.filters, lambda places: self._draw(logits, places))  # (B,)
        self._ids[: len(new)].scatter_(1, self._widths()[:, None], new[:, None])
        for row in self.rows:
            row.position += 1
        return new.tolist()

    def _move_windows(self) -> None:
        """A row whose window is full goes on with its newest half."""
        for place, row in enumerate(self.rows):
            start = window_start(row.position, self._block_size)
            if start != row.start:
                kept = self._ids[place, start - row.start : row.width].clone()
                self._ids[place, : len(kept)] = kept
                row.start = start
                if self._cache:
                    self._cache.forget(place)

    def _predict(self) -> Tensor:
        """Logits of each row's next token, (B, V), from windows read anew."""
        return self._by_kind(lambda row: row.width, lambda places: self._read(places, self._width(places)))

    def _predict_on(self, cache: KeyValueCache) -> Tensor:
        """Logits of each row's next token, (B, V), from what the cache has and each row's last token."""
        unread = [place for place, row in enumerate(self.rows) if row.width > 1 and not cache.lengths[place]]
        for places in _groups(unread, self._width_of):
            self._read(places, self._width(places) - 1, cache.rows(places))
        last = self._ids[: len(self.rows)].gather(1, self._widths()[:, None] - 1)  # (B, 1)
        if self._decoder:
            return self._decoder(last, cache.first(len(self.rows)))
        if not self.model.config.mask_documents:
            return self.model(last, cache.first(len(self.rows)))[:, -1]
        # Which document a place belongs to is told for rows of one length alone.
        return self._by_kind(
            lambda row: row.width, lambda places: self.model(last[index_of(places)], cache.rows(places))[:, -1]
        )

    def _read(self, places: list[int], width: int, cache: EqualRows | None = None) -> Tensor:
        """The first tokens of some rows' windows; the logits of what follows them, (B, V)."""
        return self.model(self._ids[index_of(places), :width], cache)[:, -1]

    def _draw(self, logits: Tensor, places: list[int]) -> Tensor:
        """Tokens for some rows of logits (B, V) that go through the same filters."""
        rows = [self.rows[place] for place in places]
        config = rows[0].config
        context = self._context(places) if config.repetition_penalty != 1.0 else self._ids[:0]
        logits = filter_logits(logits[index_of(places)].float(), context, config)
        if config.temperature < COLDEST:
            return likeliest(logits)
        return draw(logits, [uniform(row.config.seed, "sample", row.number, row.position) for row in rows])

    def _context(self, places: list[int]) -> Tensor:
        """Some rows' windows, (B, W); a shorter one is filled up with its own first token."""
        widths = self._widths()[index_of(places)]
        ids = self._ids[index_of(places), : int(widths.max())]
        return torch.where(torch.arange(ids.size(1), device=ids.device) < widths[:, None], ids, ids[:, :1])

    def _width_of(self, place: int) -> int:
        return self.rows[place].width

    def _width(self, places: list[int]) -> int:
        return self.rows[places[0]].width

    def _widths(self) -> Tensor:
        return torch.tensor([row.width for row in self.rows], device=self._ids.device)  # (B,)

    def _by_kind(self, kind_of: Callable[[Row], Hashable], call: Callable[[list[int]], Tensor]) -> Tensor:
        """What a call gives for the rows of each kind, in the order of `rows`."""
        groups = _groups(range(len(self.rows)), lambda place: kind_of(self.rows[place]))
        found = [call(places) for places in groups]
        if len(found) == 1:
            return found[0]
        order = torch.tensor([place for places in groups for place in places], device=self._ids.device)
        return torch.cat(found)[order.argsort()]


def _groups(places: Iterable[int], kind_of: Callable[[int], Hashable]) -> list[list[int]]:
    """Places of one kind together."""
    groups: dict[Hashable, list[int]] = {}
    for place in places:
        groups.setdefault(kind_of(place), []).append(place)
    return list(groups.values())
