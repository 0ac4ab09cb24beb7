"""A run and a text in, a trace out."""

from collections.abc import Collection
from dataclasses import replace

from nanogpt.explain.passes import Head
from nanogpt.explain.trace import Trace, longest, trace
from nanogpt.runs.run import Run, Unknown
from nanogpt.sampling.text import encode_prompt


def look(run: Run, text: str, off: Collection[Head] = (), unknown: Unknown = "error") -> Trace:
    """What a run's model computes on a text: on its newest tokens, as many as a trace can hold (`longest`).

    That is block_size, but for large models. How many tokens were left out is the trace's `skipped`. An empty text is a
    newline, as in generation. The heads in `off`, (layer, head), are switched off. Raises UserError for a character
    that the model never saw, unless it is skipped, and as `trace`.

    >>> from nanogpt.explain import look
    >>> run = nanogpt.load(folder)
    >>> found = look(run, "the cat sat on the mat")
    >>> found.attention.shape, found.skipped, run.tokenizer.decode(found.ids)
    (torch.Size([2, 2, 16, 16]), 6, 't sat on the mat')
    >>> bool((look(run, "the cat", off=[(1, 0)]).logits == look(run, "the cat").logits).all())
    False
    """
    ids = encode_prompt(run.tokenizer, text, unknown).tolist()
    kept = ids[-longest(run.model) :]
    return replace(trace(run.model, kept, off), skipped=len(ids) - len(kept))
