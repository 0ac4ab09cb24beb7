"""Exercises of section 2: the mean of the past, and weights that hide the future."""

from collections.abc import Callable

import torch
from torch import Tensor

from course.exercises.attention import MASK_AFTER, causal_weights, rows_fault, seen_fault
from course.exercises.base import Check, Effect, Exercise, break_it
from course.exercises.probe import compare, future_fault, gradient_fault, input_fault, shape_fault

SIZES = {"B": 2, "T": 7, "C": 5}

Mean = Callable[[Tensor], Tensor]


def mean_shape(running_mean: Mean) -> str | None:
    for sizes in (SIZES, {"B": 3, "T": 11, "C": 2}):
        if fault := shape_fault(running_mean(torch.randn(*sizes.values())), "B T C", sizes):
            return fault
    return None


def mean_future(running_mean: Mean) -> str | None:
    x = torch.randn(1, 7, 5)
    return future_fault(running_mean, x, "a position's mean takes in what comes after it. Stop at the position itself.")


def mean_value(running_mean: Mean) -> str | None:
    x = torch.randn(*SIZES.values())
    sums, counts = x.cumsum(dim=1), torch.arange(1, 8)[:, None]
    before = (sums - x) / (counts - 1).clamp(min=1)
    mistakes = {
        "It adds up and never divides: the mean at position t is the sum divided by t + 1.": sums,
        "It divides by T everywhere: the mean at position t is over t + 1 vectors.": sums / 7,
        "It divides by the position, one too few: position t counts itself, so divide by t + 1.": sums
        / (counts - 1).clamp(min=1),
        "Each position leaves itself out: the mean is over the past and the position itself.": before,
        "It adds up over the pieces of the batch: the past runs along dimension 1.": x.cumsum(dim=0) / counts,
        "It adds up over the channels: the past runs along dimension 1.": x.cumsum(dim=2) / counts,
        "It returns its input: no position has heard another.": x,
    }
    return compare(running_mean(x.clone()), sums / counts, mistakes)


def mean_of_one(running_mean: Mean) -> str | None:
    x = torch.randn(2, 1, 5)
    return compare(running_mean(x.clone()), x)


def mean_input(running_mean: Mean) -> str | None:
    return input_fault(running_mean, torch.randn(*SIZES.values()))


def mean_gradient(running_mean: Mean) -> str | None:
    return gradient_fault(running_mean, torch.randn(*SIZES.values()))


def masked_shape(masked_weights: Mean) -> str | None:
    for letters, sizes in (("T T", {"T": 7}), ("B T T", {"B": 2, "T": 5})):
        scores = torch.randn(*(sizes[letter] for letter in letters.split()))
        if fault := shape_fault(masked_weights(scores), letters, sizes):
            return fault
    return None


def masked_rows(masked_weights: Mean) -> str | None:
    return rows_fault(masked_weights(torch.randn(7, 7)))


def masked_seen(masked_weights: Mean) -> str | None:
    return seen_fault(masked_weights(torch.randn(7, 7))) or future_weights(masked_weights)


def future_weights(masked_weights: Mean) -> str | None:
    """Scores of the future must not count, not even in what the row is divided by."""
    scores = torch.randn(7, 7)
    raised = scores + torch.ones(7, 7).triu(1)
    if torch.allclose(masked_weights(scores.clone()), masked_weights(raised), atol=1e-6):
        return None
    return f"Scores above the diagonal were raised, and the weights below it changed. {MASK_AFTER}"


def masked_value(masked_weights: Mean) -> str | None:
    scores = torch.randn(2, 7, 7)
    allowed = (~torch.ones(7, 7, dtype=torch.bool).triu(1)).float()
    mistakes = {
        "It shares out alike, whatever the scores: here they differ, and the softmax must be of them.": (
            allowed / allowed.sum(dim=-1, keepdim=True)
        ).expand(2, 7, 7),
        "The scores are divided by their sum: a softmax divides their powers, e^score.": (scores * allowed)
        / (scores * allowed).sum(dim=-1, keepdim=True),
        "The sign of the scores is turned: the largest score should get the largest weight.": causal_weights(-scores),
    }
    return compare(masked_weights(scores.clone()), causal_weights(scores), mistakes, ("piece", "row", "column"))


def masked_input(masked_weights: Mean) -> str | None:
    return input_fault(masked_weights, torch.randn(7, 7))


def masked_gradient(masked_weights: Mean) -> str | None:
    return gradient_fault(masked_weights, torch.randn(7, 7))


def hidden_by_zeros() -> Effect:
    allowed = torch.ones(8, 8).tril()
    scores = torch.zeros(8, 8) * allowed  # "hidden" by a factor of 0, where -inf belongs
    weights = scores.softmax(dim=-1)
    share = (weights[0] * (1 - allowed[0])).sum().item()
    return Effect(
        share,
        f"The first of eight positions gives {share:.3f} of its weight to the seven after it: e^0 is 1, and a score of "
        "0 counts as much as any other. Only e^-inf is 0.",
    )


EXERCISES = (
    Exercise(
        name="running_mean",
        task="Write the mean of the past in any way you like: at each position, the mean of the vectors from the first "
        "up to this one, itself included.",
        look="Four ways to one mean",
        stub='''
def running_mean(x: Tensor) -> Tensor:
    """Mean of the past: (B, T, C) -> (B, T, C)."""
    raise NotImplementedError
''',
        checks=(
            Check("the shape, for any B, T and C", mean_shape),
            Check("the future stays hidden", mean_future),
            Check("the right numbers", mean_value),
            Check("a piece of one position", mean_of_one),
            Check("the input is left alone", mean_input),
            Check("gradients pass through", mean_gradient),
        ),
    ),
    Exercise(
        name="masked_weights",
        task="Turn scores into weights: each row a softmax over itself and what is to its left, up to the diagonal; "
        "0 to the right of it.",
        look="Four ways to one mean",
        stub='''
def masked_weights(scores: Tensor) -> Tensor:
    """Weights of the past, by score: (..., T, T) -> (..., T, T), each row sums to 1, nothing above the diagonal."""
    raise NotImplementedError
''',
        checks=(
            Check("the shape, with a batch and without", masked_shape),
            Check("each row sums to 1", masked_rows),
            Check("the future stays hidden", masked_seen),
            Check("the right numbers", masked_value),
            Check("the input is left alone", masked_input),
            Check("gradients pass through", masked_gradient),
        ),
    ),
    break_it(
        name="SHARE_OF_THE_FUTURE",
        task="All scores are 0. Somebody hides the future by setting its scores to 0 in place of -inf, before the "
        "softmax. There are eight positions: what share of the first one's weight, from 0 to 1, goes to the seven "
        "after it? 0.02 off is near enough.",
        look="Four ways to one mean",
        within=0.02,
        experiment=hidden_by_zeros,
    ),
)
