"""Exercises of section 7: a block that adds, what reaches the bottom, and twelve blocks that only replace."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from course.exercises.base import Check, Effect, Exercise, break_it
from course.exercises.probe import compare, count_of, input_fault, module_fault, shape_fault, unused_fault
from course.s07_residual import compare_gradients

B, T, C = 2, 7, 5
SIZES = {"B": B, "T": T, "C": C}

Block = Callable[[nn.Module, nn.Module], nn.Module]
Norms = Callable[[nn.Sequential, Tensor], Any]


def parts() -> tuple[nn.Module, nn.Module]:
    """Two that stand for attention and feed-forward network, and do not commute."""
    return nn.Sequential(nn.Linear(C, C), nn.Tanh()), nn.Sequential(nn.Linear(C, C), nn.Sigmoid())


def block_module(block: type[nn.Module]) -> str | None:
    return module_fault(block, *parts())


def block_shape(block: Block) -> str | None:
    return shape_fault(block(*parts())(torch.randn(B, T, C)), "B T C", SIZES)


def block_parts(block: Block) -> str | None:
    attention, feed_forward = parts()
    count, expected = count_of(block(attention, feed_forward)), count_of(attention) + count_of(feed_forward)
    if count == expected:
        return None
    if count > expected:
        return f"It learns {count - expected} numbers of its own: a block has nothing beside its two parts."
    return (
        f"Of the {expected} numbers in its two parts it knows {count}: set each part on `self` by itself, or in an "
        "`nn.ModuleList`. In a Python list they are not found, and never trained."
    )


def block_value(block: Block) -> str | None:
    attention, feed_forward = parts()
    x = torch.randn(B, T, C)
    with torch.no_grad():
        out = block(attention, feed_forward).eval()(x.clone())
        a = attention(x)
        stream, turned = x + a, x + feed_forward(x)
        mistakes = {
            "Nothing is added: each part replaces what it reads. Write `x + part(x)`, twice.": feed_forward(a),
            "Only the feed-forward network is added to what it reads: attention's output replaces the stream. Write "
            "`x = x + self.attention(x)`.": a + feed_forward(a),
            "Only attention is added to what it reads: the feed-forward network's output replaces the stream. Add that "
            "to it as well.": feed_forward(stream),
            "Both parts read the same x: the feed-forward network should read what attention has already added to.": x
            + a
            + feed_forward(x),
            "The second plus adds the x of the beginning: add to what attention left, or attention's share is lost.": x
            + feed_forward(stream),
            "The feed-forward network reads what attention says, and not the stream that it was added to.": x
            + feed_forward(a),
            "The feed-forward network reads attention's output alone: it should read the stream, x + attention(x).": x
            + a
            + feed_forward(a),
            "The feed-forward network comes first: talk, then think.": turned + attention(turned),
            "The stream is added twice: once is enough.": stream + x + feed_forward(stream),
        }
        return compare(out, stream + feed_forward(stream), mistakes)


def block_input(block: Block) -> str | None:
    with torch.no_grad():
        return input_fault(block(*parts()), torch.randn(B, T, C))


def block_gradient(block: Block) -> str | None:
    return unused_fault(block(*parts()), torch.randn(B, T, C))


def blocks() -> nn.Sequential:
    return nn.Sequential(*(nn.Sequential(nn.Linear(C, C), nn.Tanh()) for _ in range(4)))


def norms_list(gradient_norms: Norms) -> str | None:
    out = gradient_norms(blocks(), torch.randn(B, T, C))
    if not isinstance(out, list | tuple):
        return f"It should return a list of numbers, and returned {type(out).__name__}."
    if len(out) != 4:
        return f"For 4 blocks it returned {len(out)} numbers: one for each block, with all that the block learns in it."
    odd = next((one for one in out if isinstance(one, bool) or not isinstance(one, int | float | Tensor)), None)
    return None if odd is None else f"{odd!r} is no number."


def norms_value(gradient_norms: Norms) -> str | None:
    body, x = blocks(), torch.randn(B, T, C)
    out = torch.tensor([float(one) for one in gradient_norms(body, x.clone())])
    body.zero_grad()
    body(x).square().mean().backward()
    gradients = [[p.grad for p in block.parameters() if p.grad is not None] for block in body]
    right = torch.stack([torch.cat([g.flatten() for g in ones]).norm() for ones in gradients])
    mistakes = {
        "These are the norms of the weights themselves: take those of their gradients, `parameter.grad`.": torch.stack(
            [torch.cat([p.detach().flatten() for p in block.parameters()]).norm() for block in body]
        ),
        "The norms of weight and bias are added: put a block's gradients into one vector and take its "
        "norm.": torch.stack([torch.stack([g.norm() for g in ones]).sum() for ones in gradients]),
        "These are squares: a norm is the root of the sum of squares.": right**2,
        "The highest block comes first: begin with the lowest.": right.flip(0),
        "The loss is a sum: take the mean of the squares, `out.square().mean()`.": right * B * T * C,
        "All are zero: call `backward()` on the loss, and read `grad` after it.": torch.zeros(4),
    }
    return compare(out, right, mistakes, ("block",))


def norms_again(gradient_norms: Norms) -> str | None:
    body, x = blocks(), torch.randn(B, T, C)
    first, second = ([float(one) for one in gradient_norms(body, x)] for _ in range(2))
    if torch.allclose(torch.tensor(first), torch.tensor(second)):
        return None
    return (
        f"Called twice, it gives {first[0]:.4f} and then {second[0]:.4f} for the lowest block: `backward()` adds to "
        "the gradients that are there. Set them to zero first, with `zero_grad()`."
    )


@cache
def without_residual() -> Effect:
    norms = compare_gradients()["without"]
    ratio = norms[-1] / norms[0]
    answer = "over a thousand times" if ratio > 1000 else "about ten times" if ratio > 3 else "hardly"
    return Effect(
        answer,
        f"Of twelve blocks without the plus signs, the highest has a gradient of {norms[-1]:.1e} and the lowest "
        f"{norms[0]:.1e}, {ratio:,.0f} times smaller: each block on the way down costs a factor.",
    )


EXERCISES = (
    Exercise(
        name="Block",
        task="Write a block that is given its two parts: attention, then the feed-forward network, and each is added "
        "to the stream that it has read.",
        look="# 7. Depth that trains: residual connections",
        stub='''
class Block(nn.Module):
    """Attention, then feed-forward, each added to the stream: (B, T, C) -> (B, T, C)."""

    def __init__(self, attention: nn.Module, feed_forward: nn.Module) -> None:
        super().__init__()
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError
''',
        checks=(
            Check("a module", block_module),
            Check("the shape", block_shape),
            Check("its parts are found", block_parts),
            Check("each part is added", block_value),
            Check("the input is left alone", block_input),
            Check("every layer learns", block_gradient),
        ),
    ),
    Exercise(
        name="gradient_norms",
        task="Measure what reaches the bottom: put x through the blocks, let the loss be the mean of the squares of "
        "what comes out, and return for each block, from the lowest up, the norm of the gradients of all its "
        "parameters.",
        look="What reaches the bottom",
        stub='''
def gradient_norms(body: nn.Sequential, x: Tensor) -> list[float]:
    """The norm of the gradient of each block of `body`, from the lowest up, for the loss `body(x).square().mean()`."""
    raise NotImplementedError
''',
        checks=(
            Check("a number for each block", norms_list),
            Check("the right numbers", norms_value),
            Check("and again when called again", norms_again),
        ),
    ),
    break_it(
        name="SMALLER_WITHOUT_RESIDUAL",
        task="Twelve untrained blocks without the plus signs, one batch, one backward: how much smaller is the "
        "gradient of the lowest block than that of the highest?",
        look="What reaches the bottom",
        choices=("hardly", "about ten times", "over a thousand times"),
        experiment=without_residual,
    ),
)
