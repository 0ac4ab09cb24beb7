"""Which tokens of a text are read, listed and drawn, so that a long text stays as quick to look at as a short one."""

from dataclasses import dataclass

from nanogpt.sampling.cache import window_start

MOST_READ = 256
"""Tokens that are read at once: the attention of 12 layers of 12 heads on them takes 38 MB."""
MOST_LISTED = 300
"""Tokens that the page lists at once."""
MOST_DRAWN = 48
"""Tokens along the side of a picture: more could not be told apart."""


@dataclass(frozen=True)
class Span:
    """Tokens from `start` up to `end`."""

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start

    def __contains__(self, place: object) -> bool:
        return isinstance(place, int) and self.start <= place < self.end


def read_span(length: int, place: int, block_size: int, most: int = MOST_READ) -> Span:
    """What is read to look at a place of a text: the window from which a model predicts the token after it.

    Where a window is longer than `most`, a part of it, as if the model could read no more: neighbours share one.

    >>> read_span(10, 4, 16), read_span(40, 20, 16), read_span(40, 20, 16, most=4)
    (Span(start=0, end=10), Span(start=9, end=25), Span(start=18, end=22))
    """
    start = window_start(place + 1, block_size)
    start += window_start(place + 1 - start, most)
    return Span(start, min(length, start + min(block_size, most)))


def shown_span(length: int, place: int, most: int) -> Span:
    """At most `most` tokens of `length`, a place among them, more of those before it than of those after.

    >>> shown_span(5, 2, 8), shown_span(100, 50, 8), shown_span(100, 99, 8)
    (Span(start=0, end=5), Span(start=44, end=52), Span(start=92, end=100))
    """
    start = max(0, min(place - 3 * most // 4, length - most))
    return Span(start, min(length, start + most))
