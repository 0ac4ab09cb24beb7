"""Exercises of section 7: a residual block, gradient norms by depth, and blocks without residual connections."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from course.exercises.base import Check, Exercise, Outcome, prediction_exercise
from course.exercises.shared_checks import (
    module_fault,
    mutation_fault,
    parameter_count,
    shape_fault,
    two_parts,
    unused_parameter_fault,
    value_fault,
)
from course.s07_residual import compare_gradients

B, T, C = 2, 7, 5
SIZES = {"B": B, "T": T, "C": C}

Block = Callable[[nn.Module, nn.Module], nn.Module]
Norms = Callable[[nn.Sequential, Tensor], Any]


def _block_parts(block: Block) -> str | None:
    attention, feed_forward = two_parts(C)
    count, expected = (
        parameter_count(block(attention, feed_forward)),
        parameter_count(attention) + parameter_count(feed_forward),
    )
    if count == expected:
        return None
    if count > expected:
        return f"It has {count - expected} parameters too many: a block has only those of its two parts."
    return (
        f"It has {count} of the {expected} parameters of its two parts: set each part on `self`, or in an "
        "`nn.ModuleList`. In a Python list they are never trained."
    )


def _block_value(block: Block) -> str | None:
    attention, feed_forward = two_parts(C)
    x = torch.randn(B, T, C)
    with torch.no_grad():
        out = block(attention, feed_forward).eval()(x.clone())
        a = attention(x)
        stream, swapped = x + a, x + feed_forward(x)
        mistakes = {
            "Nothing is added: each part replaces its input. Write `x + part(x)`, twice.": feed_forward(a),
            "Only the feed-forward network is added to its input: attention's output replaces the stream. Write "
            "`x = x + self.attention(x)`.": a + feed_forward(a),
            "Only attention is added to its input: the output of the feed-forward network replaces the stream. Add "
            "it, too.": feed_forward(stream),
            "Both parts read the same x: the feed-forward network should read x + attention(x).": stream
            + feed_forward(x),
            "The second sum uses the original x: add to x + attention(x), or attention's output is lost.": x
            + feed_forward(stream),
            "There is one sum around both parts: add attention's output to x before the second part.": x
            + feed_forward(a),
            "The feed-forward network reads only attention's output: it should read the stream, x + attention(x).": (
                stream + feed_forward(a)
            ),
            "The feed-forward network comes first: attention should.": swapped + attention(swapped),
            "The stream is added twice: add it once.": stream + x + feed_forward(stream),
        }
        return value_fault(out, stream + feed_forward(stream), mistakes)


def _block_gradient(block: Block) -> str | None:
    return unused_parameter_fault(block(*two_parts(C)), torch.randn(B, T, C))


def _blocks() -> nn.Sequential:
    return nn.Sequential(*(nn.Sequential(nn.Linear(C, C), nn.Tanh()) for _ in range(4)))


def _norms_list(gradient_norms: Norms) -> str | None:
    out = gradient_norms(_blocks(), torch.randn(B, T, C))
    if not isinstance(out, list | tuple):
        return f"It should return a list of numbers, and returned a {type(out).__name__}."
    if len(out) != 4:
        return f"For 4 blocks it returned {len(out)} numbers: return one per block, for all its parameters together."
    odd = next((one for one in out if isinstance(one, bool) or not isinstance(one, int | float | Tensor)), None)
    return None if odd is None else f"{odd!r} is not a number."


def _norms_value(gradient_norms: Norms) -> str | None:
    body, x = _blocks(), torch.randn(B, T, C)
    out = torch.tensor([float(one) for one in gradient_norms(body, x.clone())])
    body.zero_grad()
    body(x).square().mean().backward()
    gradients = [[p.grad for p in block.parameters() if p.grad is not None] for block in body]
    right = torch.stack([torch.cat([g.flatten() for g in ones]).norm() for ones in gradients])
    mistakes = {
        "These are the norms of the weights themselves: take those of their gradients, `parameter.grad`.": torch.stack(
            [torch.cat([p.detach().flatten() for p in block.parameters()]).norm() for block in body]
        ),
        "The norms of weight and bias are summed: concatenate a block's gradients into one vector and take its "
        "norm.": torch.stack([torch.stack([g.norm() for g in ones]).sum() for ones in gradients]),
        "These are squares: a norm is the root of the sum of squares.": right**2,
        "The highest block comes first: begin with the lowest.": right.flip(0),
        "The loss is the sum: take the mean of the squares, `out.square().mean()`.": right * B * T * C,
        "All are zero: call `backward()` on the loss, then read `grad`.": torch.zeros(4),
    }
    return value_fault(out, right, mistakes, ("block",))


def _norms_again(gradient_norms: Norms) -> str | None:
    body, x = _blocks(), torch.randn(B, T, C)
    first, second = ([float(one) for one in gradient_norms(body, x)] for _ in range(2))
    if torch.allclose(torch.tensor(first), torch.tensor(second)):
        return None
    return (
        f"Called twice, it gives {first[0]:.4f} and then {second[0]:.4f} for the lowest block: `backward()` adds to "
        "the existing gradients. Set them to zero first, with `zero_grad()`."
    )


@cache
def _without_residual() -> Outcome:
    norms = compare_gradients()["without"]
    ratio = norms[-1] / norms[0]
    answer = "over a thousand times" if ratio > 1000 else "about ten times" if ratio > 3 else "hardly"
    return Outcome(
        answer,
        f"Of twelve blocks without residual connections, the highest has a gradient of {norms[-1]:.1e} and the lowest "
        f"{norms[0]:.1e}, {ratio:,.0f} times smaller: each block on the way down costs a factor.",
    )


EXERCISES = (
    Exercise(
        name="Block",
        task="Write a block from two given parts: attention, then the feed-forward network, each added to the stream "
        "that it reads.",
        heading="# 7. Depth that trains: residual connections",
        checks=(
            Check("a module", lambda block: module_fault(block, *two_parts(C))),
            Check("the shape", lambda block: shape_fault(block(*two_parts(C))(torch.randn(B, T, C)), "B T C", SIZES)),
            Check("its parts are found", _block_parts),
            Check("each part is added", _block_value),
            Check("the input is left alone", lambda block: mutation_fault(block(*two_parts(C)), torch.randn(B, T, C))),
            Check("every layer learns", _block_gradient),
        ),
    ),
    Exercise(
        name="gradient_norms",
        task="Measure the gradient by depth: apply the blocks to x, take the mean square of the output as the loss, "
        "and return for each block, from the lowest up, the norm of the gradients of all its parameters.",
        heading="What reaches the bottom",
        checks=(
            Check("one number per block", _norms_list),
            Check("the right numbers", _norms_value),
            Check("the same when called again", _norms_again),
        ),
    ),
    prediction_exercise(
        name="SMALLER_WITHOUT_RESIDUAL",
        task="Twelve untrained blocks without residual connections, one batch, one backward pass: how much smaller is "
        "the gradient of the lowest block than that of the highest?",
        heading="What reaches the bottom",
        choices=("hardly", "about ten times", "over a thousand times"),
        experiment=_without_residual,
    ),
)
