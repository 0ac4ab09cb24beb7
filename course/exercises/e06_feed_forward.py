"""Exercises of section 6: the network, a bend by hand, and what is left without it."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course.exercises.attention import silence_biases
from course.exercises.base import Check, Effect, Exercise, break_it
from course.exercises.probe import (
    close,
    count_of,
    difference,
    input_fault,
    made,
    matrices_in,
    module_fault,
    moved_positions,
    shape_fault,
    unused_fault,
)

B, T, C = 2, 7, 5

Network = Callable[[int], nn.Module]
ByHand = Callable[[], Any]


def network_module(network: type[nn.Module]) -> str | None:
    return module_fault(network, C)


def network_shape(network: Network) -> str | None:
    return shape_fault(made(network, C)(torch.randn(B, T, C)), "B T C", {"B": B, "T": T, "C": C})


def network_parameters(network: Network) -> str | None:
    count = count_of(network(C))
    if count - 8 * C * C in (0, C, 4 * C, 5 * C):  # with biases or without
        return None
    if count == 0:
        return (
            "It has nothing to learn: set each layer on `self` by itself, in `__init__`; in a Python list none is "
            "found."
        )
    wide = next((k for k in range(1, 20) if count == 2 * k * C * C + k * C + C), None)
    if wide is not None:
        return (
            f"Its hidden layer is {wide * C} wide for C = {C}: it should be four times as wide as the input, {4 * C}."
        )
    return f"It has {count} numbers to learn for C = {C}: C to 4 C and back, with biases, are {8 * C * C + 5 * C}."


def network_alone(network: Network) -> str | None:
    moved = moved_positions(made(network, C), torch.randn(1, T, C), 3)
    if moved in ([3], []):
        return None
    return (
        f"Position 3 changed, and the outputs at {', '.join(map(str, moved))} moved: each position is to think for "
        "itself. All talking is done by attention."
    )


def network_bend(network: Network) -> str | None:
    one = made(network, C)
    x, y, zero = torch.randn(3, 1, 1, C)
    with torch.no_grad():
        bent = one(x) + one(y) - one(x + y) - one(zero * 0)
    if not close(bent, torch.zeros_like(bent)):
        return None
    return "There is no bend in it: two linear layers in a row are no more than one. Put `.relu()` between them."


def weights_of(one: nn.Module) -> list[tuple[Tensor, Tensor]]:
    """The ways in which its matrices may be those that widen (4 C, C) and narrow (C, 4 C)."""
    ways = itertools.permutations(matrices_in(one).values(), 2)
    turned = [
        (wide if wide.shape == (4 * C, C) else wide.T, narrow if narrow.shape == (C, 4 * C) else narrow.T)
        for wide, narrow in ways
    ]
    return [(wide, narrow) for wide, narrow in turned if (wide.shape, narrow.shape) == ((4 * C, C), (C, 4 * C))]


def network_value(network: Network) -> str | None:
    one, x = made(network, C), torch.randn(B, T, C)
    silence_biases(one, C * C)
    out = one(x.clone()).detach()
    ways = weights_of(one)
    if not ways:
        return f"Its matrices should be two: {C} to {4 * C}, and {4 * C} to {C}."
    if any(close(out, (x @ wide.T).relu() @ narrow.T) for wide, narrow in ways):
        return None
    for wide, narrow in ways:
        hidden = x @ wide.T
        right = hidden.relu() @ narrow.T
        mistakes = {
            "It bends at the end and not in the middle: no output is ever negative. Bend what is 4 C wide.": (
                hidden @ narrow.T
            ).relu(),
            "It bends before the first layer: bend what is 4 C wide, between the two.": x.relu() @ wide.T @ narrow.T,
            "It bends twice, in the middle and at the end: the second time no output is ever negative.": right.relu(),
            "It bends with GELU, as GPT-2 does: this section has ReLU.": F.gelu(hidden) @ narrow.T,
            "It bends with tanh: this section has ReLU.": hidden.tanh() @ narrow.T,
            "It bends with a sigmoid: this section has ReLU.": hidden.sigmoid() @ narrow.T,
            "It takes a softmax in the middle, where there is only to bend: negative numbers become 0.": hidden.softmax(
                -1
            )
            @ narrow.T,
            "It adds its input: that comes in section 7, outside of this network.": right + x,
        }
        for sentence, wrong in mistakes.items():
            if close(out, wrong):
                return sentence
    return f"With its own matrices, the formula gives other numbers. {difference(out, right)}"


def network_input(network: Network) -> str | None:
    with torch.no_grad():
        return input_fault(made(network, C), torch.randn(B, T, C))


def network_uses_all(network: Network) -> str | None:
    return unused_fault(made(network, C), torch.randn(B, T, C))


# A clip from two bent channels


def hand_sizes(clip: ByHand) -> str | None:
    given = clip()
    if not isinstance(given, tuple | list) or len(given) != 4:
        return "It should return four things, `w1, b1, w2, b2`."
    for name, one in zip(("w1", "b1", "w2"), given):
        if torch.as_tensor(one, dtype=torch.float32).numel() != 2:
            return f"`{name}` should hold two numbers, one for each bent channel."
    if torch.as_tensor(given[3], dtype=torch.float32).numel() != 1:
        return "`b2` should be a single number: there is one output."
    return None


def clipped(clip: ByHand, points: Sequence[float]) -> Tensor:
    w1, b1, w2, b2 = (torch.as_tensor(one, dtype=torch.float32).flatten() for one in clip())
    x = torch.tensor(points)[:, None]  # (N, 1)
    return ((x * w1 + b1).relu() * w2).sum(dim=1) + b2  # (N,)


def hand_fault(clip: ByHand, points: Sequence[float], advice: str) -> str | None:
    right = torch.tensor(points).clamp(0, 1)
    for x, out, wanted in zip(points, clipped(clip, points).tolist(), right.tolist()):
        if abs(out - wanted) > 1e-4:
            return f"For x = {x:g} it gives {out:.4g}, and {wanted:g} is wanted. {advice}"
    return None


def hand_below(clip: ByHand) -> str | None:
    return hand_fault(clip, (0.0, -0.5, -3.0), "Below 0 both channels should be bent away, and b2 is all that is left.")


def hand_between(clip: ByHand) -> str | None:
    return hand_fault(
        clip, (0.25, 0.5, 1.0), "From 0 to 1, one channel should rise as x does, and the other be silent."
    )


def hand_above(clip: ByHand) -> str | None:
    return hand_fault(
        clip,
        (1.5, 4.0),
        "From 1 on, a second channel should take away what the first goes on adding: let it begin at 1.",
    )


def without_bend() -> Effect:
    torch.manual_seed(0)
    wide, narrow, x = nn.Linear(32, 128), nn.Linear(128, 32), torch.randn(1000, 32)
    with torch.no_grad():
        one = F.linear(x, narrow.weight @ wide.weight, narrow(wide.bias))
        gap = (narrow(wide(x)) - one).abs().max().item()
    return Effect(
        1 if gap < 1e-4 else 2,
        f"The product of the two matrices, as a single layer, gives the same to {gap:.0e}: {128 * 32 * 2:,} numbers do "
        f"the work of {32 * 32:,}. Without a bend, depth adds nothing.",
    )


EXERCISES = (
    Exercise(
        name="FeedForward",
        task="Write the network that each position has for itself: from C channels to 4 C, ReLU, and back to C.",
        look="# 6. Think after talking: the feed-forward network",
        stub='''
class FeedForward(nn.Module):
    """Widen, bend, narrow, at each position for itself: (B, T, C) -> (B, T, C)."""

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError
''',
        checks=(
            Check("a module", network_module),
            Check("the shape", network_shape),
            Check("four times as wide", network_parameters),
            Check("each position for itself", network_alone),
            Check("a bend", network_bend),
            Check("the formula", network_value),
            Check("the input is left alone", network_input),
            Check("every layer learns", network_uses_all),
        ),
    ),
    Exercise(
        name="clip_by_hand",
        task="The section makes |x| of two bent channels. Make of two bent channels a function that is 0 below 0, x "
        "from 0 to 1, and 1 from there on: find the numbers for relu(x · w1 + b1) · w2 + b2, two each in w1, b1 and "
        "w2.",
        look="# 6. Think after talking: the feed-forward network",
        stub='''
def clip_by_hand() -> tuple[list[float], list[float], list[float], float]:
    """w1, b1, w2 (two numbers each) and b2, with relu(x * w1 + b1) @ w2 + b2 = min(max(x, 0), 1)."""
    raise NotImplementedError
''',
        checks=(
            Check("four things of the right size", hand_sizes),
            Check("0 below 0", hand_below),
            Check("x from 0 to 1", hand_between),
            Check("1 from there on", hand_above),
        ),
    ),
    break_it(
        name="LAYERS_WITHOUT_THE_BEND",
        task="Take the ReLU out of a feed-forward network, and it consists of two linear layers. How many linear "
        "layers are needed to compute the very same?",
        look="# 6. Think after talking: the feed-forward network",
        experiment=without_bend,
    ),
)
