"""What a model thought at each place of a text, and words for it. No page is needed for any of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nanogpt.config import SampleConfig
from nanogpt.explain import Choice, alternatives, choice
from nanogpt.runs.run import Run
from nanogpt.studio.writing import read, write
from nanogpt.text.tokenizer import Tokenizer

ALTERNATIVES = 10
BEGINNINGS = ("The ", "the ")


@dataclass(frozen=True)
class Told:
    """A token of a text: how likely it was, and the likeliest tokens at its place."""

    choice: Choice
    others: list[Choice]


def read_told(run: Run, ids: Sequence[int], first: int = 1) -> Iterator[Told]:
    """Each token of ids (T,) from the place `first` on, which is at least 1."""
    for place, logits in read(run.model, ids, first):
        yield Told(choice(logits, run.tokenizer, ids[place]), alternatives(logits, run.tokenizer, ALTERNATIVES))


def write_told(run: Run, ids: Sequence[int], config: SampleConfig) -> Iterator[Told]:
    """Each token that follows ids (T,), T at least 1, as it is drawn."""
    for token, logits in write(run.model, ids, config, run.tokenizer.end_of_document):
        yield Told(choice(logits, run.tokenizer, token), alternatives(logits, run.tokenizer, ALTERNATIVES))


def first_prompt(tokenizer: Tokenizer) -> str:
    """A beginning whose characters the model knows."""
    return next((one for one in BEGINNINGS if not unknown_in(tokenizer, one)), "")


def unknown_in(tokenizer: Tokenizer, text: str) -> list[str]:
    """The characters of a text that the model never saw, each once, in the order of their code points."""
    return [one for one in sorted(set(text)) if not len(tokenizer.encode(one, "skip"))]


def unknown_told(tokenizer: Tokenizer, text: str) -> str:
    """A line about characters that the model never saw; empty where there are none."""
    unknown = unknown_in(tokenizer, text)
    if not unknown:
        return ""
    names = " ".join(f"“{one}”" if one.isprintable() else f"‹U+{ord(one):04X}›" for one in unknown[:10])
    return f"The model never saw {names}{f' and {len(unknown) - 10} more' if unknown[10:] else ''}: left out."


def about(run: Run) -> str:
    """A sentence or two about a model."""
    config, tokenizer = run.config.model, run.tokenizer
    kinds = {"char": "characters", "byte": "bytes", "bpe": "byte pairs (BPE)"}
    return (
        f"{run.model.parameter_count:,} parameters, {config.n_layer} layers of {config.n_head} heads, preset "
        f"{run.config.preset}, after {run.step:,} steps. It reads {kinds.get(tokenizer.kind, 'tokens')}, "
        f"{tokenizer.vocab_size:,} different ones, up to {config.block_size:,} at a time."
    )
