"""Text as it is written, with all that the studio shows of it: each token's probability, and branches to walk back.

No page is needed for any of it. Probabilities are the model's own, before temperature and the filters: how surprising
a token was does not depend on how boldly it was drawn.

Shapes: T time, V vocabulary.
"""

import base64
import binascii
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nanogpt.config import SampleConfig
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT
from nanogpt.sampling.cache import window_start
from nanogpt.serving.engine import WatchedBatch
from nanogpt.text.tokenizer import Tokenizer

MOST_TOKENS = 200_000
"""Of all branches of a text that is read from an address."""
MOST_BRANCHES = 300
"""Of such a text: each is read by the model, and each may branch from the one before."""


@torch.no_grad()
def write(model: GPT, ids: Sequence[int], config: SampleConfig, end: int | None = None) -> Iterator[tuple[int, Tensor]]:
    """Continue ids (T,), T at least 1: each token, and the logits (V,) that it was drawn from.

    The tokens are those of `nanogpt.sampling.generate.generate_ids`; they stop before `end`, the end-of-document token.
    """
    batch = WatchedBatch(model.eval(), 1)
    batch.join(torch.tensor(ids), config)
    for _ in range(config.tokens):
        token = batch.step()[0]
        if token == end:
            return
        yield token, batch.logits[0].float().cpu()


@torch.no_grad()
def read(model: GPT, ids: Sequence[int], first: int = 1) -> Iterator[tuple[int, Tensor]]:
    """Each place of ids (T,) from `first` on, at least 1, and the logits (V,) of what comes there.

    Each is predicted from the window that it would be written from, and a window is read once: the same numbers as
    `write`'s, up to rounding.
    """
    device, block_size = model.token_embedding.weight.device, model.config.block_size
    place = max(first, 1)
    while place < len(ids):
        start = window_start(place, block_size)
        end = place + 1
        while end < len(ids) and window_start(end, block_size) == start:
            end += 1
        idx = torch.tensor([list(ids[start : end - 1])], device=device)  # (1, end - 1 - start)
        logits = model.eval()(idx)[0, place - 1 - start :].float().cpu()  # (end - place, V)
        yield from enumerate(logits, place)
        place = end


def pieces(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """What each token adds to the text; empty while a character is open, which a later one completes."""
    decoder = tokenizer.decoder()
    return [decoder.feed(token) for token in ids]


@dataclass
class Branch:
    """Tokens that follow the first `start` of another branch; the first of them was chosen by hand."""

    parent: int | None
    """None for the text that the others branch from"""
    start: int
    ids: list[int]


@dataclass
class Tree:
    """A text and what branched from it. `current` is the branch that is shown."""

    prompt: int
    """how many tokens of the first branch are the prompt's"""
    branches: list[Branch] = field(default_factory=list)
    current: int = 0

    @classmethod
    def begin(cls, ids: Sequence[int]) -> "Tree":
        """A tree of a prompt alone."""
        return cls(len(ids), [Branch(None, 0, list(ids))])

    def path(self, branch: int | None = None) -> list[int]:
        """All ids of a branch, from the beginning of the text."""
        one = self.branches[self.current if branch is None else branch]
        return one.ids if one.parent is None else self.path(one.parent)[: one.start] + one.ids

    def by_hand(self) -> list[int]:
        """The places in the current text whose token a person chose."""
        found, branch, end = [], self.branches[self.current], len(self.path())
        while branch.parent is not None:
            if branch.start < end:
                found.append(branch.start)
            end = min(end, branch.start)
            branch = self.branches[branch.parent]
        return found[::-1]

    def add(self, token: int) -> None:
        """Write on."""
        self.branches[self.current].ids.append(token)

    def choose(self, place: int, token: int) -> bool:
        """Put a token at a place of the current text: whether a new branch began, rather than one found again."""
        path = self.path()
        if not 0 < place < len(path):
            raise UserError(f"there is no token {place} to choose another for: the text has {len(path)}")
        wanted = [*path[:place], token]
        if path[place] == token:
            return False
        for number in range(len(self.branches)):
            if self.path(number)[: place + 1] == wanted:
                self.current = number
                return False
        parent = self._owner(place)
        self.branches.append(Branch(parent, place, [token]))
        self.current = len(self.branches) - 1
        return True

    def back(self) -> int | None:
        """Go to the branch that this one left, and tell where it did; None where there is none before."""
        one = self.branches[self.current]
        if one.parent is None:
            return None
        self.current = one.parent
        return one.start

    def _owner(self, place: int) -> int:
        """The branch that the token at a place of the current text belongs to."""
        number = self.current
        while (one := self.branches[number]).parent is not None and place <= one.start:
            number = one.parent
        return number

    def pack(self) -> str:
        """The tree as a short text of letters and digits."""
        numbers = [self.prompt, self.current, len(self.branches)]
        for one in self.branches:
            numbers += [0 if one.parent is None else one.parent + 1, one.start, len(one.ids), *one.ids]
        return base64.urlsafe_b64encode(zlib.compress(b"".join(map(_varint, numbers)), 9)).decode().rstrip("=")

    @classmethod
    def unpack(cls, text: str, vocab_size: int) -> "Tree":
        """What `pack` wrote. Raises UserError for anything else, and for tokens that the model has not."""
        try:
            numbers = iter(_numbers(text))
            prompt, current, count = next(numbers), next(numbers), next(numbers)
            if count > MOST_BRANCHES:
                raise ValueError
            tree = cls(prompt, [], current)
            for number in range(count):
                parent, start, length = next(numbers), next(numbers), next(numbers)
                ids = [next(numbers) for _ in range(length)]
                tree.branches.append(Branch(parent - 1 if parent else None, start, ids))
                tree._check(number, vocab_size)
            if not (0 <= current < count and 0 < prompt <= len(tree.branches[0].ids)):
                raise ValueError
        except (StopIteration, ValueError, IndexError, OverflowError, binascii.Error, zlib.error):
            raise UserError("the text in the address is damaged, or another model's: it is left out") from None
        return tree

    def _check(self, number: int, vocab_size: int) -> None:
        one = self.branches[number]
        if one.parent is None:
            sound = number == 0 and one.start == 0
        else:
            sound = one.parent < number and 0 < one.start < len(self.path(one.parent))
        if not (sound and one.ids and max(one.ids) < vocab_size):
            raise ValueError


def _varint(number: int) -> bytes:
    """A number of seven bits a byte, the lowest first; the eighth says that more follow."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _numbers(text: str) -> Iterator[int]:
    packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    data = zlib.decompressobj().decompress(packed, 3 * MOST_TOKENS)  # what unfolds to more is cut, and so refused
    number = shift = 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if shift > 63:
            raise ValueError("too large")
        if byte < 128:
            yield number
            number = shift = 0
