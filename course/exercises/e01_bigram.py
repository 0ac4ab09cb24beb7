"""Exercises of section 1: batches, the loss, and a table that is sure of nonsense."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course.exercises.base import Check, Effect, Exercise, break_it
from course.exercises.probe import close, compare, gradient_fault, is_scalar, shape_fault

B, T, V = 5, 7, 3

Batches = Callable[[Tensor, int, int, torch.Generator], Any]
Loss = Callable[[Tensor, Tensor], Any]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# get_batch: the text is 0, 1, 2, ..., so that each token tells its place


def batch_shapes(get_batch: Batches) -> str | None:
    pair = get_batch(torch.arange(10_007), B, T, generator())
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        return "It should return two tensors, `inputs, targets`."
    for name, one in zip(("inputs", "targets"), pair):
        if fault := shape_fault(one, "B T", {"B": B, "T": T}):
            return f"`{name}`: {fault}"
    return None


def batch_pieces(get_batch: Batches) -> str | None:
    inputs, _ = get_batch(torch.arange(10_007), B, T, generator())
    for b, piece in enumerate(inputs.tolist()):
        if piece != list(range(piece[0], piece[0] + T)):
            return (
                f"Piece {b} holds the tokens from places {', '.join(map(str, piece))}: a piece is {T} tokens that "
                "stand one after the other in the text."
            )
    return None


def batch_shift(get_batch: Batches) -> str | None:
    inputs, targets = get_batch(torch.arange(10_007), B, T, generator())
    steps = set((targets - inputs).flatten().tolist())
    if steps == {1}:
        return None
    if steps == {0}:
        return (
            "The targets are the inputs themselves, so there is nothing to predict. Shift them: one token further on."
        )
    if len(steps) == 1:
        (step,) = steps
        side = "further on than" if step > 0 else "before"
        return f"Each target stands {abs(step)} {side} its input. It should be the very next token."
    b, t = ((targets - inputs) != 1).nonzero()[0].tolist()
    return (
        f"In piece {b}, the input at position {t} is from place {inputs[b, t]} of the text and its target from place "
        f"{targets[b, t]}: at each position the target is the next token, place {inputs[b, t] + 1}."
    )


def batch_end(get_batch: Batches) -> str | None:
    length = T + 3  # three places to start at
    advice = (
        f"In a text of {length} tokens, a piece of {T} and its target fit at the places 0, 1 and 2 only: draw each "
        "start below len(data) - block_size."
    )
    try:
        inputs, targets = get_batch(torch.arange(length), 200, T, generator())
    except (IndexError, RuntimeError) as error:
        return f"A piece ran past the end of the text ({error}). {advice}"
    if not torch.equal(targets, inputs + 1):
        return f"A piece ran past the end of the text and went on elsewhere. {advice}"
    return None


def batch_places(get_batch: Batches) -> str | None:
    inputs, _ = get_batch(torch.arange(T + 3), 200, T, generator())
    missing = {0, 1, 2} - set(inputs[:, 0].tolist())
    if not missing:
        return None
    return (
        f"In a text of {T + 3} tokens, a piece of {T} and its target may start at 0, 1 or 2, and in 200 draws none "
        f"started at {min(missing)}. `torch.randint(n, ...)` already leaves out n itself."
    )


def batch_draws(get_batch: Batches) -> str | None:
    first, again, other = (get_batch(torch.arange(10_007), B, T, generator(seed))[0] for seed in (0, 0, 1))
    if (first == first[0]).all():
        return f"All pieces of the batch are the same one: draw {B} starts, one for each piece."
    if not torch.equal(first, again):
        return "Two generators with the same seed gave different batches: hand `generator=generator` to what draws."
    if torch.equal(first, other):
        return "Generators with different seeds gave the same batch: draw the starts at random, from `generator`."
    return None


# cross_entropy


def example() -> tuple[Tensor, Tensor]:
    return torch.randn(B, T, V, generator=generator()), torch.randint(V, (B, T), generator=generator(1))


def loss_shape(cross_entropy: Loss) -> str | None:
    out = cross_entropy(*example())
    if out is None:
        return "It returned nothing. End it with `return` and the loss."
    if isinstance(out, Tensor) and tuple(out.shape) == (B, T):
        return "It gives one loss for each position: the loss is their mean, a single number."
    if not is_scalar(out):
        given = f"the shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
        return f"It gives {given}: a tensor of no dimensions, a single number, belongs there."
    return None


def loss_value(cross_entropy: Loss) -> str | None:
    logits, targets = example()
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    chosen = F.one_hot(targets, V).bool()

    def of(log_probabilities: Tensor) -> Tensor:
        return -log_probabilities[chosen].mean()

    mistakes = {
        "It is the sum over all positions: divide it by their number, or take the mean.": loss * B * T,
        f"It is divided by {V} times too much: take the mean over the {B * T} targets, not over all logits.": loss / V,
        "The sign is the other way round: the loss is minus the logarithm.": -loss,
        "It counts in bits: take the natural logarithm, `log()`.": loss / math.log(2),
        "It is the probability itself: the loss is minus its logarithm.": logits.softmax(-1)[chosen].mean(),
        "It is the sum over the positions of a piece: take the mean over these too.": loss * T,
        "It takes the logits for log-probabilities: the softmax is missing.": of(logits),
        "The softmax runs over the positions: it must run over the vocabulary, the last dimension.": of(
            logits.log_softmax(dim=1)
        ),
        "The softmax runs over the pieces: it must run over the vocabulary, the last dimension.": of(
            logits.log_softmax(dim=0)
        ),
        "The softmax runs over all pieces and positions at once: each position has its own, over the vocabulary.": of(
            logits - logits.logsumexp(dim=(0, 1, 2))
        ),
        "The mean is over all probabilities of each position: only that of the target counts.": -logits.log_softmax(
            -1
        ).mean(),
        "The softmax is taken twice: `F.cross_entropy` takes it itself, so give it the logits.": of(
            logits.softmax(-1).log_softmax(-1)
        ),
    }
    return compare(cross_entropy(logits, targets).detach(), loss, mistakes)


def loss_of_large_logits(cross_entropy: Loss) -> str | None:
    logits = torch.tensor([[[1000.0, 0.0, 0.0], [0.0, 0.0, -1000.0]]])
    targets = torch.tensor([[1, 2]])
    out, right = cross_entropy(logits, targets), F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    if close(out, right):
        return None
    if out.isfinite():
        return (
            f"For logits of 1000 and -1000 it gives {out.item():.2f}, and {right.item():.2f} is right: a small number "
            "added under the logarithm, or a clamp, hides how wrong the guess was. Subtract the largest logit first."
        )
    return (
        f"For logits of 1000 and -1000 it gives {out.item()}: e^1000 is more than a float can hold, and the logarithm "
        "of e^-1000 is -inf. `log_softmax` subtracts the largest logit first; do as it does."
    )


def loss_gradient(cross_entropy: Loss) -> str | None:
    logits, targets = example()
    return gradient_fault(lambda one: cross_entropy(one, targets), logits)


def sure_of_nonsense() -> Effect:
    table = 2 * torch.randn(10_000, 65, generator=generator())
    loss = F.cross_entropy(table, torch.randint(65, (10_000,), generator=generator(1))).item()
    return Effect(
        loss,
        f"Random logits of size 2 over 65 characters cost {loss:.2f} nats, where knowing nothing costs ln 65 = "
        f"{math.log(65):.2f}: being sure of nonsense costs more than knowing that one knows nothing. The mean of "
        "e^z is e^(size²/2), so the size enters squared; with only 65 characters it misses most of its rare large "
        "values, so that the loss lies a little below size²/2 more.",
    )


EXERCISES = (
    Exercise(
        name="get_batch",
        task="Write `get_batch`: pieces from random places of the text `data` (N,), as inputs (B, T) and targets "
        "(B, T). The target at each position is the token that follows. A piece may start wherever it and its last "
        "target fit.",
        look="What it may see, and what it is tested on",
        stub='''
def get_batch(data: Tensor, batch_size: int, block_size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pieces from random places of `data` (N,): inputs (B, T), and targets (B, T), one token further on."""
    raise NotImplementedError
''',
        checks=(
            Check("two tensors of the right shape", batch_shapes),
            Check("each piece stands so in the text", batch_pieces),
            Check("targets are the next tokens", batch_shift),
            Check("no piece runs past the end", batch_end),
            Check("every place can be drawn", batch_places),
            Check("the generator draws", batch_draws),
        ),
    ),
    Exercise(
        name="cross_entropy",
        task="Write the loss by hand: the mean, over all positions, of minus the logarithm of the probability that the "
        "model gave to the target. Try it without `F.cross_entropy`, for logits of any size (`log_softmax` bears large "
        "ones).",
        look="How wrong is a guess? Cross-entropy",
        stub='''
def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The loss of logits (B, T, V) for targets (B, T); a scalar."""
    raise NotImplementedError
''',
        checks=(
            Check("one number", loss_shape),
            Check("the right number", loss_value),
            Check("large logits", loss_of_large_logits),
            Check("gradients reach the logits", loss_gradient),
        ),
    ),
    break_it(
        name="LOSS_AT_SIZE_TWO",
        task="The table of section 1 starts with logits of size 0.02, and so with a loss of ln 65 = 4.17. Let it start "
        "with random logits of size 2. What is its first loss, in nats? Half a nat off is near enough.",
        look="How wrong is a guess? Cross-entropy",
        within=0.5,
        experiment=sure_of_nonsense,
    ),
)
