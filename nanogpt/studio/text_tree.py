"""A text and the branches that a person made in it by choosing other tokens."""

import base64
import binascii
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from nanogpt.errors import UserError

MAX_TOKENS, MAX_BRANCHES = 200_000, 300
"""Of a tree that comes from an address: the model reads each branch."""


@dataclass
class Branch:
    """Tokens that follow the first `start` of another branch; a person chose the first of them."""

    parent: int | None
    """None for the root"""
    start: int
    ids: list[int]


@dataclass
class TextTree:
    """A text and its branches. `current` is the branch that is shown."""

    prompt: int
    """how many tokens of the root are the prompt"""
    branches: list[Branch] = field(default_factory=list)
    current: int = 0

    @classmethod
    def begin(cls, ids: Sequence[int]) -> "TextTree":
        """Return a tree that holds a prompt only."""
        return cls(len(ids), [Branch(None, 0, list(ids))])

    def path(self, branch: int | None = None) -> list[int]:
        """Return all ids of a branch, from the beginning of the text."""
        one = self.branches[self.current if branch is None else branch]
        return one.ids if one.parent is None else self.path(one.parent)[: one.start] + one.ids

    def chosen_positions(self) -> list[int]:
        """Return the positions in the current text whose token a person chose."""
        found, branch, end = [], self.branches[self.current], len(self.path())
        while branch.parent is not None:
            if branch.start < end:
                found.append(branch.start)
            end = min(end, branch.start)
            branch = self.branches[branch.parent]
        return found[::-1]

    def add(self, token: int) -> None:
        """Append a token to the current branch."""
        self.branches[self.current].ids.append(token)

    def choose(self, position: int, token: int) -> bool:
        """Put a token at a position of the current text; return whether this made a new branch."""
        path = self.path()
        if not 0 < position < len(path):
            raise UserError(f"position {position} has no token to replace: the text has {len(path)}")
        wanted = [*path[:position], token]
        if path[position] == token:
            return False
        for number in range(len(self.branches)):
            if self.path(number)[: position + 1] == wanted:
                self.current = number
                return False
        parent = self.current  # the branch that holds the token before this position
        while (one := self.branches[parent]).parent is not None and position <= one.start:
            parent = one.parent
        self.branches.append(Branch(parent, position, [token]))
        self.current = len(self.branches) - 1
        return True

    def back(self) -> int | None:
        """Show the parent branch; return the position where this one began, None at the root."""
        one = self.branches[self.current]
        if one.parent is None:
            return None
        self.current = one.parent
        return one.start

    def pack(self) -> str:
        """Return the tree as a short string of URL-safe letters."""
        numbers = [self.prompt, self.current, len(self.branches)]
        for one in self.branches:
            numbers += [0 if one.parent is None else one.parent + 1, one.start, len(one.ids), *one.ids]
        return base64.urlsafe_b64encode(zlib.compress(b"".join(map(_varint, numbers)), 9)).decode().rstrip("=")

    @classmethod
    def unpack(cls, text: str, vocab_size: int) -> "TextTree":
        """Return the tree that `pack` wrote. Raises UserError for anything else, and for unknown tokens."""
        try:
            numbers = iter(_read_varints(text))
            prompt, current, count = next(numbers), next(numbers), next(numbers)
            if count > MAX_BRANCHES:
                raise ValueError
            tree = cls(prompt, [], current)
            for number in range(count):
                parent, start, length = next(numbers), next(numbers), next(numbers)
                ids = [next(numbers) for _ in range(length)]
                tree.branches.append(Branch(parent - 1 if parent else None, start, ids))
                if parent:
                    valid = parent - 1 < number and 0 < start < len(tree.path(parent - 1))
                else:
                    valid = number == start == 0
                if not (valid and ids and max(ids) < vocab_size):
                    raise ValueError
            if not (0 <= current < count and 0 < prompt <= len(tree.branches[0].ids)):
                raise ValueError
        except (StopIteration, ValueError, IndexError, OverflowError, binascii.Error, zlib.error):
            raise UserError("the text in the address is damaged or belongs to another model: left out") from None
        return tree


def _varint(number: int) -> bytes:
    """Encode a number with seven bits per byte, the lowest first; the eighth bit says that more follow."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _read_varints(text: str) -> Iterator[int]:
    packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    data = zlib.decompressobj().decompress(packed, 3 * MAX_TOKENS)  # a longer tree is cut, and so refused
    number = shift = 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if shift > 63:
            raise ValueError("too large")
        if byte < 128:
            yield number
            number = shift = 0
