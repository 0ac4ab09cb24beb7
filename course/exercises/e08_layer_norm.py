"""Exercises of section 8: layer normalisation, the pre-norm block, and normalisation over the wrong axis."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course.exercises.base import Check, Exercise, Outcome, prediction_exercise
from course.exercises.shared_checks import (
    changed_positions,
    matching_mistake,
    module_fault,
    mutation_fault,
    nearly_equal,
    parameter_count,
    shape_fault,
    two_parts,
    unused_parameter_fault,
    value_fault,
)

B, T, C = 2, 7, 5
SIZES = {"B": B, "T": T, "C": C}
EPSILON = 1e-5

Norm = Callable[..., nn.Module]
Block = Callable[[nn.Module, nn.Module, int], nn.Module]


def _inputs() -> Tensor:
    """Draw vectors of different sizes and means, (B, T, C)."""
    return 3 * torch.randn(B, T, C) + 5 * torch.randn(B, T, 1)


def _norm_parameters(norm: Norm) -> str | None:
    count = parameter_count(norm(C))
    if count == 2 * C:
        return None
    known = {
        0: "It has nothing to learn: make gain and shift an `nn.Parameter` each. A plain tensor or a buffer is not "
        "trained.",
        C: f"It has {C} parameters: gain or shift is missing, or not an `nn.Parameter`. Each channel has one of each.",
        2: "It has a single gain and a single shift: each channel has one of each.",
    }
    return known.get(count, f"It has {count} parameters: a gain and a shift for each of {C} channels are {2 * C}.")


def _norm_value(norm: Norm) -> str | None:
    x = _inputs()
    deviation, variance = x - x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    right = F.layer_norm(x, (C,))
    over_channels = "normalise each position by itself, over its channels (dim=-1)."

    def over(*dims: int) -> Tensor:
        return (x - x.mean(dims, keepdim=True)) / (x.var(dims, keepdim=True, unbiased=False) + EPSILON).sqrt()

    mistakes = {
        f"It normalises over the positions of a sequence: {over_channels}": over(1),
        f"It normalises over the batch: {over_channels}": over(0),
        f"It normalises a whole sequence at once: {over_channels}": over(1, 2),
        f"It normalises over batch and positions, as batch normalisation does: {over_channels}": over(0, 1),
        f"It normalises all numbers at once: {over_channels}": over(0, 1, 2),
        f"The variance is divided by C - 1, as `var` and `std` do without `unbiased=False`: it is the mean of the "
        f"squared deviations, divided by C = {C}.": deviation / (x.var(-1, keepdim=True) + EPSILON).sqrt(),
        "The mean is not subtracted.": x / (variance + EPSILON).sqrt(),
        "It is divided by the root of the mean square: that is RMSNorm. Subtract the mean first.": x
        / (x.square().mean(-1, keepdim=True) + EPSILON).sqrt(),
        "It is divided by the variance: divide by its square root.": deviation / (variance + EPSILON),
        "The mean is subtracted, but nothing is divided.": deviation,
        "It multiplies by the standard deviation: divide by it.": deviation * (variance + EPSILON).sqrt(),
        "Before training everything becomes 0: initialise the gain with 1.": torch.zeros_like(x),
        "Before training everything is shifted by 1: initialise the shift with 0.": right + 1,
    }
    return value_fault(norm(C)(x.clone()).detach(), right, mistakes)


def _norm_constant(norm: Norm) -> str | None:
    out = norm(C)(torch.full((C,), 2.0))
    if out.isfinite().all():
        return None
    return "For a vector of equal numbers it gives NaN, 0 divided by 0: add epsilon to the variance."


def _norm_small(norm: Norm) -> str | None:
    x = 1e-3 * torch.randn(B, T, C)
    deviation, variance = x - x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    mistakes = {
        "For small numbers it gives too much: epsilon is outside the square root. Add it to the variance, then take "
        "the root.": deviation / (variance.sqrt() + EPSILON),
        "Epsilon has no effect: add it to the variance, before the root.": deviation / variance.sqrt(),
        "Epsilon is squared: add epsilon itself to the variance.": deviation / (variance + EPSILON**2).sqrt(),
    }
    fault = value_fault(norm(C)(x.clone()).detach(), F.layer_norm(x, (C,)), mistakes)
    if fault or nearly_equal(norm(C, 0.1)(x.clone()).detach(), F.layer_norm(x, (C,), eps=0.1)):
        return fault
    return "With another epsilon, 0.1, the result should be smaller: add the argument `epsilon` to the variance."


@torch.no_grad()
def _norm_gain(norm: Norm) -> str | None:
    one, x = norm(C), _inputs()
    vectors = [
        vector for p in one.parameters() if p.numel() % C == 0 for vector in p.view(-1, C)
    ]  # two of them, or one that holds both
    if len(vectors) != 2:
        return f"Gain and shift should be two vectors of {C} numbers each."
    g, b = torch.rand(C) + 0.5, torch.randn(C)
    n = F.layer_norm(x, (C,))
    faults = []
    for first, second in ((g, b), (b, g)):
        vectors[0].copy_(first.view_as(vectors[0]))
        vectors[1].copy_(second.view_as(vectors[1]))
        out = one(x.clone())
        if nearly_equal(out, n * g + b) or nearly_equal(out, n * (1 + g) + b):
            return None
        mistakes = {
            "The shift is added before the gain multiplies: multiply first, then add.": (n + b) * g,
            "Gain and shift have no effect: multiply by the gain and add the shift.": n,
            "The shift has no effect: add it at the end.": n * g,
            "The gain has no effect: multiply by it, then add the shift.": n + b,
            "Gain and shift come before the normalisation, which undoes them: they come after it.": F.layer_norm(
                x * g + b, (C,)
            ),
        }
        faults.append(matching_mistake(out, mistakes))
    return next(filter(None, faults), "With another gain and shift it does not give normalised · gain + shift.")


def _norm_gradient(norm: Norm) -> str | None:
    if fault := unused_parameter_fault(norm(C), _inputs()):
        return fault
    x, weights = _inputs(), torch.randn(B, T, C)
    deviation = x - x.mean(-1, keepdim=True)
    size = (x.var(-1, keepdim=True, unbiased=False) + EPSILON).sqrt()

    def gradient(function: Callable[[Tensor], Tensor]) -> Tensor:
        leaf = x.clone().requires_grad_()
        (function(leaf) * weights).sum().backward()
        return torch.zeros_like(x) if leaf.grad is None else leaf.grad

    detached = "detached from the gradient (`.detach()`, `.data`, `no_grad`): it depends on x, too."
    mistakes = {
        f"The mean and the deviation are {detached}": gradient(lambda leaf: (leaf - (x - deviation)) / size),
        f"The deviation is {detached}": gradient(lambda leaf: (leaf - leaf.mean(-1, keepdim=True)) / size),
    }
    found = gradient(norm(C))
    if fault := value_fault(found, gradient(lambda leaf: F.layer_norm(leaf, (C,))), mistakes):
        return fault if fault in mistakes else f"The gradient of its input is wrong. {fault}"
    return None


# PreNormBlock


def _block_parameters(block: Block) -> str | None:
    attention, feed_forward = two_parts(C)
    own = (
        parameter_count(block(attention, feed_forward, C)) - parameter_count(attention) - parameter_count(feed_forward)
    )
    if own == 4 * C:
        return None
    known = {
        2 * C: "There is one norm for both parts, or two without a shift: each part needs its own norm, with gain and "
        "shift.",
        0: "Its norms are not found, or have nothing to learn: set each on `self` in `__init__`, with gain and shift.",
    }
    if own < 0:
        return "Its two parts are not found: set each on `self`. In a Python list they are never trained."
    return known.get(own, f"Besides its two parts it has {own} parameters: two norms have {4 * C}.")


def _block_value(block: Block) -> str | None:
    attention, feed_forward = two_parts(C)
    x = _inputs()

    def n(one: Tensor) -> Tensor:
        return F.layer_norm(one, (C,))

    with torch.no_grad():
        out = block(attention, feed_forward, C).eval()(x.clone())
        stream = x + attention(n(x))
        plain, outputs, copied = x + attention(x), x + n(attention(x)), n(n(x) + attention(n(x)))
        after = n(plain)
        mistakes = {
            "It normalises after adding, as the paper does: here each part reads a normalised copy, and the stream "
            "itself is not normalised.": n(after + feed_forward(after)),
            "Nothing is added: each part replaces the stream. Write `x + part(norm(x))`.": feed_forward(
                n(attention(n(x)))
            ),
            "The normalised copy replaces the stream: add to x itself, and let only the part read `norm(x)`.": (
                copied + feed_forward(copied)
            ),
            "The output of each part is normalised: normalise its input.": outputs + n(feed_forward(outputs)),
            "The feed-forward network reads the stream itself: it should read a normalised copy, too.": stream
            + feed_forward(stream),
            "Attention reads the stream itself: it should read a normalised copy, too.": plain + feed_forward(n(plain)),
            "There is no normalisation: each part should read `norm(x)`.": plain + feed_forward(plain),
            "Both parts read the same x: the second should read the sum of x and the first.": stream
            + feed_forward(n(x)),
            "The output of the block is normalised: do not normalise the stream itself.": n(
                stream + feed_forward(n(stream))
            ),
        }
        return value_fault(out, stream + feed_forward(n(stream)), mistakes)


def _wrong_axis() -> Outcome:
    torch.manual_seed(0)
    moved = changed_positions(lambda x: F.layer_norm(x.transpose(1, 2), (8,)).transpose(1, 2), torch.randn(1, 8, 32), 4)
    return Outcome(
        "all" if len(moved) == 8 else "position 4 and those after it" if min(moved) == 4 else "position 4 only",
        f"Position 4 changed, and so did the outputs at {', '.join(map(str, moved))}: all positions share the mean and "
        "the deviation, earlier ones too. No mask helps against that: the model can read the future from them.",
    )


EXERCISES = (
    Exercise(
        name="LayerNorm",
        task="Write layer normalisation by hand: over the channels of each position, subtract the mean, divide by the "
        "root of the variance plus epsilon, then multiply by a gain (initially 1) and add a shift (initially 0) per "
        "channel.",
        heading="# 8. One size for what each layer reads: layer normalisation",
        checks=(
            Check("a module", lambda norm: module_fault(norm, C)),
            Check("the shape", lambda norm: shape_fault(norm(C)(_inputs()), "B T C", SIZES)),
            Check("gain and shift to learn", _norm_parameters),
            Check("the right numbers", _norm_value),
            Check("a single vector, of equal numbers", _norm_constant),
            Check("epsilon in the right place", _norm_small),
            Check("gain and shift", _norm_gain),
            Check("the input is left alone", lambda norm: mutation_fault(norm(C), _inputs())),
            Check("gradients pass through", _norm_gradient),
        ),
    ),
    Exercise(
        name="PreNormBlock",
        task="Write the block of GPT-2: each part reads a normalised copy of the stream, and its output is added to "
        "the stream itself. (`from course.s08_layer_norm import LayerNorm` and torch's `nn.LayerNorm` are allowed.)",
        heading="After or before?",
        checks=(
            Check("a module", lambda block: module_fault(block, *two_parts(C), C)),
            Check("the shape", lambda block: shape_fault(block(*two_parts(C), C)(_inputs()), "B T C", SIZES)),
            Check("its own two norms", _block_parameters),
            Check("normalise, then add", _block_value),
            Check("the input is left alone", lambda block: mutation_fault(block(*two_parts(C), C), _inputs())),
            Check("every layer learns", lambda block: unused_parameter_fault(block(*two_parts(C), C), _inputs())),
        ),
    ),
    prediction_exercise(
        name="MOVED_BY_THE_WRONG_AXIS",
        task="Normalise over the 8 positions of a sequence instead of the channels. Then change the input at position "
        "4 only. At which positions does the output change?",
        heading="# 8. One size for what each layer reads: layer normalisation",
        choices=("position 4 only", "position 4 and those after it", "all"),
        experiment=_wrong_axis,
    ),
)
