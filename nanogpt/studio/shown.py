"""What goes to the page: tokens of a text, and lines of a list of bars. No page is needed for either."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shown:
    """A token as the page shows it."""

    text: str
    """empty where it only begins a character"""
    level: int = 0
    """of its colour, as by `words.level_of`"""
    kind: str = ""
    """`prompt`, `hand` for one that a person chose, `start` for what an empty prompt starts after, or nothing"""

    def packed(self) -> list[Any]:
        """As it travels."""
        return [self.text, self.level, self.kind]


@dataclass(frozen=True)
class Line:
    """A line of a list of bars."""

    name: str
    share: float
    told: str
    marked: bool = False

    def packed(self) -> list[Any]:
        """As it travels."""
        return [self.name, self.share, self.told, self.marked]
