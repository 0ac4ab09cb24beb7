"""The library's own ways to run a model compared with plain torch: with a cache, in a batch, compiled."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from nanogpt.config import SampleConfig
from nanogpt.interop.verify.compare import Contexts, PlainTorch, Row, compare
from nanogpt.model.gpt import GPT
from nanogpt.sampling.decoder import Decoder, can_decode
from nanogpt.sampling.generate import generate_ids
from nanogpt.sampling.kv_cache import KVCache


def native_rows(model: GPT, contexts: Contexts) -> Iterator[Row]:
    """Yield the result for each native way."""
    yield compare("cached", model, Cached(model), contexts)
    yield compare("batched", model, Batched(model), contexts)
    try:
        yield compare("compiled", model, Compiled(model, len(contexts.drawn)), contexts)
    except Exception as error:  # compilers fail in many ways, which differ between machines
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        yield Row(name="compiled", not_run=f"torch.compile does not work here ({reason[:120]})")
    finally:
        torch._dynamo.reset()


class Cached:
    """One token at a time with a key-value cache, as `nanogpt sample` writes."""

    def __init__(self, model: GPT) -> None:
        self.model = model

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits of the token after each of ids, shape (T, V)."""
        model = self.model
        short = replace(model.config, block_size=len(ids))  # a cache for the whole context may not fit in memory
        cache = KVCache(short, 1, model.token_embedding.weight)
        decoder = Decoder(model) if can_decode(model) else None
        rows = []
        for token in ids:
            idx = torch.tensor([[token]])
            rows.append(decoder(idx, cache) if decoder else model(idx, cache)[:, -1])
        return torch.cat(rows)  # (T, V)

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """Return the next `tokens` tokens after ids, always the likeliest."""
        config = SampleConfig(temperature=0, tokens=tokens)
        return [row[0] for row in generate_ids(self.model, torch.tensor(list(ids)), config)]


class Batched:
    """In a batch with texts of other lengths, as the server answers several requests."""

    def __init__(self, model: GPT) -> None:
        self.model = model

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits of the token after each of ids, shape (T, V), from the middle one of three rows."""
        idx = torch.tensor(list(ids))
        rows = torch.stack([idx.flip(0), idx, idx.roll(1)])  # (3, T)
        return self.model(rows)[1]

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """Return the next `tokens` tokens after ids, written next to a shorter and a longer text."""
        idx = torch.tensor(list(ids))
        batch = [idx[:1], idx, torch.cat([idx, idx])]
        return [row[1] for row in generate_ids(self.model, batch, SampleConfig(temperature=0, tokens=tokens))]


class Compiled(PlainTorch):
    """A model compiled by torch.compile for one context length."""

    def __init__(self, model: GPT, length: int) -> None:
        super().__init__(model)
        self.forward, self.length = torch.compile(model, dynamic=False), length

    @torch.no_grad()
    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits of the token after each of ids, shape (T, V)."""
        found: Tensor = self.forward(torch.tensor([list(ids)]))[0]
        return found

    @torch.no_grad()
    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """Return the next `tokens` tokens after ids, always the likeliest; contexts are padded at the end."""
        found = list(ids)
        for _ in range(tokens):
            window = found + [0] * (self.length - len(found))
            found.append(int(self.logits(window)[len(found) - 1].argmax()))
        return found[len(ids) :]
