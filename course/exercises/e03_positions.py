"""Exercises of section 3: the table of waves, tokens with their positions, and a mean that does not notice."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course.exercises.attention import pieces_of
from course.exercises.base import Check, Effect, Exercise, break_it
from course.exercises.probe import (
    close,
    compare,
    count_of,
    difference,
    made,
    matrices_in,
    module_fault,
    moved_positions,
    shape_fault,
    unused_fault,
)
from course.s02_averaging import mean_by_softmax
from course.s03_positions import LearnedPositions

T, C = 7, 6
B, V, BLOCK, WIDTH = 2, 11, 13, 5

Table = Callable[[int, int], Tensor]
Embedding = Callable[[int, int, int], nn.Module]


def sinusoids_shape(sinusoids: Table) -> str | None:
    for sizes in ({"T": T, "C": C}, {"T": 3, "C": 10}):
        if fault := shape_fault(sinusoids(*sizes.values()), "T C", sizes):
            return f"For length {sizes['T']} and {sizes['C']} channels: {fault}"
    return None


def waves(places: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    angles = places[:, None] * frequencies  # (T, C / 2)
    return angles.sin(), angles.cos()


def in_turn(first: Tensor, second: Tensor) -> Tensor:
    """(T, C / 2) twice -> (T, C)."""
    return torch.stack([first, second], dim=-1).flatten(1)


def sinusoids_value(sinusoids: Table) -> str | None:
    places, pairs = torch.arange(T), torch.arange(C // 2)
    frequencies = 10_000.0 ** (-2 * pairs / C)
    sin, cos = waves(places, frequencies)
    channels = 10_000.0 ** (-torch.arange(C) / C)
    mistakes = {
        "All sines stand first and then all cosines: they take turns, sin, cos, sin, cos.": torch.cat([sin, cos], 1),
        "The cosine stands before the sine: channel 0 is a sine.": in_turn(cos, sin),
        "Every channel is a sine: those of odd number are cosines.": in_turn(sin, sin),
        "The exponent is i / C: it is 2i / C, for pair i.": in_turn(*waves(places, 10_000.0 ** (-pairs / C))),
        "Each channel has a frequency of its own: a sine and the cosine after it share one.": in_turn(
            waves(places, channels[0::2])[0], waves(places, channels[1::2])[1]
        ),
        "The places count from 1: the first is 0.": in_turn(*waves(places + 1, frequencies)),
        "The place is multiplied by 10000^(2i/C): divide by it, so that the waves become longer.": in_turn(
            *waves(places, 1 / frequencies)
        ),
    }
    return compare(sinusoids(T, C).detach(), in_turn(sin, cos), mistakes, ("place", "channel"))


def embedding_module(embedding: type[nn.Module]) -> str | None:
    return module_fault(embedding, V, BLOCK, WIDTH)


def token_ids(length: int = T) -> Tensor:
    return torch.randint(V, (B, length))


def embedding_shape(embedding: Embedding) -> str | None:
    return shape_fault(made(embedding, V, BLOCK, WIDTH)(token_ids()), "B T C", {"B": B, "T": T, "C": WIDTH})


def embedding_parameters(embedding: Embedding) -> str | None:
    count = count_of(embedding(V, BLOCK, WIDTH))
    if count == (V + BLOCK) * WIDTH:
        return None
    known = {
        V
        * WIDTH: "It learns the vectors of the tokens alone: the positions' need a table too, an `nn.Embedding` or an "
        "`nn.Parameter`. A plain tensor or a buffer is not trained.",
        BLOCK * WIDTH: "It learns the vectors of the positions alone: the tokens need a table too.",
        2
        * V
        * WIDTH: "The table of positions has a row for each token: it needs one for each place, block_size of them.",
        2
        * BLOCK
        * WIDTH: "The table of tokens has a row for each place: it needs one for each token, vocab_size of them.",
    }
    return known.get(
        count,
        f"It has {count} numbers to learn: {V} tokens and {BLOCK} places with {WIDTH} channels each have "
        f"{(V + BLOCK) * WIDTH}.",
    )


def embedding_place(embedding: Embedding) -> str | None:
    one, x = made(embedding, V, BLOCK, WIDTH), torch.full((1, T), 3)
    out = one(x)[0].detach()
    if not close(out[0], out[1]):
        return None
    return (
        "The same token gives the same vector at position 0 and at position 1. Is the table of positions added, and "
        "looked up by place (torch.arange(T)) and not by token?"
    )


def embedding_alone(embedding: Embedding) -> str | None:
    one, x = made(embedding, V, BLOCK, WIDTH), torch.randint(V, (1, T))
    moved = moved_positions(one, x, 2)
    if moved == [2]:
        return None
    if not moved:
        return "Position 2 got another token, and its vector stayed: is the table of tokens looked up?"
    return (
        f"The token at position 2 changed, and the vectors at {', '.join(map(str, moved))} moved: only its own should."
    )


def embedding_value(embedding: Embedding) -> str | None:
    one, idx = made(embedding, V, BLOCK, WIDTH), token_ids()
    out = one(idx).detach()
    tables = matrices_in(one).values()
    tokens = [piece for p in tables for piece in pieces_of(p, V, WIDTH)]
    places = [piece for p in tables for piece in pieces_of(p, BLOCK, WIDTH)]
    if not tokens or not places:
        return f"Its two tables should have the shapes ({V}, {WIDTH}) for tokens and ({BLOCK}, {WIDTH}) for places."
    for token, place in itertools.product(tokens, places):
        right = token[idx] + place[:T]
        mistakes = {
            "The positions are taken from the end of their table: the first position has row 0.": token[idx]
            + place[-T:],
            "The positions count from 1: the first has row 0.": token[idx] + place[1 : T + 1],
            "The positions run backwards: the first has row 0.": token[idx] + place[:T].flip(0),
            "Token and position are multiplied: add them.": token[idx] * place[:T],
            "The position is subtracted: add it.": token[idx] - place[:T],
            "The position is looked up by token: look it up by place, 0 to T - 1.": token[idx] + place[idx],
            "Each piece of the batch has the vector of one place: the places run along dimension 1.": token[idx]
            + place[:B, None],
            "The sum is multiplied by a number, as the paper does by √C: here the two are just added.": right
            * WIDTH**0.5,
            "The tokens are multiplied by √C, as in the paper: here the two are just added.": token[idx] * WIDTH**0.5
            + place[:T],
        }
        fault = compare(out, right, mistakes)
        if fault is None or fault in mistakes:
            return fault
    return difference(out, right)


def embedding_limit(embedding: Embedding) -> str | None:
    one = made(embedding, V, BLOCK, WIDTH)
    one(token_ids(BLOCK))
    try:
        one(token_ids(BLOCK + 1))
    except (ValueError, IndexError, RuntimeError, AssertionError):
        return None
    return (
        f"With positions for {BLOCK} tokens it took {BLOCK + 1} and said nothing: what is past the block has no "
        "vector, and should be an error."
    )


def embedding_uses_all(embedding: Embedding) -> str | None:
    return unused_fault(made(embedding, V, BLOCK, WIDTH), token_ids())


def swapped_past() -> Effect:
    torch.manual_seed(0)
    tokens, places = nn.Embedding(26, 32), LearnedPositions(6, 32)(6)
    with torch.no_grad():
        before, after = (
            mean_by_softmax(tokens(torch.tensor([[ord(c) - ord("a") for c in word]])) + places)[0, -1]
            for word in ("dogman", "mogdan")
        )
    change = (before - after).abs().max().item()
    return Effect(
        "the same" if change < 1e-5 else "another",
        f"After 'dogman' and 'mogdan' the last place differs by {change:.0e}, which is rounding: the mean of the sums "
        "is the sum of the means, and the mean of the positions is the same whichever token stood where.",
    )


EXERCISES = (
    Exercise(
        name="sinusoids",
        task="Write the paper's table of positions: place t, from 0, has in channel 2i the sine and in channel 2i + 1 "
        "the cosine of t / 10000^(2i/C).",
        look="Two kinds of position vectors",
        stub='''
def sinusoids(length: int, n_embd: int) -> Tensor:
    """The waves of places 0 to T - 1: (T, C)."""
    raise NotImplementedError
''',
        checks=(Check("the shape", sinusoids_shape), Check("the waves", sinusoids_value)),
    ),
    Exercise(
        name="PositionedEmbedding",
        task="Turn token ids into vectors that know their place: one learned vector for each token of the vocabulary, "
        "one for each place of the block, and their sum. A piece may be shorter than the block.",
        look="Two kinds of position vectors",
        stub='''
class PositionedEmbedding(nn.Module):
    """Token ids to vectors of token and place: (B, T) -> (B, T, C)."""

    def __init__(self, vocab_size: int, block_size: int, n_embd: int) -> None:
        super().__init__()
        raise NotImplementedError

    def forward(self, idx: Tensor) -> Tensor:
        raise NotImplementedError
''',
        checks=(
            Check("a module", embedding_module),
            Check("the shape", embedding_shape),
            Check("two tables to learn", embedding_parameters),
            Check("the same token differs by place", embedding_place),
            Check("a token moves its own place alone", embedding_alone),
            Check("the sum", embedding_value),
            Check("the block is a limit", embedding_limit),
            Check("both tables learn", embedding_uses_all),
        ),
    ),
    break_it(
        name="LAST_PLACE_AFTER_A_SWAP",
        task="Positions are added to the tokens, and then every place hears the plain mean of its past. Two tokens of "
        "the past change places. What the last place hears is then...",
        look="Without positions the past is a set",
        choices=("the same", "another"),
        experiment=swapped_past,
    ),
)
