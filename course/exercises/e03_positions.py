"""Exercises of section 3: sinusoids, embeddings with positions, and a mean that ignores the order."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course.exercises.attention import split_matrices
from course.exercises.base import Check, Exercise, Outcome, prediction_exercise
from course.exercises.shared_checks import (
    build,
    changed_positions,
    largest_difference,
    module_fault,
    named_matrices,
    nearly_equal,
    parameter_count,
    shape_fault,
    unused_parameter_fault,
    value_fault,
)
from course.s02_averaging import mean_by_softmax
from course.s03_positions import LearnedPositions

T, C = 7, 6
B, V, BLOCK, WIDTH = 2, 11, 13, 5

Table = Callable[[int, int], Tensor]
Embedding = Callable[[int, int, int], nn.Module]


def _sinusoids_shape(sinusoids: Table) -> str | None:
    for sizes in ({"T": T, "C": C}, {"T": 3, "C": 10}):
        if fault := shape_fault(sinusoids(*sizes.values()), "T C", sizes):
            return f"For length {sizes['T']} and {sizes['C']} channels: {fault}"
    return None


def _waves(positions: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    angles = positions[:, None] * frequencies  # (T, C / 2)
    return angles.sin(), angles.cos()


def _interleaved(first: Tensor, second: Tensor) -> Tensor:
    """Interleave the columns of two tables: (T, C / 2) twice -> (T, C)."""
    return torch.stack([first, second], dim=-1).flatten(1)


def _sinusoids_value(sinusoids: Table) -> str | None:
    positions, pairs = torch.arange(T), torch.arange(C // 2)
    frequencies = 10_000.0 ** (-2 * pairs / C)
    sin, cos = _waves(positions, frequencies)
    channels = 10_000.0 ** (-torch.arange(C) / C)
    mistakes = {
        "All sines come first, then all cosines: interleave them, sin, cos, sin, cos.": torch.cat([sin, cos], 1),
        "The cosine comes before the sine: channel 0 is a sine.": _interleaved(cos, sin),
        "Every channel is a sine: odd channels are cosines.": _interleaved(sin, sin),
        "The exponent is i / C: it is 2i / C, for pair i.": _interleaved(*_waves(positions, 10_000.0 ** (-pairs / C))),
        "Each channel has its own frequency: a sine and the cosine after it share one.": _interleaved(
            _waves(positions, channels[0::2])[0], _waves(positions, channels[1::2])[1]
        ),
        "The positions count from 1: the first is 0.": _interleaved(*_waves(positions + 1, frequencies)),
        "The position is multiplied by 10000^(2i/C): divide by it, so that the waves become longer.": _interleaved(
            *_waves(positions, 1 / frequencies)
        ),
    }
    return value_fault(sinusoids(T, C).detach(), _interleaved(sin, cos), mistakes)


def _token_ids(length: int = T) -> Tensor:
    return torch.randint(V, (B, length))


def _embedding_shape(embedding: Embedding) -> str | None:
    return shape_fault(build(embedding, V, BLOCK, WIDTH)(_token_ids()), "B T C", {"B": B, "T": T, "C": WIDTH})


def _embedding_parameters(embedding: Embedding) -> str | None:
    count = parameter_count(embedding(V, BLOCK, WIDTH))
    if count == (V + BLOCK) * WIDTH:
        return None
    known = {
        V: "It learns only the vectors of the tokens: the positions need a table too, an `nn.Embedding` or an "
        "`nn.Parameter`. A plain tensor or a buffer is not trained.",
        BLOCK: "It learns only the vectors of the positions: the tokens need a table too.",
        2 * V: "The position table has a row per token: it needs one per position, block_size of them.",
        2 * BLOCK: "The token table has a row per position: it needs one per token, vocab_size of them.",
    }
    return known.get(
        count // WIDTH if count % WIDTH == 0 else -1,
        f"It has {count} parameters: {V} tokens and {BLOCK} positions with {WIDTH} channels each have "
        f"{(V + BLOCK) * WIDTH}.",
    )


def _embedding_positions(embedding: Embedding) -> str | None:
    one, x = build(embedding, V, BLOCK, WIDTH), torch.full((1, T), 3)
    out = one(x)[0].detach()
    if not nearly_equal(out[0], out[1]):
        return None
    return (
        "The same token gives the same vector at positions 0 and 1. Is the position table added, and looked up by "
        "position (torch.arange(T)) and not by token?"
    )


def _embedding_alone(embedding: Embedding) -> str | None:
    one, x = build(embedding, V, BLOCK, WIDTH), torch.randint(V, (1, T))
    moved = changed_positions(one, x, 2)
    if moved == [2]:
        return None
    if not moved:
        return "Position 2 got another token, and its vector did not change: is the token table used?"
    return (
        f"The token at position 2 changed, and so did the vectors at {', '.join(map(str, moved))}: only its own should."
    )


def _embedding_value(embedding: Embedding) -> str | None:
    one, idx = build(embedding, V, BLOCK, WIDTH), _token_ids()
    out = one(idx).detach()
    tables = named_matrices(one).values()
    tokens = [matrix for p in tables for matrix in split_matrices(p, V, WIDTH)]
    positions = [matrix for p in tables for matrix in split_matrices(p, BLOCK, WIDTH)]
    if not tokens or not positions:
        return f"Its two tables should have the shapes ({V}, {WIDTH}) for tokens and ({BLOCK}, {WIDTH}) for positions."
    for token, rows in itertools.product(tokens, positions):
        x = token[idx]
        right = x + rows[:T]
        mistakes = {
            "The positions come from the end of the table: the first position has row 0.": x + rows[-T:],
            "The positions count from 1: the first has row 0.": x + rows[1 : T + 1],
            "The positions run backwards: the first has row 0.": x + rows[:T].flip(0),
            "Token and position are multiplied: add them.": x * rows[:T],
            "The position is subtracted: add it.": x - rows[:T],
            "The position is looked up by token: look it up by position, 0 to T - 1.": x + rows[idx],
            "Each sequence has a single position vector: positions run along dimension 1.": x + rows[:B, None],
            "The sum is multiplied by √C, as in the paper: here the two are just added.": right * WIDTH**0.5,
            "The tokens are multiplied by √C, as in the paper: here the two are just added.": x * WIDTH**0.5 + rows[:T],
        }
        fault = value_fault(out, right, mistakes)
        if fault is None or fault in mistakes:
            return fault
    return largest_difference(out, right)


def _embedding_limit(embedding: Embedding) -> str | None:
    one = build(embedding, V, BLOCK, WIDTH)
    one(_token_ids(BLOCK))
    try:
        one(_token_ids(BLOCK + 1))
    except (ValueError, IndexError, RuntimeError, AssertionError):
        return None
    return (
        f"With positions for {BLOCK} tokens it accepted {BLOCK + 1}: a position past the block has no vector, and "
        "should raise an error."
    )


def _embedding_uses_all(embedding: Embedding) -> str | None:
    return unused_parameter_fault(build(embedding, V, BLOCK, WIDTH), _token_ids())


def _swapped_past() -> Outcome:
    torch.manual_seed(0)
    tokens, positions = nn.Embedding(26, 32), LearnedPositions(6, 32)(6)
    with torch.no_grad():
        before, after = (
            mean_by_softmax(tokens(torch.tensor([[ord(c) - ord("a") for c in word]])) + positions)[0, -1]
            for word in ("dogman", "mogdan")
        )
    change = (before - after).abs().max().item()
    return Outcome(
        "the same" if change < 1e-5 else "different",
        f"For 'dogman' and 'mogdan' the last position differs by {change:.0e}, which is rounding: the mean of the sums "
        "is the sum of the means, and the mean of the positions does not depend on the order of the tokens.",
    )


EXERCISES = (
    Exercise(
        name="sinusoids",
        task="Write the paper's table of positions: position t, from 0, has in channel 2i the sine and in channel "
        "2i + 1 the cosine of t / 10000^(2i/C).",
        heading="Two kinds of position vectors",
        checks=(Check("the shape", _sinusoids_shape), Check("the waves", _sinusoids_value)),
    ),
    Exercise(
        name="PositionedEmbedding",
        task="Turn token ids into vectors with positions: one learned vector per token of the vocabulary, one per "
        "position of the block, and their sum. A sequence may be shorter than the block.",
        heading="Two kinds of position vectors",
        checks=(
            Check("a module", lambda embedding: module_fault(embedding, V, BLOCK, WIDTH)),
            Check("the shape", _embedding_shape),
            Check("two tables to learn", _embedding_parameters),
            Check("the same token differs by position", _embedding_positions),
            Check("a token affects its own position only", _embedding_alone),
            Check("the sum", _embedding_value),
            Check("the block is a limit", _embedding_limit),
            Check("both tables learn", _embedding_uses_all),
        ),
    ),
    prediction_exercise(
        name="LAST_POSITION_AFTER_A_SWAP",
        task="Positions are added to the tokens, and then every position gets the plain mean of its past. Two tokens "
        "of the past are swapped. The mean at the last position is then...",
        heading="Without positions the past is a set",
        choices=("the same", "different"),
        experiment=_swapped_past,
    ),
)
