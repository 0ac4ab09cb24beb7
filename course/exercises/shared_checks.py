"""Checks that several exercises share: shapes, numbers, causality, gradients.

Each `..._fault` returns a sentence in the learner's terms where something is wrong, and None where not. Positions and
channels are counted from 0, as in the code. Sizes are different primes wherever possible, so that a shape shows which
dimension is where.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

AXES = {
    2: ("position", "channel"),
    3: ("sequence", "position", "channel"),
    4: ("sequence", "head", "position", "channel"),
}
NO_GRADIENT = (
    "No gradient passes through it, so nothing before it can learn: look for `.detach()`, `.data`, `torch.no_grad()`, "
    "`.item()` or `torch.tensor(...)`."
)


def shape_fault(out: Any, letters: str, sizes: Mapping[str, int]) -> str | None:
    """Check that `out` is a tensor of the shape in letters: "B T C" with sizes {"B": 2, "T": 7, "C": 5}."""
    expected = tuple(sizes[letter] for letter in letters.split())
    wanted = f"{expected}, which is ({', '.join(letters.split())})"
    if out is None:
        return f"It returned nothing. End it with `return` and a tensor of shape {wanted}."
    if not isinstance(out, Tensor):
        return f"It returned a {type(out).__name__} instead of a tensor of shape {wanted}."
    if tuple(out.shape) != expected:
        return f"The result has the shape {tuple(out.shape)}{_shape_in_letters(out, sizes)}. It should be {wanted}."
    return None


def _shape_in_letters(out: Tensor, sizes: Mapping[str, int]) -> str:
    """Name the shape in letters, where each size belongs to exactly one letter."""
    names = {size: letter for letter, size in sizes.items()}
    if len(names) < len(sizes) or not all(size in names for size in out.shape) or not out.shape:
        return ""
    return f", which is ({', '.join(names[size] for size in out.shape)})"


def nearly_equal(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are equal up to rounding."""
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)


def value_fault(
    out: Tensor, expected: Tensor, mistakes: Mapping[str, Tensor] | None = None, axes: Sequence[str] = ()
) -> str | None:
    """Check the numbers; name the mistake that gives exactly these numbers, or else where they differ."""
    if nearly_equal(out, expected):
        return None
    return matching_mistake(out, mistakes or {}) or largest_difference(out, expected, axes)


def matching_mistake(out: Tensor, mistakes: Mapping[str, Tensor]) -> str | None:
    """Return the sentence of the mistake that gives these numbers."""
    return next((sentence for sentence, wrong in mistakes.items() if nearly_equal(out, wrong)), None)


def largest_difference(out: Tensor, expected: Tensor, axes: Sequence[str] = ()) -> str:
    """Say where two tensors of the same shape differ most."""
    if expected.dim() == 0:
        return f"It gives {out.item():.4f}; {expected.item():.4f} is right."
    gaps = (out.double() - expected.double()).abs().nan_to_num(torch.inf)
    index = tuple(int(i) for i in torch.unravel_index(gaps.argmax(), gaps.shape))
    axes = axes or AXES.get(expected.dim(), ("index",) * expected.dim())
    where = ", ".join(f"{axis} {i}" for axis, i in zip(axes, index))
    return f"At {where} it gives {out[index].item():.4f}; {expected[index].item():.4f} is right."


def changed_positions(function: Callable[[Tensor], Tensor], x: Tensor, changed: int) -> list[int]:
    """Return the positions whose output changes with the input at one position: x (1, T, C) or token ids (1, T)."""
    other = x.clone()
    if x.is_floating_point():
        other[:, changed] = other[:, changed] + 1.0 + torch.randn_like(other[:, changed])
    else:
        other[:, changed] = (other[:, changed] + 1) % (int(x.max()) + 1)
    with torch.no_grad():
        out = function(x.clone())
        gaps = (function(other.clone()) - out)[0].abs().nan_to_num(torch.inf)  # (T, ...)
    rounding = 1e-5 * max(1.0, out.abs().max().item())
    return [t for t, gap in enumerate(gaps.flatten(1).amax(dim=1).tolist()) if gap > rounding]


def causality_fault(function: Callable[[Tensor], Tensor], x: Tensor, advice: str) -> str | None:
    """Check that no position depends on a later one."""
    for changed in reversed(range(x.shape[1])):
        early = [t for t in changed_positions(function, x, changed) if t < changed]
        if early:
            return f"Position {early[-1]} changed when only position {changed} did: {advice}"
    return None


def past_fault(function: Callable[[Tensor], Tensor], x: Tensor, advice: str) -> str | None:
    """Check that the last position depends on the first."""
    last = x.shape[1] - 1
    if last in changed_positions(function, x, 0):
        return None
    return f"Position 0 changed, and position {last} did not: {advice}"


@torch.no_grad()
def mutation_fault(function: Callable[..., Any], *inputs: Tensor) -> str | None:
    """Check that a function does not write into its input tensors."""
    before = [one.clone() for one in inputs]
    function(*inputs)
    if all(torch.equal(one, old) for one, old in zip(inputs, before)):
        return None
    return (
        "It changed its input tensor, which the caller still needs: write `x = x + ...` instead of `x += ...`, and "
        "`masked_fill` instead of `masked_fill_`."
    )


def gradient_fault(function: Callable[..., Any], *inputs: Tensor) -> str | None:
    """Check that gradients reach every input."""
    inputs = tuple(one.clone().requires_grad_() for one in inputs)
    out = function(*inputs)
    if not isinstance(out, Tensor) or not out.requires_grad:
        return NO_GRADIENT
    (out * torch.rand_like(out)).sum().backward()
    return None if all(one.grad is not None and one.grad.any() for one in inputs) else NO_GRADIENT


def unused_parameter_fault(module: nn.Module, *inputs: Tensor) -> str | None:
    """Check that every parameter gets a gradient."""
    module.zero_grad()
    out = module(*inputs)
    if not out.requires_grad:
        return NO_GRADIENT
    (out * torch.rand_like(out)).sum().backward()
    for name, one in module.named_parameters():
        if one.grad is None or (not is_vector(one) and not one.grad.any()):
            return f"`{name}` does not affect the result: its gradient is zero, so it would never learn. Is it used?"
    return None


def module_fault(answer: Any, *arguments: Any, **sizes: int) -> str | None:
    """Check that the answer is a class of modules that takes the stub's arguments."""
    if not (isinstance(answer, type) and issubclass(answer, nn.Module)):
        return "It should be a class that begins with `class Name(nn.Module):`, as in the stub."
    answer(*arguments, **sizes)
    return None


def is_vector(parameter: Tensor) -> bool:
    """Return whether a parameter is a bias or a norm's gain, in whatever shape: (C,), (1, C), (1, 1, C)."""
    return parameter.numel() == max(parameter.shape, default=1)


@torch.no_grad()
def build(kind: Callable[..., nn.Module], *arguments: Any, **sizes: int) -> nn.Module:
    """Build a module in evaluation mode, with its matrices and tables drawn at random.

    These checks do not judge initial weights, and zeros, a common choice for the last layer, would hide what it does.
    """
    module = kind(*arguments, **sizes).eval()
    for parameter in module.parameters():
        if not is_vector(parameter):
            parameter.normal_(0, 0.3)
    return module


def named_matrices(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's matrices and tables by name, without dimensions of size 1, as of a convolution of width 1."""
    return {name: one.detach().float().squeeze() for name, one in module.named_parameters() if not is_vector(one)}


def split_matrices(parameter: Tensor, rows: int, columns: int) -> list[Tensor]:
    """Split a parameter into the matrices (rows, columns) that it holds, stacked or transposed."""
    if parameter.dim() > 2:
        return [matrix for one in parameter for matrix in split_matrices(one, rows, columns)]
    if parameter.dim() != 2:
        return []
    for one in (parameter, parameter.T):
        if one.shape[1] == columns and one.shape[0] % rows == 0:
            return list(one.split(rows))
    return []


@torch.no_grad()
def zero_biases(module: nn.Module, smallest: int) -> None:
    """Set parameters with fewer than `smallest` numbers to zero: an answer is right with biases and without."""
    for parameter in module.parameters():
        if parameter.numel() < smallest:
            parameter.zero_()


def parameter_count(module: nn.Module) -> int:
    """Return how many numbers a module learns."""
    return sum(parameter.numel() for parameter in module.parameters())


def two_parts(n_embd: int) -> tuple[nn.Module, nn.Module]:
    """Return stand-ins for attention and feed-forward network that do not commute: (B, T, C) -> (B, T, C)."""
    return (
        nn.Sequential(nn.Linear(n_embd, n_embd), nn.Tanh()),
        nn.Sequential(nn.Linear(n_embd, n_embd), nn.Sigmoid()),
    )
