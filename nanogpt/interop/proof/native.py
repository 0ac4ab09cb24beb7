"""The library's own ways to run a model, each held against plain torch: compiled, with its cache, in a batch."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nanogpt.config import SampleConfig
from nanogpt.interop.proof.compare import Contexts, Ours, Row, compare
from nanogpt.model.gpt import GPT
from nanogpt.sampling.cache import KeyValueCache
from nanogpt.sampling.decoder import Decoder, can_decode
from nanogpt.sampling.generate import generate_ids


def native_rows(model: GPT, contexts: Contexts) -> Iterator[Row]:
    """A row for each way."""
    yield compare("cached", model, Cached(model), contexts)
    yield compare("batched", model, Batched(model), contexts)
    yield _compiled(model, contexts)


class Cached:
    """A token at a time, keys and values kept: as `nanogpt sample` writes."""

    def __init__(self, model: GPT) -> None:
        self.model = model

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Logits (T, V) of the tokens after each of ids."""
        model = self.model
        short = replace(model.config, block_size=len(ids))  # a cache for the whole context might not fit the memory
        cache = KeyValueCache(short, 1, model.token_embedding.weight)
        decoder = Decoder(model) if can_decode(model) else None
        rows = []
        for token in ids:
            idx = torch.tensor([[token]])
            rows.append(decoder(idx, cache.rows([0])) if decoder else model(idx, cache.rows([0]))[:, -1])
        return torch.cat(rows)  # (T, V)

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """The likeliest tokens after ids."""
        config = SampleConfig(temperature=0, tokens=tokens)
        return [row[0] for row in generate_ids(self.model, torch.tensor(list(ids)), config)]


class Batched:
    """Beside other texts of other lengths: as a server answers several people."""

    def __init__(self, model: GPT) -> None:
        self.model = model

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Logits (T, V) of the tokens after each of ids, read as the middle one of three rows."""
        idx = torch.tensor(list(ids))
        rows = torch.stack([idx.flip(0), idx, idx.roll(1)])  # (3, T)
        return self.model(rows)[1]

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """The likeliest tokens after ids, written beside those after a shorter and a longer text."""
        idx = torch.tensor(list(ids))
        beside = [idx[:1], idx, torch.cat([idx, idx])]
        return [row[1] for row in generate_ids(self.model, beside, SampleConfig(temperature=0, tokens=tokens))]


class Compiled(Ours):
    """By torch.compile."""

    def __init__(self, model: GPT, length: int) -> None:
        """`length` is that of every context: one shape is compiled."""
        super().__init__(model)
        self.forward, self.length = torch.compile(model, dynamic=False), length

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Logits (T, V) of the tokens after each of ids."""
        found: Tensor = self.forward(torch.tensor([list(ids)]))[0]
        return found

    @torch.no_grad()
    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """The likeliest tokens after ids; contexts are filled up behind, where nothing sees it."""
        found = list(ids)
        for _ in range(tokens):
            window = found + [0] * (self.length - len(found))
            found.append(int(self.logits(window)[len(found) - 1].argmax()))
        return found[len(ids) :]


def _compiled(model: GPT, contexts: Contexts) -> Row:
    try:
        return compare("compiled", model, Compiled(model, len(contexts.drawn)), contexts)
    except Exception as error:  # a compiler has many ways to fail, and each machine its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Row(name="compiled", not_run=f"torch.compile does not work here ({reason[:120]})")
    finally:
        torch._dynamo.reset()
