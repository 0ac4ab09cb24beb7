"""Short trainings for exercises that break something: a few seconds, always the same."""

from collections.abc import Callable
from functools import cache

from torch import nn

from course.console import quiet
from course.s01_bigram import Result, Setting, run_experiment
from nanogpt.text.corpus import load_corpus

CHARACTERS = 100_000


@cache
def some_text() -> str:
    """The beginning of the Python library's source, which is on every machine."""
    parts: list[str] = []
    length = 0
    for piece in load_corpus("python").pieces():
        parts.append(piece.text)
        length += len(piece.text)
        if length >= CHARACTERS:
            break
    return "".join(parts)[:CHARACTERS]


def short_training(build: Callable[[int], nn.Module], steps: int = 400, learning_rate: float = 1e-2) -> Result:
    """Train a model on that text for a moment, in the toy setting."""
    return run_experiment(
        build,
        label="",
        steps=steps,
        seed=1337,
        text=some_text(),
        report=quiet,
        setting=Setting(learning_rate=learning_rate),
    )
