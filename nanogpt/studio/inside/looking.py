"""What there is to see at one place of a text, computed in one go and kept until something else is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

from nanogpt.config import SampleConfig
from nanogpt.explain import Choice, Effect, Head, Trace, alternatives, effect_of, lens_at, longest, trace
from nanogpt.explain import choice as choice_of
from nanogpt.runs.run import Run
from nanogpt.sampling.text import encode_prompt
from nanogpt.studio.inside.window import MOST_READ, Span, read_span
from nanogpt.studio.inside.words import LensRow, lens_rows
from nanogpt.studio.told import ALTERNATIVES, first_prompt

FIRST_TOKENS = 60
"""Of the text that is looked into where nobody gave one: the model's own."""


@dataclass(frozen=True)
class Looked:
    """A place of a text, and what the model did there."""

    ids: tuple[int, ...]
    """the whole text"""
    place: int
    """of the token that is looked at"""
    span: Span
    """what was read"""
    trace: Trace
    next: list[Choice]
    """what is likeliest to come after the token"""
    came: Choice | None
    """what did; None at the end of the text"""
    lens: list[LensRow]
    effects: list[Effect]
    """what switching heads off changed; empty where none is"""

    @property
    def position(self) -> int:
        """Of the token in the trace."""
        return self.place - self.span.start


def text_ids(run: Run, text: str) -> list[int]:
    """The tokens of a text, at least one; what the model does not know is left out."""
    found: list[int] = encode_prompt(run.tokenizer, text, "skip").tolist()
    return found


def first_text(run: Run) -> str:
    """A text to begin with: what the model writes itself."""
    return run.generate(first_prompt(run.tokenizer), config=SampleConfig(tokens=FIRST_TOKENS))


def look_at(
    run: Run, ids: Sequence[int], place: int, off: tuple[Head, ...] = (), before: Looked | None = None
) -> Looked:
    """Look at the token at a place. The trace of `before` is used again where it holds what is needed."""
    model, tokenizer = run.model, run.tokenizer
    span = read_span(len(ids), place, model.config.block_size, min(MOST_READ, longest(model)))
    found = None if before is None else before.trace
    if before is None or found is None or (before.ids, before.span, found.off) != (tuple(ids), span, off):
        found = trace(model, ids[span.start : span.end], off)
    position = place - span.start
    logits = found.logits[position]
    return Looked(
        ids=tuple(ids),
        place=place,
        span=span,
        trace=found,
        next=alternatives(logits, tokenizer, ALTERNATIVES),
        came=choice_of(logits, tokenizer, ids[place + 1]) if place + 1 < len(ids) else None,
        lens=lens_rows(lens_at(model, found, position), tokenizer),
        effects=effect_of(model, found.ids, off, position, ALTERNATIVES) if off else [],
    )
