"""What a model predicts at each token of a text: its probability and the likeliest alternatives.

Probabilities are the model's own, before temperature and filters. Shapes: T time, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nanogpt.config import SampleConfig
from nanogpt.errors import counted
from nanogpt.explain.predictions import Choice, alternatives, choice
from nanogpt.model.gpt import GPT
from nanogpt.runs.run import Run
from nanogpt.sampling.generate import Batch, window_start
from nanogpt.studio.labels import Bar, percent
from nanogpt.text.tokenizer import Tokenizer

ALTERNATIVES = 10
PROMPTS = ("The ", "the ")


@torch.no_grad()
def generate_logits(
    model: GPT, ids: Sequence[int], config: SampleConfig, end: int | None = None
) -> Iterator[tuple[int, Tensor]]:
    """Continue ids (T,), T at least 1, up to the token `end`: yield each token and its logits (V,)."""
    batch = Batch(model.eval(), 1)
    batch.join(torch.tensor(ids), config)
    for _ in range(config.tokens):
        token = batch.step()[0]
        if token == end:
            return
        yield token, batch.logits[0].float().cpu()


@torch.no_grad()
def text_logits(model: GPT, ids: Sequence[int], first: int = 1) -> Iterator[tuple[int, Tensor]]:
    """Yield each position of ids (T,) from `first` on, at least 1, and the logits (V,) that predict its token.

    Context windows are those of generation, each read once.
    """
    device, block_size = model.token_embedding.weight.device, model.config.block_size
    position = max(first, 1)
    while position < len(ids):
        start = window_start(position, block_size)
        end = position + 1
        while end < len(ids) and window_start(end, block_size) == start:
            end += 1
        idx = torch.tensor([list(ids[start : end - 1])], device=device)  # (1, end - 1 - start)
        logits = model.eval()(idx)[0, position - 1 - start :].float().cpu()  # (end - position, V)
        yield from enumerate(logits, position)
        position = end


@dataclass(frozen=True)
class Prediction:
    """A token of a text with its probability, and the likeliest tokens at its position."""

    choice: Choice
    alternatives: list[Choice]

    def bars(self) -> list[Bar]:
        """Return the likeliest tokens as bars, with the token of the text marked."""
        return bars_of(self.alternatives, self.choice.token)


def bars_of(choices: Sequence[Choice], marked: int | None) -> list[Bar]:
    """Return tokens and their probabilities as bars."""
    return [Bar(one.text, one.probability, percent(one.probability), one.token == marked) for one in choices]


def predict_text(run: Run, ids: Sequence[int], first: int = 1) -> Iterator[Prediction]:
    """Yield the prediction of each token of ids (T,) from position `first` on, at least 1."""
    for position, logits in text_logits(run.model, ids, first):
        yield _prediction(logits, run.tokenizer, ids[position])


def generate_predictions(run: Run, ids: Sequence[int], config: SampleConfig) -> Iterator[Prediction]:
    """Yield the prediction of each token that follows ids (T,), T at least 1, as it is sampled."""
    for token, logits in generate_logits(run.model, ids, config, run.tokenizer.end_of_document):
        yield _prediction(logits, run.tokenizer, token)


def _prediction(logits: Tensor, tokenizer: Tokenizer, token: int) -> Prediction:
    return Prediction(choice(logits, tokenizer, token), alternatives(logits, tokenizer, ALTERNATIVES))


def token_texts(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """Return what each token adds to the text; empty while a character is incomplete."""
    decoder = tokenizer.decoder()
    return [decoder.feed(token) for token in ids]


def default_prompt(tokenizer: Tokenizer) -> str:
    """Return a prompt whose characters the model knows."""
    return next((one for one in PROMPTS if not unknown_characters(tokenizer, one)), "")


def unknown_characters(tokenizer: Tokenizer, text: str) -> list[str]:
    """Return the characters of a text that the model never saw, each once, by code point."""
    return [one for one in sorted(set(text)) if not len(tokenizer.encode(one, "skip"))]


def unknown_warning(tokenizer: Tokenizer, text: str) -> str:
    """Return a sentence that names the characters the model never saw; empty if there are none."""
    unknown = unknown_characters(tokenizer, text)
    if not unknown:
        return ""
    names = " ".join(f"“{one}”" if one.isprintable() else f"‹U+{ord(one):04X}›" for one in unknown[:10])
    more = f" and {len(unknown) - 10} more" if unknown[10:] else ""
    return f"The model never saw {names}{more}: left out."


def describe_model(run: Run) -> str:
    """Return two sentences about a model: size, preset, steps, tokenizer, context length."""
    config, tokenizer = run.config.model, run.tokenizer
    kinds = {"char": "characters", "byte": "bytes", "bpe": "byte pairs (BPE)"}
    size = f"{counted(config.n_layer, 'layer')} of {counted(config.n_head, 'head')}"
    return (
        f"{run.model.parameter_count:,} parameters, {size}, preset {run.config.preset}, after "
        f"{counted(run.step, 'step')}. It reads {kinds.get(tokenizer.kind, 'tokens')}, "
        f"{tokenizer.vocab_size:,} different ones, up to {config.block_size:,} at a time."
    )
