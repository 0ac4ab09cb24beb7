"""Exercises of section 6: the feed-forward network, ReLU by hand, and what remains without it."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course.exercises.base import Check, Exercise, Outcome, prediction_exercise
from course.exercises.shared_checks import (
    build,
    changed_positions,
    largest_difference,
    matching_mistake,
    module_fault,
    mutation_fault,
    named_matrices,
    nearly_equal,
    parameter_count,
    shape_fault,
    unused_parameter_fault,
    zero_biases,
)

B, T, C = 2, 7, 5

Network = Callable[[int], nn.Module]
ByHand = Callable[[], Any]


def _network_shape(network: Network) -> str | None:
    return shape_fault(build(network, C)(torch.randn(B, T, C)), "B T C", {"B": B, "T": T, "C": C})


def _network_parameters(network: Network) -> str | None:
    count = parameter_count(network(C))
    if count - 8 * C * C in (0, C, 4 * C, 5 * C):  # with biases or without
        return None
    if count == 0:
        return (
            "It has nothing to learn: set each layer on `self` in `__init__`; in a Python list, layers are not found."
        )
    wide = next((k for k in range(1, 20) if count == 2 * k * C * C + k * C + C), None)
    if wide is not None:
        return (
            f"Its hidden layer is {wide * C} wide for C = {C}: it should be four times as wide as the input, {4 * C}."
        )
    return f"It has {count} parameters for C = {C}: C to 4 C and back, with biases, are {8 * C * C + 5 * C}."


def _network_alone(network: Network) -> str | None:
    moved = changed_positions(build(network, C), torch.randn(1, T, C), 3)
    if moved in ([3], []):
        return None
    return (
        f"Position 3 changed, and so did the outputs at {', '.join(map(str, moved))}: each position is processed by "
        "itself. Only attention moves information between positions."
    )


def _network_nonlinear(network: Network) -> str | None:
    one = build(network, C)
    x, y, zero = torch.randn(3, 1, 1, C)
    with torch.no_grad():
        nonlinearity = one(x) + one(y) - one(x + y) - one(zero * 0)
    if not nearly_equal(nonlinearity, torch.zeros_like(nonlinearity)):
        return None
    return "It is linear: two linear layers in a row are no more than one. Put `.relu()` between them."


def _weights_of(one: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """Return the ways in which its matrices may be those of the two layers, (4 C, C) and (C, 4 C)."""
    ways = itertools.permutations(named_matrices(one).values(), 2)
    oriented = [
        (wide if wide.shape == (4 * C, C) else wide.T, narrow if narrow.shape == (C, 4 * C) else narrow.T)
        for wide, narrow in ways
    ]
    return [(wide, narrow) for wide, narrow in oriented if (wide.shape, narrow.shape) == ((4 * C, C), (C, 4 * C))]


def _network_value(network: Network) -> str | None:
    one, x = build(network, C), torch.randn(B, T, C)
    zero_biases(one, C * C)
    out = one(x.clone()).detach()
    ways = _weights_of(one)
    if not ways:
        return f"Its matrices should be two: {C} to {4 * C}, and {4 * C} to {C}."
    if any(nearly_equal(out, (x @ wide.T).relu() @ narrow.T) for wide, narrow in ways):
        return None
    for wide, narrow in ways:
        hidden = x @ wide.T
        right = hidden.relu() @ narrow.T
        mistakes = {
            "ReLU comes after the second layer, so that no output is negative: apply it to the 4 C channels.": (
                hidden @ narrow.T
            ).relu(),
            "ReLU comes before the first layer: apply it to the 4 C channels, between the two.": x.relu()
            @ wide.T
            @ narrow.T,
            "ReLU comes twice, in the middle and at the end, so that no output is negative.": right.relu(),
            "The activation is GELU, as in GPT-2: this section has ReLU.": F.gelu(hidden) @ narrow.T,
            "The activation is tanh: this section has ReLU.": hidden.tanh() @ narrow.T,
            "The activation is a sigmoid: this section has ReLU.": hidden.sigmoid() @ narrow.T,
            "The activation is a softmax: this section has ReLU.": hidden.softmax(-1) @ narrow.T,
            "It adds its input: that comes in section 7, outside this network.": right + x,
        }
        if sentence := matching_mistake(out, mistakes):
            return sentence
    return f"With its own matrices, the formula gives other numbers. {largest_difference(out, right)}"


def _network_uses_all(network: Network) -> str | None:
    return unused_parameter_fault(build(network, C), torch.randn(B, T, C))


# clip_by_hand


def _hand_sizes(clip: ByHand) -> str | None:
    given = clip()
    if not isinstance(given, tuple | list) or len(given) != 4:
        return "It should return four things, `w1, b1, w2, b2`."
    for name, one in zip(("w1", "b1", "w2"), given):
        if torch.as_tensor(one, dtype=torch.float32).numel() != 2:
            return f"`{name}` should hold two numbers, one per hidden channel."
    if torch.as_tensor(given[3], dtype=torch.float32).numel() != 1:
        return "`b2` should be a single number: there is one output."
    return None


def _clipped(clip: ByHand, points: Sequence[float]) -> Tensor:
    w1, b1, w2, b2 = (torch.as_tensor(one, dtype=torch.float32).flatten() for one in clip())
    x = torch.tensor(points)[:, None]  # (N, 1)
    return ((x * w1 + b1).relu() * w2).sum(dim=1) + b2  # (N,)


def _hand_fault(clip: ByHand, points: Sequence[float], advice: str) -> str | None:
    right = torch.tensor(points).clamp(0, 1)
    for x, out, wanted in zip(points, _clipped(clip, points).tolist(), right.tolist()):
        if abs(out - wanted) > 1e-4:
            return f"For x = {x:g} it gives {out:.4g}; {wanted:g} is right. {advice}"
    return None


def _hand_below(clip: ByHand) -> str | None:
    return _hand_fault(
        clip, (0.0, -0.5, -3.0), "Below 0, both channels should be 0 after ReLU, so that only b2 remains."
    )


def _hand_between(clip: ByHand) -> str | None:
    return _hand_fault(clip, (0.25, 0.5, 1.0), "From 0 to 1, one channel should rise like x, and the other be 0.")


def _hand_above(clip: ByHand) -> str | None:
    return _hand_fault(
        clip,
        (1.5, 4.0),
        "From 1 on, a second channel should subtract what the first goes on adding: let it begin at 1.",
    )


def _without_relu() -> Outcome:
    torch.manual_seed(0)
    wide, narrow, x = nn.Linear(32, 128), nn.Linear(128, 32), torch.randn(1000, 32)
    with torch.no_grad():
        one = F.linear(x, narrow.weight @ wide.weight, narrow(wide.bias))
        gap = (narrow(wide(x)) - one).abs().max().item()
    return Outcome(
        1 if gap < 1e-4 else 2,
        f"The product of the two matrices, as a single layer, gives the same to {gap:.0e}: {128 * 32 * 2:,} weights do "
        f"the work of {32 * 32:,}. Without a non-linearity, depth adds nothing.",
    )


EXERCISES = (
    Exercise(
        name="FeedForward",
        task="Write the network that is applied at each position by itself: from C channels to 4 C, ReLU, back to C.",
        heading="# 6. Think after talking: the feed-forward network",
        checks=(
            Check("a module", lambda network: module_fault(network, C)),
            Check("the shape", _network_shape),
            Check("four times as wide", _network_parameters),
            Check("each position by itself", _network_alone),
            Check("a non-linearity", _network_nonlinear),
            Check("the formula", _network_value),
            Check("the input is left alone", lambda network: mutation_fault(build(network, C), torch.randn(B, T, C))),
            Check("every layer learns", _network_uses_all),
        ),
    ),
    Exercise(
        name="clip_by_hand",
        task="The section computes |x| with two ReLU channels. Compute with two of them a function that is 0 below 0, "
        "x from 0 to 1, and 1 from there on: find the numbers for relu(x · w1 + b1) · w2 + b2, two each in w1, b1 and "
        "w2.",
        heading="# 6. Think after talking: the feed-forward network",
        checks=(
            Check("four things of the right size", _hand_sizes),
            Check("0 below 0", _hand_below),
            Check("x from 0 to 1", _hand_between),
            Check("1 from there on", _hand_above),
        ),
    ),
    prediction_exercise(
        name="LAYERS_WITHOUT_RELU",
        task="Without its ReLU, a feed-forward network consists of two linear layers. How many linear layers are "
        "needed to compute the same?",
        heading="# 6. Think after talking: the feed-forward network",
        experiment=_without_relu,
    ),
)
