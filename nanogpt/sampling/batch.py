"""Rows that are generated together, one token each per step; each has its own length and settings.

A row may join or leave between two steps, and its tokens don't depend on the other rows. So several prompts of different
lengths share a forward pass, as do the requests to a server.

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
from nanogpt.sampling.decoder import Decoder, can_decode
from nanogpt.sampling.filters import COLDEST, draw, filter_logits, likeliest
from nanogpt.sampling.kv_cache import KVCache, index_of, window_start


@dataclass(eq=False)
class Row:
    """A text that is being generated."""

    config: SampleConfig
    number: int
    """which of the samples of its config; with seed and position it decides what is drawn"""
    position: int
    """of the next token, in the whole text"""
    start: int
    """first position of its window"""

    @property
    def width(self) -> int:
        """Tokens in the window."""
        return self.position - self.start

    @property
    def filters(self) -> tuple[float | None, ...]:
        """Settings of its filters: rows with the same ones are filtered together."""
        c = self.config
        return (c.repetition_penalty, c.temperature, c.top_k, c.top_p, c.min_p)


class Batch:
    """Up to `size` rows. Without `cached` every token's window is read anew: slower, the same tokens."""

    def __init__(self, model: GPT, size: int, cached: bool = True) -> None:
        self.model, self.rows, self.size = model, list[Row](), size
        self.block_size = model.config.block_size
        weight = model.token_embedding.weight
        self.cache = KVCache(model.config, size, weight) if cached else None
        self.decoder = Decoder(model) if can_decode(model) else None
        self.ids = torch.zeros(size, self.block_size + 1, dtype=torch.long, device=weight.device)  # windows, next tokens

    def join(self, prompt: Tensor, config: SampleConfig, number: int = 0) -> Row:
        """Add a row, last in `rows`, that continues prompt ids, (T,), T at least 1.

        Raises:
            UserError: The batch is full.
        """
        if len(self.rows) == self.size:
            raise UserError(f"all {self.size} rows are taken: let one leave first")
        row = Row(config, number, len(prompt), window_start(len(prompt), self.block_size))
        self.ids[len(self.rows), : row.width] = prompt[row.start :]
        if self.cache:
            self.cache.forget(len(self.rows))
        self.rows.append(row)
        return row

    def leave(self, row: Row) -> None:
        """Remove a row; the last one takes its index in `rows`."""
        index, last = self.rows.index(row), self.rows.pop()
        if last is not row:
            self.rows[index] = last
            self.ids[index] = self.ids[len(self.rows)]
            if self.cache:
                self.cache.move(len(self.rows), index)

    @torch.no_grad()
    def step(self) -> list[int]:
        """Generate the next token of each row, in the order of `rows`; raise UserError where logits are not numbers."""
        self._move_windows()
        widths = torch.tensor([row.width for row in self.rows], device=self.ids.device)  # (B,)
        logits = self._read_windows() if self.cache is None else self._read_new_tokens(self.cache, widths)  # (B, V)
        tokens = self._in_groups(lambda row: row.filters, lambda rows: self._draw(logits, rows, widths))  # (B,)
        self.ids[: len(tokens)].scatter_(1, widths[:, None], tokens[:, None])
        for row in self.rows:
            row.position += 1
        return tokens.tolist()

    def _move_windows(self) -> None:
        """Let rows with a full window go on with its newest half."""
        for index, row in enumerate(self.rows):
            start = window_start(row.position, self.block_size)
            if start != row.start:
                newest = self.ids[index, start - row.start : row.width].clone()
                self.ids[index, : len(newest)] = newest
                row.start = start
                if self.cache:
                    self.cache.forget(index)

    def _read_windows(self) -> Tensor:
        """Return the logits of each row's next token, (B, V), from its whole window."""
        return self._in_groups(
            lambda row: row.width,
            lambda rows: self.model(self.ids[index_of(rows), : self.rows[rows[0]].width])[:, -1],
        )

    def _read_new_tokens(self, cache: KVCache, widths: Tensor) -> Tensor:
        """Return the logits of each row's next token, (B, V), from the cache and the row's newest tokens."""
        unread = [index for index, row in enumerate(self.rows) if row.width > 1 and not cache.lengths[index]]
        for rows in _groups(unread, lambda index: self.rows[index].width):
            self.model(self.ids[index_of(rows), : self.rows[rows[0]].width - 1], cache.select(rows))
        newest = self.ids[: len(self.rows)].gather(1, widths[:, None] - 1)  # (B, 1)
        if not self.model.config.mask_documents:
            cache.select(list(range(len(self.rows))))
            return self.decoder(newest, cache) if self.decoder else self.model(newest, cache)[:, -1]
        # The cache knows documents only for rows of one length.
        return self._in_groups(
            lambda row: row.width, lambda rows: self.model(newest[index_of(rows)], cache.select(rows))[:, -1]
        )

    def _draw(self, logits: Tensor, indices: list[int], widths: Tensor) -> Tensor:
        """Draw tokens for rows with the same filters from all rows' logits, (B, V)."""
        rows = [self.rows[index] for index in indices]
        config, context = rows[0].config, self.ids[:0]
        if config.repetition_penalty != 1.0:  # a shorter window is padded with its own first token
            context, width = self.ids[index_of(indices)], widths[index_of(indices), None]
            context = torch.where(torch.arange(context.size(1), device=width.device) < width, context, context[:, :1])
        logits = filter_logits(logits[index_of(indices)].float(), context, config)
        if config.temperature < COLDEST:
            return likeliest(logits)
        return draw(logits, [uniform(row.config.seed, "sample", row.number, row.position) for row in rows])

    def _in_groups(self, key: Callable[[Row], Hashable], call: Callable[[list[int]], Tensor]) -> Tensor:
        """Call a function for the rows of each key; return its results in the order of `rows`."""
        groups = _groups(range(len(self.rows)), lambda index: key(self.rows[index]))
        results = [call(rows) for rows in groups]
        if len(results) == 1:
            return results[0]
        order = torch.tensor([index for rows in groups for index in rows], device=self.ids.device)
        return torch.cat(results)[order.argsort()]


def _groups(indices: Iterable[int], key: Callable[[int], Hashable]) -> list[list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for index in indices:
        groups.setdefault(key(index), []).append(index)
    return list(groups.values())
