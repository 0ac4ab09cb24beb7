"""Exercises of section 1: batches, cross-entropy, and the first loss of a table with large weights."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from course.exercises.base import Check, Exercise, Outcome, prediction_exercise
from course.exercises.shared_checks import gradient_fault, nearly_equal, shape_fault, value_fault

B, T, V = 5, 7, 3

Batches = Callable[[Tensor, int, int, torch.Generator], Any]
Loss = Callable[[Tensor, Tensor], Any]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# get_batch: the text is 0, 1, 2, ..., so that each token is its own position


def _batch_shapes(get_batch: Batches) -> str | None:
    pair = get_batch(torch.arange(10_007), B, T, _generator())
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        return "It should return two tensors, `inputs, targets`."
    for name, one in zip(("inputs", "targets"), pair):
        if fault := shape_fault(one, "B T", {"B": B, "T": T}):
            return f"`{name}`: {fault}"
    return None


def _batch_sequences(get_batch: Batches) -> str | None:
    inputs, _ = get_batch(torch.arange(10_007), B, T, _generator())
    for b, sequence in enumerate(inputs.tolist()):
        if sequence != list(range(sequence[0], sequence[0] + T)):
            return (
                f"Sequence {b} has the tokens at positions {', '.join(map(str, sequence))} of the text: a sequence is "
                f"{T} consecutive tokens."
            )
    return None


def _batch_shift(get_batch: Batches) -> str | None:
    inputs, targets = get_batch(torch.arange(10_007), B, T, _generator())
    steps = set((targets - inputs).flatten().tolist())
    if steps == {1}:
        return None
    if steps == {0}:
        return "The targets are the inputs themselves, so there is nothing to predict: shift them by one token."
    if len(steps) == 1:
        (step,) = steps
        side = "after" if step > 0 else "before"
        return f"Each target is {abs(step)} {side} its input. It should be the very next token."
    b, t = ((targets - inputs) != 1).nonzero()[0].tolist()
    return (
        f"In sequence {b}, the input at position {t} is token {inputs[b, t]} of the text and its target is token "
        f"{targets[b, t]}: at each position the target is the next token, {inputs[b, t] + 1}."
    )


def _batch_end(get_batch: Batches) -> str | None:
    length = T + 3  # three possible starts
    advice = (
        f"In a text of {length} tokens, a sequence of {T} and its last target fit only at the starts 0, 1 and 2: draw "
        "each start below len(data) - block_size."
    )
    try:
        inputs, targets = get_batch(torch.arange(length), 200, T, _generator())
    except (IndexError, RuntimeError) as error:
        return f"A sequence ran past the end of the text ({error}). {advice}"
    if not torch.equal(targets, inputs + 1):
        return f"A sequence ran past the end of the text and wrapped around. {advice}"
    return None


def _batch_starts(get_batch: Batches) -> str | None:
    inputs, _ = get_batch(torch.arange(T + 3), 200, T, _generator())
    missing = {0, 1, 2} - set(inputs[:, 0].tolist())
    if not missing:
        return None
    return (
        f"In a text of {T + 3} tokens, a sequence of {T} may start at 0, 1 or 2, and in 200 draws none started at "
        f"{min(missing)}. `torch.randint(n, ...)` already excludes n itself."
    )


def _batch_draws(get_batch: Batches) -> str | None:
    first, again, other = (get_batch(torch.arange(10_007), B, T, _generator(seed))[0] for seed in (0, 0, 1))
    if (first == first[0]).all():
        return f"All sequences of the batch are the same: draw {B} starts, one for each sequence."
    if not torch.equal(first, again):
        return (
            "Two generators with the same seed gave different batches: pass `generator=generator` to `torch.randint`."
        )
    if torch.equal(first, other):
        return "Generators with different seeds gave the same batch: draw the starts at random, from `generator`."
    return None


# cross_entropy


def _example() -> tuple[Tensor, Tensor]:
    return torch.randn(B, T, V, generator=_generator()), torch.randint(V, (B, T), generator=_generator(1))


def _loss_shape(cross_entropy: Loss) -> str | None:
    out = cross_entropy(*_example())
    if out is None:
        return "It returned nothing. End it with `return` and the loss."
    if isinstance(out, Tensor) and tuple(out.shape) == (B, T):
        return "It gives one loss per position: the loss is their mean, a single number."
    if not isinstance(out, Tensor) or out.dim() != 0:
        given = f"the shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
        return f"It gives {given}: it should be a tensor without dimensions, a single number."
    return None


def _loss_value(cross_entropy: Loss) -> str | None:
    logits, targets = _example()
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    chosen = F.one_hot(targets, V).bool()

    over_vocabulary = "it must run over the vocabulary, the last dimension."

    def mean_of(log_probabilities: Tensor) -> Tensor:
        return -log_probabilities[chosen].mean()

    mistakes = {
        "It is the sum over all positions: take the mean.": loss * B * T,
        f"It is {V} times too small: take the mean over the {B * T} targets, not over all logits.": loss / V,
        "The sign is wrong: the loss is minus the logarithm.": -loss,
        "It is in bits: take the natural logarithm, `log()`.": loss / math.log(2),
        "It is the probability itself: the loss is minus its logarithm.": logits.softmax(-1)[chosen].mean(),
        "It is the sum over the positions of a sequence: take the mean over these too.": loss * T,
        "It uses the logits as log-probabilities: the softmax is missing.": mean_of(logits),
        f"The softmax runs over the positions: {over_vocabulary}": mean_of(logits.log_softmax(dim=1)),
        f"The softmax runs over the batch: {over_vocabulary}": mean_of(logits.log_softmax(dim=0)),
        f"The softmax runs over everything at once: {over_vocabulary}": mean_of(
            logits - logits.logsumexp(dim=(0, 1, 2))
        ),
        "The mean is over all log-probabilities: only that of the target counts.": -logits.log_softmax(-1).mean(),
        "The softmax is taken twice: `F.cross_entropy` takes it itself, so pass it the logits.": mean_of(
            logits.softmax(-1).log_softmax(-1)
        ),
    }
    return value_fault(cross_entropy(logits, targets).detach(), loss, mistakes)


def _loss_of_large_logits(cross_entropy: Loss) -> str | None:
    logits = torch.tensor([[[1000.0, 0.0, 0.0], [0.0, 0.0, -1000.0]]])
    targets = torch.tensor([[1, 2]])
    out, right = cross_entropy(logits, targets), F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    if nearly_equal(out, right):
        return None
    if out.isfinite():
        return (
            f"For logits of 1000 and -1000 it gives {out.item():.2f}; {right.item():.2f} is right: a small number "
            "added inside the logarithm, or a clamp, hides how wrong the guess was. Subtract the largest logit instead."
        )
    return (
        f"For logits of 1000 and -1000 it gives {out.item()}: e^1000 is more than a float can hold, and the logarithm "
        "of e^-1000 is -inf. Subtract the largest logit first, as `log_softmax` does."
    )


def _loss_gradient(cross_entropy: Loss) -> str | None:
    logits, targets = _example()
    return gradient_fault(lambda one: cross_entropy(one, targets), logits)


def _loss_of_large_weights() -> Outcome:
    table = 2 * torch.randn(10_000, 65, generator=_generator())
    loss = F.cross_entropy(table, torch.randint(65, (10_000,), generator=_generator(1))).item()
    return Outcome(
        loss,
        f"Random logits of size 2 over 65 characters cost {loss:.2f} nats; equal probabilities cost ln 65 = "
        f"{math.log(65):.2f}. Being sure of nonsense costs more than knowing nothing: the mean of e^z is e^(size²/2), "
        "so the excess is about size²/2. It is a little less, because 65 characters miss most of the rare large e^z.",
    )


EXERCISES = (
    Exercise(
        name="get_batch",
        task="Write `get_batch`: sequences from random positions of the text `data` (N,), as inputs (B, T) and targets "
        "(B, T). The target at each position is the token that follows. A sequence may start wherever it and its last "
        "target fit.",
        heading="What it may see, and what it is tested on",
        checks=(
            Check("two tensors of the right shape", _batch_shapes),
            Check("consecutive tokens", _batch_sequences),
            Check("targets are the next tokens", _batch_shift),
            Check("no sequence runs past the end", _batch_end),
            Check("every start can be drawn", _batch_starts),
            Check("the generator decides", _batch_draws),
        ),
    ),
    Exercise(
        name="cross_entropy",
        task="Write the loss by hand: the mean, over all positions, of minus the logarithm of the probability that the "
        "model gave to the target. Try it without `F.cross_entropy`, for logits of any size (`log_softmax` can take "
        "large ones).",
        heading="How wrong is a guess? Cross-entropy",
        checks=(
            Check("one number", _loss_shape),
            Check("the right number", _loss_value),
            Check("large logits", _loss_of_large_logits),
            Check("gradients reach the logits", _loss_gradient),
        ),
    ),
    prediction_exercise(
        name="LOSS_AT_SIZE_TWO",
        task="The table of section 1 starts with logits of size 0.02, and so with a loss of ln 65 = 4.17. Let it start "
        "with random logits of size 2. What is its first loss, in nats, to within 0.5?",
        heading="How wrong is a guess? Cross-entropy",
        within=0.5,
        experiment=_loss_of_large_weights,
    ),
)
