"""Exercises of section 8: layer normalisation, the block that reads a normalised copy, and the wrong axis."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course.exercises.base import Check, Effect, Exercise, break_it
from course.exercises.probe import (
    close,
    compare,
    count_of,
    input_fault,
    module_fault,
    moved_positions,
    shape_fault,
    unused_fault,
)

B, T, C = 2, 7, 5
SIZES = {"B": B, "T": T, "C": C}
EPSILON = 1e-5

Norm = Callable[..., nn.Module]
Block = Callable[[nn.Module, nn.Module, int], nn.Module]


def numbers() -> Tensor:
    """Vectors of many sizes and means, (B, T, C)."""
    return 3 * torch.randn(B, T, C) + 5 * torch.randn(B, T, 1)


def norm_module(norm: type[nn.Module]) -> str | None:
    return module_fault(norm, C)


def norm_shape(norm: Norm) -> str | None:
    return shape_fault(norm(C)(numbers()), "B T C", SIZES)


def norm_parameters(norm: Norm) -> str | None:
    count = count_of(norm(C))
    if count == 2 * C:
        return None
    known = {
        0: "It has nothing to learn: make gain and shift an `nn.Parameter` each. A plain tensor or a buffer is not "
        "trained.",
        C: f"It has {C} numbers to learn, so gain or shift is missing, or no `nn.Parameter`: there is one of each for "
        "every channel.",
        2: "It has one gain and one shift in all: there is one of each for every channel.",
    }
    return known.get(
        count, f"It has {count} numbers to learn: a gain and a shift for each of {C} channels are {2 * C}."
    )


def norm_value(norm: Norm) -> str | None:
    x = numbers()
    deviation, variance = x - x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    right = F.layer_norm(x, (C,))

    def over(*dims: int) -> Tensor:
        return (x - x.mean(dims, keepdim=True)) / (x.var(dims, keepdim=True, unbiased=False) + EPSILON).sqrt()

    mistakes = {
        "It normalises over the positions of a piece: each position is to be normalised by itself, over its channels "
        "(dim=-1).": over(1),
        "It normalises over the batch: each position of each piece is to be normalised by itself, over its channels "
        "(dim=-1).": over(0),
        "It normalises a whole piece at once: each position is to be normalised by itself, over its channels "
        "(dim=-1).": over(1, 2),
        "It normalises over batch and positions, as batch normalisation does: take the channels of each position "
        "(dim=-1).": over(0, 1),
        "It normalises all numbers at once: each position is to be normalised by itself, over its channels "
        "(dim=-1).": over(0, 1, 2),
        f"The variance is divided by C - 1: `var` and `std` do so unless told `unbiased=False`. Here it is the mean of "
        f"the squares, divided by C = {C}.": deviation / (x.var(-1, keepdim=True) + EPSILON).sqrt(),
        "The mean is not subtracted.": x / (variance + EPSILON).sqrt(),
        "It is divided by the root of the mean square: that is RMSNorm. Subtract the mean first.": x
        / (x.square().mean(-1, keepdim=True) + EPSILON).sqrt(),
        "It is divided by the variance: divide by its square root.": deviation / (variance + EPSILON),
        "The mean is subtracted, and nothing is divided.": deviation,
        "It multiplies by the standard deviation, where it should divide.": deviation * (variance + EPSILON).sqrt(),
        "At the start everything becomes 0: let the gain start at 1.": torch.zeros_like(x),
        "At the start everything is shifted by 1: let the shift start at 0.": right + 1,
    }
    return compare(norm(C)(x.clone()).detach(), right, mistakes)


def norm_constant(norm: Norm) -> str | None:
    out = norm(C)(torch.full((C,), 2.0))
    if out.isfinite().all():
        return None
    return "For a vector of equal numbers it gives NaN, 0 divided by 0: add epsilon to the variance."


def norm_small(norm: Norm) -> str | None:
    x = 1e-3 * torch.randn(B, T, C)
    deviation, variance = x - x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    mistakes = {
        "For small numbers it gives too much: epsilon stands outside of the square root. Add it to the variance, and "
        "then take the root.": deviation / (variance.sqrt() + EPSILON),
        "Epsilon has no effect: add it to the variance, before the root.": deviation / variance.sqrt(),
        "The root is taken of the variance plus epsilon squared: it is plus epsilon.": deviation
        / (variance + EPSILON**2).sqrt(),
    }
    fault = compare(norm(C)(x.clone()).detach(), F.layer_norm(x, (C,)), mistakes)
    if fault or close(norm(C, 0.1)(x.clone()).detach(), F.layer_norm(x, (C,), eps=0.1)):
        return fault
    return "Given another epsilon, 0.1, it should give less: add the argument `epsilon` to the variance."


@torch.no_grad()
def norm_gain(norm: Norm) -> str | None:
    one, x = norm(C), numbers()
    vectors = [
        vector for p in one.parameters() if p.numel() % C == 0 for vector in p.view(-1, C)
    ]  # two of them, or one that holds both
    if len(vectors) != 2:
        return f"Gain and shift should be two vectors, of {C} numbers each."
    g, b = torch.rand(C) + 0.5, torch.randn(C)
    n = F.layer_norm(x, (C,))
    faults = []
    for first, second in ((g, b), (b, g)):
        vectors[0].copy_(first.view_as(vectors[0]))
        vectors[1].copy_(second.view_as(vectors[1]))
        out = one(x.clone())
        if close(out, n * g + b) or close(out, n * (1 + g) + b):
            return None
        mistakes = {
            "The shift is added before the gain multiplies: multiply first, then add.": (n + b) * g,
            "Gain and shift have no effect: multiply by the one and add the other.": n,
            "The shift has no effect: add it at the end.": n * g,
            "The gain has no effect: multiply by it, then add the shift.": n + b,
            "Gain and shift come before the normalisation, which takes them away again: they come after "
            "it.": F.layer_norm(x * g + b, (C,)),
        }
        faults.append(next((sentence for sentence, wrong in mistakes.items() if close(out, wrong)), None))
    return next(filter(None, faults), "With another gain and shift it does not give normalised · gain + shift.")


def norm_input(norm: Norm) -> str | None:
    with torch.no_grad():
        return input_fault(norm(C), numbers())


def norm_gradient(norm: Norm) -> str | None:
    if fault := unused_fault(norm(C), numbers()):
        return fault
    x, weights = numbers(), torch.randn(B, T, C)
    deviation = x - x.mean(-1, keepdim=True)
    size = (x.var(-1, keepdim=True, unbiased=False) + EPSILON).sqrt()

    def gradient(function: Callable[[Tensor], Tensor]) -> Tensor:
        leaf = x.clone().requires_grad_()
        (function(leaf) * weights).sum().backward()
        return torch.zeros_like(x) if leaf.grad is None else leaf.grad

    cut = "is cut off from the gradient (`.detach()`, `.data`, `no_grad`): when x moves, it moves too, and that counts."
    mistakes = {
        f"Mean and deviation {cut}": gradient(lambda leaf: (leaf - (x - deviation)) / size),
        f"The deviation {cut}": gradient(lambda leaf: (leaf - leaf.mean(-1, keepdim=True)) / size),
    }
    found = gradient(norm(C))
    if fault := compare(found, gradient(lambda leaf: F.layer_norm(leaf, (C,))), mistakes):
        return fault if fault in mistakes else f"The gradient of its input is not right. {fault}"
    return None


# PreNormBlock


def parts() -> tuple[nn.Module, nn.Module]:
    """Two that stand for attention and feed-forward network, and do not commute."""
    return nn.Sequential(nn.Linear(C, C), nn.Tanh()), nn.Sequential(nn.Linear(C, C), nn.Sigmoid())


def block_module(block: type[nn.Module]) -> str | None:
    return module_fault(block, *parts(), C)


def block_shape(block: Block) -> str | None:
    return shape_fault(block(*parts(), C)(numbers()), "B T C", SIZES)


def block_parameters(block: Block) -> str | None:
    attention, feed_forward = parts()
    own = count_of(block(attention, feed_forward, C)) - count_of(attention) - count_of(feed_forward)
    if own == 4 * C:
        return None
    known = {
        2
        * C: "There is one norm for both parts, or two without a shift: each part has a norm of its own, as they read "
        "different things, with gain and shift.",
        0: "Its norms are not found, or have nothing to learn: set each on `self` by itself, in `__init__`, with gain "
        "and shift.",
    }
    if own < 0:
        return "Its two parts are not found: set each on `self` by itself. In a Python list they are never trained."
    return known.get(own, f"Beside its two parts it has {own} numbers to learn: two norms have {4 * C}.")


def block_value(block: Block) -> str | None:
    attention, feed_forward = parts()
    x = numbers()

    def n(one: Tensor) -> Tensor:
        return F.layer_norm(one, (C,))

    with torch.no_grad():
        out = block(attention, feed_forward, C).eval()(x.clone())
        stream = x + attention(n(x))
        after = n(x + attention(x))
        mistakes = {
            "It normalises after adding, as the paper does: here each part reads a normalised copy, and the stream is "
            "left alone.": n(after + feed_forward(after)),
            "Nothing is added: each part replaces the stream. Write `x + part(norm(x))`.": feed_forward(
                n(attention(n(x)))
            ),
            "The normalised copy takes the stream's place: add to x itself, and let the part alone read `norm(x)`.": n(
                n(x) + attention(n(x))
            )
            + feed_forward(n(n(x) + attention(n(x)))),
            "What each part says is normalised: normalise what it reads.": (x + n(attention(x)))
            + n(feed_forward(x + n(attention(x)))),
            "The feed-forward network reads the stream as it is: it reads a normalised copy too.": stream
            + feed_forward(stream),
            "Attention reads the stream as it is: it reads a normalised copy too.": x
            + attention(x)
            + feed_forward(n(x + attention(x))),
            "There is no normalisation in it: each part reads `norm(x)`.": x
            + attention(x)
            + feed_forward(x + attention(x)),
            "Both parts read the same x: the second should read what the first has already added to.": stream
            + feed_forward(n(x)),
            "What leaves the block is normalised: leave the stream alone from end to end.": n(
                stream + feed_forward(n(stream))
            ),
        }
        return compare(out, stream + feed_forward(n(stream)), mistakes)


def block_input(block: Block) -> str | None:
    with torch.no_grad():
        return input_fault(block(*parts(), C), numbers())


def block_gradient(block: Block) -> str | None:
    return unused_fault(block(*parts(), C), numbers())


def wrong_axis() -> Effect:
    torch.manual_seed(0)
    moved = moved_positions(lambda x: F.layer_norm(x.transpose(1, 2), (8,)).transpose(1, 2), torch.randn(1, 8, 32), 4)
    return Effect(
        "all" if len(moved) == 8 else "position 4 and those after it" if min(moved) == 4 else "position 4 alone",
        f"Position 4 changed, and the outputs of {', '.join(map(str, moved))} moved: mean and deviation are then "
        "shared by all positions, those before it too. No mask helps against that; the model can read its future out "
        "of them.",
    )


EXERCISES = (
    Exercise(
        name="LayerNorm",
        task="Write layer normalisation by hand: over the channels of each position, subtract the mean, divide by the "
        "root of the variance plus epsilon, then multiply by a gain (at first 1) and add a shift (at first 0) for each "
        "channel.",
        look="# 8. One size for what each layer reads: layer normalisation",
        stub='''
class LayerNorm(nn.Module):
    """Each position's vector to mean 0 and variance 1, then gain and shift per channel: (..., C) -> (..., C)."""

    def __init__(self, n_embd: int, epsilon: float = 1e-5) -> None:
        super().__init__()
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError
''',
        checks=(
            Check("a module", norm_module),
            Check("the shape", norm_shape),
            Check("gain and shift to learn", norm_parameters),
            Check("the right numbers", norm_value),
            Check("a single vector, of equal numbers", norm_constant),
            Check("epsilon in its place", norm_small),
            Check("gain and shift at work", norm_gain),
            Check("the input is left alone", norm_input),
            Check("gradients pass through", norm_gradient),
        ),
    ),
    Exercise(
        name="PreNormBlock",
        task="Write the block of GPT-2: each part reads a normalised copy of the stream, and what it says is added to "
        "the stream itself. (`from course.s08_layer_norm import LayerNorm` and torch's `nn.LayerNorm` are allowed.)",
        look="After or before?",
        stub='''
class PreNormBlock(nn.Module):
    """Normalise what each part reads, then add: (B, T, C) -> (B, T, C)."""

    def __init__(self, attention: nn.Module, feed_forward: nn.Module, n_embd: int) -> None:
        super().__init__()
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError
''',
        checks=(
            Check("a module", block_module),
            Check("the shape", block_shape),
            Check("two norms of its own", block_parameters),
            Check("normalise, then add", block_value),
            Check("the input is left alone", block_input),
            Check("every layer learns", block_gradient),
        ),
    ),
    break_it(
        name="MOVED_BY_THE_WRONG_AXIS",
        task="Normalise over the 8 positions of a piece in place of the channels. Then change what stands at position "
        "4, and nothing else. Whose output moves?",
        look="# 8. One size for what each layer reads: layer normalisation",
        choices=("position 4 alone", "position 4 and those after it", "all"),
        experiment=wrong_axis,
    ),
)
