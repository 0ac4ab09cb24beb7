"""Exercises of section 4: the weights, the head, and a mask that is off by one."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from course.exercises.attention import (
    LETS_IN,
    NO_MASK,
    because,
    head_outputs,
    heads_matrices,
    numbers_fault,
    rows_fault,
    seen_fault,
    silence_biases,
    weights_by_scale,
)
from course.exercises.base import Check, Effect, Exercise, break_it
from course.exercises.probe import (
    close,
    compare,
    count_of,
    difference,
    future_fault,
    gradient_fault,
    input_fault,
    made,
    module_fault,
    shape_fault,
    unused_fault,
)
from course.exercises.trial import short_training
from course.s03_positions import LearnedPositions, PositionedModel
from course.s04_self_attention import Head

C, D, T = 5, 3, 7
SIZES = {"B": 2, "T": T, "C": C, "D": D}

Weights = Callable[[Tensor, Tensor], Tensor]


def queries_and_keys(*shape: int) -> tuple[Tensor, Tensor]:
    return torch.randn(*shape), torch.randn(*shape)


def weights_shape(attention_weights: Weights) -> str | None:
    for letters, sizes in (("B T T", {"B": 2, "T": 7}), ("B H T T", {"B": 2, "H": 3, "T": 5})):
        q, k = queries_and_keys(*(sizes[letter] for letter in letters.split()[:-1]), 11)
        if fault := shape_fault(attention_weights(q, k), letters, sizes):
            return f"For q and k of shape {tuple(q.shape)}: {fault}"
    return None


def weights_rows(attention_weights: Weights) -> str | None:
    return rows_fault(attention_weights(*queries_and_keys(T, D)))


def weights_seen(attention_weights: Weights) -> str | None:
    q, k = queries_and_keys(T, D)
    return seen_fault(attention_weights(q / 4, k / 4))  # small, so that no weight is too small to be seen


def weights_scale(attention_weights: Weights) -> str | None:
    q, k = queries_and_keys(2, T, D)
    right, mistakes = weights_by_scale(q, k)
    swapped = {"Keys ask and queries are asked: the score at [t, s] is query t times key s.": weights_by_scale(k, q)[0]}
    return compare(attention_weights(q.clone(), k.clone()), right, mistakes | swapped, ("piece", "row", "column"))


def weights_input(attention_weights: Weights) -> str | None:
    return input_fault(attention_weights, *queries_and_keys(2, T, D))


def weights_gradient(attention_weights: Weights) -> str | None:
    return gradient_fault(attention_weights, *queries_and_keys(2, T, D))


def head_module(head: type[nn.Module]) -> str | None:
    return module_fault(head, C, D)


def head_shape(head: type[nn.Module]) -> str | None:
    return shape_fault(made(head, C, D)(torch.randn(2, T, C)), "B T D", SIZES)


def shared_layers(one: nn.Module) -> list[str]:
    """The names of one parameter, where it has several."""
    names: dict[int, list[str]] = {}
    for name, parameter in one.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return next((several for several in names.values() if len(several) > 1), [])


def head_parameters(head: type[nn.Module]) -> str | None:
    count = count_of(head(C, D))
    if count - 3 * C * D in (0, D, 2 * D, 3 * D):  # with biases or without, for each of the three
        return None
    if count == 0:
        return (
            "It has nothing to learn. A layer is found where it is set on `self` by itself; in a Python list or as a "
            "plain tensor it is not."
        )
    if twins := shared_layers(head(C, D)):
        return (
            f"`{twins[0]}` and `{twins[1]}` are one and the same: query, key and value each need a layer of their own."
        )
    return (
        f"It has {count} numbers to learn for C = {C} and D = {D}: three layers of C to D, for query, key and value, "
        f"have 3 · {C} · {D} = {3 * C * D}."
    )


def head_numbers(head: type[nn.Module]) -> str | None:
    return numbers_fault(made(head, C, D)(torch.randn(1, T, C))[0])


def head_future(head: type[nn.Module]) -> str | None:
    one = made(head, C, D)
    silence_biases(one, C * D)
    fault = future_fault(one, torch.randn(1, T, C), NO_MASK)
    if fault is None:
        return None
    x = torch.randn(2, T, C)
    out = one(x).detach()
    for matrices in heads_matrices(one, C, D):
        for sentence, wrong in head_outputs(x, matrices)[1].items():
            if close(out, wrong):
                return because(fault, sentence)
    return fault.replace(NO_MASK, LETS_IN)


def head_formula(head: type[nn.Module]) -> str | None:
    one, x = made(head, C, D), torch.randn(2, T, C)
    silence_biases(one, C * D)
    out = one(x.clone()).detach()
    ways = [head_outputs(x, matrices) for matrices in heads_matrices(one, C, D)]
    if any(close(out, right) for right, _, _ in ways):
        return None
    for _, _, others in ways:
        for sentence, wrong in others.items():
            if close(out, wrong):
                return sentence
    if not ways:
        return "Its parameters are not three matrices of C to D: one each for query, key and value."
    return f"With its own three matrices, the formula gives other numbers. {difference(out, ways[0][0])}"


def head_uses_all(head: type[nn.Module]) -> str | None:
    one = made(head, C, D)
    return unused_fault(one, torch.randn(2, T, C))


class PeekingHead(Head):
    """The head of section 4 with its mask off by one: (B, T, C) -> (B, T, D)."""

    def weights(self, x: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(x).transpose(1, 2) / self.query.out_features**0.5  # (B, T, T)
        return scores.masked_fill(torch.ones_like(scores[0]).triu(2).bool(), -torch.inf).softmax(dim=-1)


@cache
def peeking() -> Effect:
    def model(kind: type[Head]) -> Callable[[int], nn.Module]:
        return lambda vocab_size: PositionedModel(vocab_size, 32, kind(32, 32), LearnedPositions(8, 32))

    honest, peeked = short_training(model(Head)).after, short_training(model(PeekingHead)).after
    answer = "lower" if peeked.val < honest.val - 0.1 else "higher" if peeked.val > honest.val + 0.1 else "the same"
    return Effect(
        answer,
        f"After {honest.step} steps the honest head has a validation loss of {honest.val:.2f}, and the one that sees "
        f"one position too far {peeked.val:.2f}. It looks its answer up, in validation as in training; when it writes "
        "there is nothing to look up, and it writes nonsense. A loss too good to be true mostly is.",
    )


EXERCISES = (
    Exercise(
        name="attention_weights",
        task="Write the weights of attention: products of queries and keys, divided by √D, masked, and a softmax along "
        "each row. It should work with any number of dimensions before the last two.",
        look="# 4. Choosing whom to listen to: self-attention",
        stub='''
def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """How much each position listens to each: (..., T, D), (..., T, D) -> (..., T, T)."""
    raise NotImplementedError
''',
        checks=(
            Check("the shape", weights_shape),
            Check("each row sums to 1", weights_rows),
            Check("the future stays hidden", weights_seen),
            Check("the scale, and the right numbers", weights_scale),
            Check("the input is left alone", weights_input),
            Check("gradients pass through", weights_gradient),
        ),
    ),
    Exercise(
        name="Head",
        task="Write one head: query, key and value, a linear layer of C to D each, and what each position hears.",
        look="# 4. Choosing whom to listen to: self-attention",
        stub='''
class Head(nn.Module):
    """One head of causal self-attention: (B, T, C) -> (B, T, D)."""

    def __init__(self, n_embd: int, head_size: int) -> None:
        super().__init__()
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError
''',
        checks=(
            Check("a module", head_module),
            Check("the shape", head_shape),
            Check("three matrices to learn", head_parameters),
            Check("numbers everywhere", head_numbers),
            Check("the future stays hidden", head_future),
            Check("the formula", head_formula),
            Check("every layer learns", head_uses_all),
        ),
    ),
    break_it(
        name="LOSS_WHEN_PEEKING",
        task="The mask of a head is off by one: each position sees one position too far. The head is trained for a "
        "moment, and measured on the validation part. Against an honest head's, its loss is...",
        look="The future stays hidden",
        choices=("lower", "the same", "higher"),
        experiment=peeking,
    ),
)
