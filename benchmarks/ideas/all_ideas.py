"""Every idea by its name."""

from benchmarks.ideas import (
    activations,
    averaging,
    further_token,
    known_settings,
    logits,
    muon_variants,
    noise,
    pair_start,
    sequence_warmup,
    value_embeddings,
    windows,
)
from benchmarks.ideas.idea import Idea

ROOMS = (
    *(sequence_warmup, value_embeddings, averaging, logits, further_token, windows, pair_start),
    *(activations, muon_variants, noise, known_settings),
)
IDEAS: dict[str, Idea] = {idea.name: idea for room in ROOMS for idea in room.IDEAS}
