"""Percentages and colour levels of probabilities, and what is sent to the browser: tokens and bars."""

from dataclasses import dataclass

LEVELS = (0.5, 0.25, 0.1, 0.03, 0.01)
"""Steps of the colour scale, as in exported pages: a token at least as likely as the first has no colour."""


def level_of(probability: float) -> int:
    """Return the colour level of a probability, from 0 (likely) to 5.

    >>> [level_of(probability) for probability in (0.9, 0.3, 0.001)]
    [0, 1, 5]
    """
    return next((level for level, least in enumerate(LEVELS) if probability >= least), len(LEVELS))


def percent(probability: float) -> str:
    """Format a probability with at most three digits.

    >>> [percent(one) for one in (1, 0.5, 0.05123, 0.00001, 0)]
    ['100 %', '50.0 %', '5.12 %', '< 0.01 %', '0 %']
    """
    value = 100 * probability
    if 0 < value < 0.01:
        return "< 0.01 %"
    return f"{value:.{0 if value >= 99.95 or value == 0 else 1 if value >= 10 else 2}f} %"


def capitalized(sentence: str) -> str:
    """Return a message with its first letter in upper case."""
    return sentence[:1].upper() + sentence[1:]


@dataclass(frozen=True)
class TokenLabel:
    """A token of a text on the page."""

    text: str
    """empty for a token that only begins a character"""
    level: int = 0
    """colour level, see `level_of`"""
    kind: str = ""
    """`prompt`, `hand` (chosen by a person), `start` (before an empty prompt) or nothing"""


@dataclass(frozen=True)
class Bar:
    """A line of a bar list."""

    name: str
    share: float
    value: str
    """what is written at its end"""
    marked: bool = False
