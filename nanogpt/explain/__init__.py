"""A look inside a model: what it attends to, what it would say at each layer, what each part is good for.

    from nanogpt.explain import look
    found = look(nanogpt.load(), "Once upon a time")
    found.attention, found.stream, found.logits

runs            a run and a text in, a trace out
trace           attention, residual stream and logits of one pass
lens            what each layer would say next (the logit lens)
alternatives    how likely each token was, and what was likelier
visible         a token's text as a person can see it
stream          how large the residual stream becomes
embeddings      tokens and positions on a plane
heads           what changes without a head
passes          how a model is read from outside, and left as it was
"""

from nanogpt.explain.alternatives import Choice, alternatives, choice, score
from nanogpt.explain.embeddings import Plane, position_map, position_plane, token_map, token_plane
from nanogpt.explain.heads import Effect, effect_of, importance
from nanogpt.explain.lens import lens, lens_at
from nanogpt.explain.passes import Head, switched_off
from nanogpt.explain.runs import look
from nanogpt.explain.stream import growth, updates
from nanogpt.explain.trace import Trace, longest, trace, writes
from nanogpt.explain.visible import visible

__all__ = [
    "Choice",
    "Effect",
    "Head",
    "Plane",
    "Trace",
    "alternatives",
    "choice",
    "effect_of",
    "growth",
    "importance",
    "lens",
    "lens_at",
    "longest",
    "look",
    "position_map",
    "position_plane",
    "score",
    "switched_off",
    "token_map",
    "token_plane",
    "trace",
    "updates",
    "visible",
    "writes",
]
