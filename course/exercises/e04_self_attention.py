"""Exercises of section 4: the weights, the head, and a mask that is off by one."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from course.exercises.attention import (
    FUTURE_VISIBLE,
    NO_MASK,
    head_matrices,
    head_variants,
    mask_fault,
    nan_fault,
    row_sum_fault,
    scale_variants,
    with_reason,
)
from course.exercises.base import Check, Exercise, Outcome, prediction_exercise, train_briefly
from course.exercises.shared_checks import (
    build,
    causality_fault,
    gradient_fault,
    largest_difference,
    matching_mistake,
    module_fault,
    mutation_fault,
    nearly_equal,
    parameter_count,
    shape_fault,
    unused_parameter_fault,
    value_fault,
    zero_biases,
)
from course.s03_positions import LearnedPositions, PositionedModel
from course.s04_self_attention import Head

C, D, T = 5, 3, 7
SIZES = {"B": 2, "T": T, "C": C, "D": D}

Weights = Callable[[Tensor, Tensor], Tensor]


def _queries_and_keys(*shape: int) -> tuple[Tensor, Tensor]:
    return torch.randn(*shape), torch.randn(*shape)


def _weights_shape(attention_weights: Weights) -> str | None:
    for letters, sizes in (("B T T", {"B": 2, "T": 7}), ("B H T T", {"B": 2, "H": 3, "T": 5})):
        q, k = _queries_and_keys(*(sizes[letter] for letter in letters.split()[:-1]), 11)
        if fault := shape_fault(attention_weights(q, k), letters, sizes):
            return f"For q and k of shape {tuple(q.shape)}: {fault}"
    return None


def _weights_rows(attention_weights: Weights) -> str | None:
    return row_sum_fault(attention_weights(*_queries_and_keys(T, D)))


def _weights_seen(attention_weights: Weights) -> str | None:
    q, k = _queries_and_keys(T, D)
    return mask_fault(attention_weights(q / 4, k / 4))  # small scores, so that no weight underflows


def _weights_scale(attention_weights: Weights) -> str | None:
    q, k = _queries_and_keys(2, T, D)
    right, mistakes = scale_variants(q, k)
    swapped = {"q and k are swapped: the score at [t, s] is query t times key s.": scale_variants(k, q)[0]}
    return value_fault(
        attention_weights(q.clone(), k.clone()), right, mistakes | swapped, ("sequence", "row", "column")
    )


def _weights_input(attention_weights: Weights) -> str | None:
    return mutation_fault(attention_weights, *_queries_and_keys(2, T, D))


def _weights_gradient(attention_weights: Weights) -> str | None:
    return gradient_fault(attention_weights, *_queries_and_keys(2, T, D))


def _shared_layers(one: nn.Module) -> list[str]:
    """Return the names of the first parameter that has several."""
    names: dict[int, list[str]] = {}
    for name, parameter in one.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return next((several for several in names.values() if len(several) > 1), [])


def _head_parameters(head: type[nn.Module]) -> str | None:
    count = parameter_count(head(C, D))
    if count - 3 * C * D in (0, D, 2 * D, 3 * D):  # with biases or without, for each of the three
        return None
    if count == 0:
        return (
            "It has nothing to learn: set each layer on `self`; in a Python list or as a plain tensor it is not found."
        )
    if twins := _shared_layers(head(C, D)):
        return f"`{twins[0]}` and `{twins[1]}` are the same layer: query, key and value each need their own."
    return (
        f"It has {count} parameters for C = {C} and D = {D}: three layers from C to D, for query, key and value, have "
        f"3 · {C} · {D} = {3 * C * D}."
    )


def _head_future(head: type[nn.Module]) -> str | None:
    one = build(head, C, D)
    zero_biases(one, C * D)
    fault = causality_fault(one, torch.randn(1, T, C), NO_MASK)
    if fault is None:
        return None
    x = torch.randn(2, T, C)
    out = one(x).detach()
    for matrices in head_matrices(one, C, D):
        if sentence := matching_mistake(out, head_variants(x, matrices)[1]):
            return with_reason(fault, sentence)
    return fault.replace(NO_MASK, FUTURE_VISIBLE)


def _head_formula(head: type[nn.Module]) -> str | None:
    one, x = build(head, C, D), torch.randn(2, T, C)
    zero_biases(one, C * D)
    out = one(x.clone()).detach()
    ways = [head_variants(x, matrices) for matrices in head_matrices(one, C, D)]
    if any(nearly_equal(out, right) for right, _, _ in ways):
        return None
    for _, _, others in ways:
        if sentence := matching_mistake(out, others):
            return sentence
    if not ways:
        return "Its parameters are not three matrices from C to D, one each for query, key and value."
    return f"With its own three matrices, the formula gives other numbers. {largest_difference(out, ways[0][0])}"


def _head_uses_all(head: type[nn.Module]) -> str | None:
    one = build(head, C, D)
    return unused_parameter_fault(one, torch.randn(2, T, C))


class LeakingHead(Head):
    """The head of section 4 with its mask off by one: (B, T, C) -> (B, T, D)."""

    def weights(self, x: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(x).transpose(1, 2) / self.query.out_features**0.5  # (B, T, T)
        return scores.masked_fill(torch.ones_like(scores[0]).triu(2).bool(), -torch.inf).softmax(dim=-1)


@cache
def _off_by_one() -> Outcome:
    def model(kind: type[Head]) -> Callable[[int], nn.Module]:
        return lambda vocab_size: PositionedModel(vocab_size, 32, kind(32, 32), LearnedPositions(8, 32))

    right, leaking = train_briefly(model(Head)).after, train_briefly(model(LeakingHead)).after
    answer = "lower" if leaking.val < right.val - 0.1 else "higher" if leaking.val > right.val + 0.1 else "the same"
    return Outcome(
        answer,
        f"After {right.step} steps the right head has a validation loss of {right.val:.2f}, and the one that sees one "
        f"position too far {leaking.val:.2f}. It looks up its answer, in validation as in training. When it generates, "
        "there is nothing to look up, and it writes nonsense. A loss that is too good to be true usually is.",
    )


EXERCISES = (
    Exercise(
        name="attention_weights",
        task="Write the attention weights: products of queries and keys, divided by √D, masked, and a softmax along "
        "each row. They should work with any number of dimensions before the last two.",
        heading="# 4. Choosing whom to listen to: self-attention",
        checks=(
            Check("the shape", _weights_shape),
            Check("each row sums to 1", _weights_rows),
            Check("the future stays hidden", _weights_seen),
            Check("the scale, and the right numbers", _weights_scale),
            Check("the input is left alone", _weights_input),
            Check("gradients pass through", _weights_gradient),
        ),
    ),
    Exercise(
        name="Head",
        task="Write one head: query, key and value, a linear layer from C to D each, and the weighted sum of the "
        "values.",
        heading="# 4. Choosing whom to listen to: self-attention",
        checks=(
            Check("a module", lambda head: module_fault(head, C, D)),
            Check("the shape", lambda head: shape_fault(build(head, C, D)(torch.randn(2, T, C)), "B T D", SIZES)),
            Check("three matrices to learn", _head_parameters),
            Check("numbers everywhere", lambda head: nan_fault(build(head, C, D)(torch.randn(1, T, C))[0])),
            Check("the future stays hidden", _head_future),
            Check("the formula", _head_formula),
            Check("every layer learns", _head_uses_all),
        ),
    ),
    prediction_exercise(
        name="LOSS_WITH_A_LEAKING_MASK",
        task="The mask of a head is off by one: each position sees one position too far. The head is trained briefly "
        "and measured on the validation part. Compared with the right head's, its loss is...",
        heading="The future stays hidden",
        choices=("lower", "the same", "higher"),
        experiment=_off_by_one,
    ),
)
