"""Exercises of section 2: the mean of the past, and weights that hide the future."""

from collections.abc import Callable

import torch
from torch import Tensor

from course.exercises.attention import MASK_AFTER, causal_weights, mask_fault, row_sum_fault
from course.exercises.base import Check, Exercise, Outcome, prediction_exercise
from course.exercises.shared_checks import causality_fault, gradient_fault, mutation_fault, shape_fault, value_fault

SIZES = {"B": 2, "T": 7, "C": 5}

Mean = Callable[[Tensor], Tensor]


def _mean_shape(running_mean: Mean) -> str | None:
    for sizes in (SIZES, {"B": 3, "T": 11, "C": 2}):
        if fault := shape_fault(running_mean(torch.randn(*sizes.values())), "B T C", sizes):
            return fault
    return None


def _mean_future(running_mean: Mean) -> str | None:
    x = torch.randn(1, 7, 5)
    return causality_fault(running_mean, x, "the mean includes what comes later. Stop at the position itself.")


def _mean_value(running_mean: Mean) -> str | None:
    x = torch.randn(*SIZES.values())
    sums, counts = x.cumsum(dim=1), torch.arange(1, 8)[:, None]
    before = (sums - x) / (counts - 1).clamp(min=1)
    mistakes = {
        "It never divides: the mean at position t is the sum divided by t + 1.": sums,
        "It divides by T everywhere: the mean at position t is over t + 1 vectors.": sums / 7,
        "It divides by t, one too few: position t counts itself, so divide by t + 1.": sums / (counts - 1).clamp(min=1),
        "Each position leaves itself out: the mean is over the past and the position itself.": before,
        "It sums over the batch: the past is along dimension 1.": x.cumsum(dim=0) / counts,
        "It sums over the channels: the past is along dimension 1.": x.cumsum(dim=2) / counts,
        "It returns its input: no position sees another.": x,
    }
    return value_fault(running_mean(x.clone()), sums / counts, mistakes)


def _mean_of_one(running_mean: Mean) -> str | None:
    x = torch.randn(2, 1, 5)
    return value_fault(running_mean(x.clone()), x)


def _mean_input(running_mean: Mean) -> str | None:
    return mutation_fault(running_mean, torch.randn(*SIZES.values()))


def _mean_gradient(running_mean: Mean) -> str | None:
    return gradient_fault(running_mean, torch.randn(*SIZES.values()))


def _masked_shape(masked_weights: Mean) -> str | None:
    for letters, sizes in (("T T", {"T": 7}), ("B T T", {"B": 2, "T": 5})):
        scores = torch.randn(*(sizes[letter] for letter in letters.split()))
        if fault := shape_fault(masked_weights(scores), letters, sizes):
            return fault
    return None


def _masked_seen(masked_weights: Mean) -> str | None:
    return mask_fault(masked_weights(torch.randn(7, 7))) or _future_weights(masked_weights)


def _future_weights(masked_weights: Mean) -> str | None:
    """Check that scores of the future have no effect, not even on the sum that a row is divided by."""
    scores = torch.randn(7, 7)
    raised = scores + torch.ones(7, 7).triu(1)
    if torch.allclose(masked_weights(scores.clone()), masked_weights(raised), atol=1e-6):
        return None
    return f"Larger scores above the diagonal changed the weights below it. {MASK_AFTER}"


def _masked_value(masked_weights: Mean) -> str | None:
    scores = torch.randn(2, 7, 7)
    allowed = (~torch.ones(7, 7, dtype=torch.bool).triu(1)).float()
    mistakes = {
        "All weights of a row are equal, whatever the scores: take the softmax of the scores.": (
            allowed / allowed.sum(dim=-1, keepdim=True)
        ).expand(2, 7, 7),
        "The scores are divided by their sum: a softmax divides their exponentials, e^score.": (scores * allowed)
        / (scores * allowed).sum(dim=-1, keepdim=True),
        "The sign of the scores is wrong: the largest score should get the largest weight.": causal_weights(-scores),
    }
    return value_fault(masked_weights(scores.clone()), causal_weights(scores), mistakes, ("sequence", "row", "column"))


def _hidden_by_zeros() -> Outcome:
    allowed = torch.ones(8, 8).tril()
    scores = torch.zeros(8, 8) * allowed  # masked with a factor of 0 instead of -inf
    weights = scores.softmax(dim=-1)
    share = (weights[0] * (1 - allowed[0])).sum().item()
    return Outcome(
        share,
        f"The first of eight positions gives {share:.3f} of its weight to the seven after it: e^0 is 1, and a score of "
        "0 counts as much as any other. Only e^-inf is 0.",
    )


EXERCISES = (
    Exercise(
        name="running_mean",
        task="Write the mean of the past in any way you like: at each position, the mean of the vectors from the first "
        "up to and including this one.",
        heading="Four ways to one mean",
        checks=(
            Check("the shape, for any B, T and C", _mean_shape),
            Check("the future stays hidden", _mean_future),
            Check("the right numbers", _mean_value),
            Check("a sequence of one position", _mean_of_one),
            Check("the input is left alone", _mean_input),
            Check("gradients pass through", _mean_gradient),
        ),
    ),
    Exercise(
        name="masked_weights",
        task="Turn scores into weights: each row is a softmax over its scores up to the diagonal, and 0 to the right "
        "of it.",
        heading="Four ways to one mean",
        checks=(
            Check("the shape, with a batch and without", _masked_shape),
            Check("each row sums to 1", lambda masked_weights: row_sum_fault(masked_weights(torch.randn(7, 7)))),
            Check("the future stays hidden", _masked_seen),
            Check("the right numbers", _masked_value),
            Check("the input is left alone", lambda masked_weights: mutation_fault(masked_weights, torch.randn(7, 7))),
            Check("gradients pass through", lambda masked_weights: gradient_fault(masked_weights, torch.randn(7, 7))),
        ),
    ),
    prediction_exercise(
        name="SHARE_OF_THE_FUTURE",
        task="All scores are 0. Somebody hides the future by setting its scores to 0 instead of -inf, before the "
        "softmax. There are eight positions: what share of the first one's weight, from 0 to 1, goes to the seven "
        "after it, to within 0.02?",
        heading="Four ways to one mean",
        within=0.02,
        experiment=_hidden_by_zeros,
    ),
)
