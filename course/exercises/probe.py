"""Looking at what a learner wrote from outside: shapes, numbers, places that move, gradients.

Every function here returns a sentence in the learner's terms where something is amiss, and None where not. Positions
and channels are counted from 0, as in the code. Sizes are different primes wherever possible, so that a shape tells
which dimension is where.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

AXES = {2: ("position", "channel"), 3: ("piece", "position", "channel"), 4: ("piece", "head", "position", "channel")}

CUT_OFF = (
    "No gradient passes through it, so nothing before it can learn: look for `.detach()`, `.data`, `torch.no_grad()`, "
    "`.item()` or `torch.tensor(...)`."
)


def shape_fault(out: Any, letters: str, sizes: Mapping[str, int]) -> str | None:
    """Whether `out` is a tensor of the shape that the letters say: "B T C" with sizes {"B": 2, "T": 7, "C": 5}."""
    expected = tuple(sizes[letter] for letter in letters.split())
    wanted = f"{expected}, which is ({', '.join(letters.split())})"
    if out is None:
        return f"It returned nothing. End it with `return` and a tensor of shape {wanted}."
    if not isinstance(out, Tensor):
        return f"It returned a {type(out).__name__}, and not a tensor of shape {wanted}."
    if tuple(out.shape) != expected:
        return f"Its result has the shape {tuple(out.shape)}{_in_letters(out, sizes)}. It should have {wanted}."
    return None


def _in_letters(out: Tensor, sizes: Mapping[str, int]) -> str:
    """A shape in letters, where each of its sizes has one and only one."""
    names = {size: letter for letter, size in sizes.items()}
    if len(names) < len(sizes) or not all(size in names for size in out.shape) or not out.shape:
        return ""
    return f", which is ({', '.join(names[size] for size in out.shape)})"


def close(a: Tensor, b: Tensor) -> bool:
    """Equal up to rounding."""
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)


def compare(
    out: Tensor, expected: Tensor, mistakes: Mapping[str, Tensor] | None = None, axes: Sequence[str] = ()
) -> str | None:
    """Whether the numbers are right; if not, the mistake that gives just these, or where they differ."""
    if close(out, expected):
        return None
    for sentence, wrong in (mistakes or {}).items():
        if close(out, wrong):
            return sentence
    return difference(out, expected, axes)


def difference(out: Tensor, expected: Tensor, axes: Sequence[str] = ()) -> str:
    """Where two tensors of one shape differ most."""
    if expected.dim() == 0:
        return f"It gives {out.item():.4f}, and {expected.item():.4f} is right."
    gaps = (out.double() - expected.double()).abs().nan_to_num(torch.inf)
    index = tuple(int(i) for i in torch.unravel_index(gaps.argmax(), gaps.shape))
    axes = axes or AXES.get(expected.dim(), ("place",) * expected.dim())
    place = ", ".join(f"{axis} {i}" for axis, i in zip(axes, index))
    return f"At {place} it gives {out[index].item():.4f}, and {expected[index].item():.4f} is right."


def moved_positions(function: Callable[[Tensor], Tensor], x: Tensor, changed: int) -> list[int]:
    """The positions whose output moves when the input at one position does: x (1, T, C) or token ids (1, T)."""
    other = x.clone()
    if x.is_floating_point():
        other[:, changed] = other[:, changed] + 1.0 + torch.randn_like(other[:, changed])
    else:
        other[:, changed] = (other[:, changed] + 1) % (int(x.max()) + 1)
    with torch.no_grad():
        out = function(x.clone())
        moved = (function(other.clone()) - out)[0].abs().nan_to_num(torch.inf)  # (T, ...)
    rounding = 1e-5 * max(1.0, out.abs().max().item())
    return [t for t, most in enumerate(moved.flatten(1).amax(dim=1).tolist()) if most > rounding]


def future_fault(function: Callable[[Tensor], Tensor], x: Tensor, advice: str) -> str | None:
    """Whether a position notices a change after it."""
    for changed in reversed(range(x.shape[1])):
        early = [t for t in moved_positions(function, x, changed) if t < changed]
        if early:
            return f"Position {early[-1]} changed when only position {changed} did: {advice}"
    return None


def input_fault(function: Callable[..., Any], *inputs: Tensor) -> str | None:
    """Whether a function writes into the tensors that it is given."""
    before = [one.clone() for one in inputs]
    function(*inputs)
    if all(torch.equal(one, old) for one, old in zip(inputs, before)):
        return None
    return (
        "It changed the tensor that it was given, and whoever called it still needs that: write `x = x + ...` in place "
        "of `x += ...`, and `masked_fill` in place of `masked_fill_`."
    )


def gradient_fault(function: Callable[..., Any], *inputs: Tensor) -> str | None:
    """Whether gradients reach every input."""
    inputs = tuple(one.clone().requires_grad_() for one in inputs)
    out = function(*inputs)
    if not isinstance(out, Tensor) or not out.requires_grad:
        return CUT_OFF
    (out * torch.rand_like(out)).sum().backward()
    return None if all(one.grad is not None and one.grad.any() for one in inputs) else CUT_OFF


def unused_fault(module: nn.Module, *inputs: Tensor) -> str | None:
    """Whether every parameter has a say in what the module gives."""
    module.zero_grad()
    out = module(*inputs)
    if not out.requires_grad:
        return CUT_OFF
    (out * torch.rand_like(out)).sum().backward()
    named = module.named_parameters()
    idle = [name for name, one in named if one.grad is None or (not is_vector(one) and not one.grad.any())]
    if idle:
        return f"`{idle[0]}` has no say in the result: its gradient is zero, so it would never learn. Is it used?"
    return None


def past_fault(function: Callable[[Tensor], Tensor], x: Tensor, advice: str) -> str | None:
    """Whether the last position notices a change of the first."""
    last = x.shape[1] - 1
    if last in moved_positions(function, x, 0):
        return None
    return f"Position 0 changed, and position {last} did not notice: {advice}"


def module_fault(thing: Any, *arguments: Any, **sizes: int) -> str | None:
    """Whether it is a class of modules, and can be made as the stub has it."""
    if not (isinstance(thing, type) and issubclass(thing, nn.Module)):
        return "It should be a class that begins with `class Name(nn.Module):`, as in the stub."
    thing(*arguments, **sizes)
    return None


def is_vector(parameter: Tensor) -> bool:
    """Whether it is a bias or a norm's gain, in whatever shape: (C,), (1, C), (1, 1, C)."""
    return parameter.numel() == max(parameter.shape, default=1)


@torch.no_grad()
def made(kind: Callable[..., nn.Module], *arguments: Any, **sizes: int) -> nn.Module:
    """A module to look at: its matrices and tables drawn anew, its dropout off.

    Which numbers a learner lets it start with is not what these checks are about, and zeros, a common choice for the
    last layer of a part, would hide what it does.
    """
    module = kind(*arguments, **sizes).eval()
    for parameter in module.parameters():
        if not is_vector(parameter):
            parameter.normal_(0, 0.3)
    return module


def matrices_in(module: nn.Module) -> dict[str, Tensor]:
    """Its matrices and tables, by their names, without dimensions of size 1: a convolution may be a linear layer."""
    return {name: one.detach().float().squeeze() for name, one in module.named_parameters() if not is_vector(one)}


def count_of(module: nn.Module) -> int:
    """How many numbers it learns."""
    return sum(parameter.numel() for parameter in module.parameters())


def is_scalar(out: Any) -> bool:
    return isinstance(out, Tensor) and out.dim() == 0
