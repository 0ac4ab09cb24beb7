"""Exercises of section 5: cutting channels into heads, several heads, and what twice as many of them cost."""

import re
from collections.abc import Callable
from itertools import islice

import torch
from torch import Tensor, nn

from course.exercises.attention import LETS_IN, because, numbers_fault, silence_biases
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
    past_fault,
    shape_fault,
    unused_fault,
)
from course.exercises.several_heads import NO_TRANSPOSE_IN, heard_and_mixed, matrices_of, mixing_mistake, outputs
from course.s05_multi_head import BatchedMultiHead

B, T, H, D = 2, 7, 3, 5
C = H * D
SIZES = {"B": B, "T": T, "C": C, "H": H, "D": D}

Split = Callable[[Tensor, int], Tensor]


def split_shape(split_heads: Split) -> str | None:
    return shape_fault(split_heads(torch.randn(B, T, C), H), "B H T D", SIZES)


def split_value(split_heads: Split) -> str | None:
    x = torch.randn(B, T, C)
    right = x.view(B, T, H, D).transpose(1, 2)
    mistakes = {
        NO_TRANSPOSE_IN: x.view(B, H, T, D),
        "The channels are dealt out to the heads like cards: head 0 should have the first D of them, head 1 the next "
        "D. View them as (B, T, H, D), in this order.": x.view(B, T, D, H).permute(0, 3, 1, 2),
        "The transpose comes too early: after `transpose(1, 2)` a row is a channel, and is cut up as if it were a "
        "position. View them as (B, T, H, D) first.": x.transpose(1, 2).reshape(B, H, T, D),
        "The heads stand in the reverse order: head 0 should have the first D channels.": right.flip(1),
    }
    return compare(split_heads(x.clone(), H), right, mistakes)


def split_one(split_heads: Split) -> str | None:
    x = torch.randn(B, T, C)
    return shape_fault(split_heads(x, 1), "B H T D", {"B": B, "H": 1, "T": T, "D": C})


def split_input(split_heads: Split) -> str | None:
    return input_fault(lambda x: split_heads(x, H), torch.randn(B, T, C))


def split_gradient(split_heads: Split) -> str | None:
    return gradient_fault(lambda x: split_heads(x, H), torch.randn(B, T, C))


def heads_module(multi_head: type[nn.Module]) -> str | None:
    return module_fault(multi_head, C, H)


def heads_shape(multi_head: type[nn.Module]) -> str | None:
    try:
        out = made(multi_head, C, H)(torch.randn(B, T, C))
    except RuntimeError as error:
        if sentence := joined_wrongly(str(error)):
            return sentence
        raise
    return shape_fault(out, "B T C", SIZES)


def joined_wrongly(error: str) -> str | None:
    """How the heads' outputs were put together, where the projection could not take them."""
    match = re.search(r"\((\d+)x(\d+) and", error)
    if match is None or int(match[2]) != D:
        return None
    if int(match[1]) == B * H * T:
        return (
            "The heads are put one below the other, or not joined: side by side, along the last dimension, they "
            "make up C."
        )
    return (
        f"What goes into the projection has {D} channels, as much as a single head: put what the heads heard side by "
        "side, with `torch.cat(..., dim=-1)`. Added up, it cannot be told apart again."
    )


def heads_parameters(multi_head: type[nn.Module]) -> str | None:
    count = count_of(multi_head(C, H))
    biases = {0, C, 2 * C, 3 * C, 4 * C}  # with or without, for each of the four
    if count - 4 * C * C in biases:
        return None
    known = {
        3 * C * C: f"The projection is missing: one more layer, of {C} to {C}, that mixes what the heads heard.",
        C * C: "Its heads are not found: in a Python list they are not its parts, and are never trained. Take "
        "`nn.ModuleList`.",
        3 * C * D + C * C: f"There is one head, used {H} times: `[Head(...)] * n_head` is the same one over and over.",
        4 * H * C * C: "Each head is as wide as the whole input: its size is n_embd // n_head.",
        0: "It has nothing to learn. In a Python list, layers are not found: take `nn.ModuleList`.",
    }
    for size, sentence in known.items():
        if count - size in biases:
            return sentence
    return (
        f"It has {count} numbers to learn for C = {C} and H = {H}: query, key, value and projection have C · C = "
        f"{C * C} each, whatever H is, together {4 * C * C}, and biases."
    )


def heads_numbers(multi_head: type[nn.Module]) -> str | None:
    return numbers_fault(made(multi_head, C, H)(torch.randn(1, T, C))[0])


def heads_future(multi_head: type[nn.Module]) -> str | None:
    one, x = made(multi_head, C, H), torch.randn(B, T, C)
    silence_biases(one, C * D)
    fault = future_fault(one, x[:1], LETS_IN)
    if fault is None:
        return None
    known = mixing_mistake(one(x).detach(), x, one, H, D)
    return because(fault, known) if known else fault


def heads_past(multi_head: type[nn.Module]) -> str | None:
    return past_fault(
        made(multi_head, C, H),
        torch.randn(1, T, C),
        "no position hears another. `q @ k.transpose(-2, -1)` compares the rows of the last two dimensions. With "
        "(B, T, H, D) the rows are heads, and the heads of one position listen to each other; with (B, H, T, D) they "
        "are positions, as they should be.",
    )


def heads_formula(multi_head: type[nn.Module]) -> str | None:
    one, x = made(multi_head, C, H), torch.randn(B, T, C)
    silence_biases(one, C * D)
    out = one(x.clone()).detach()
    first = None
    for matrices in matrices_of(one, H, D):
        right = heard_and_mixed(x, matrices)
        if close(out, right):
            return None
        first = right if first is None else first
    for matrices in islice(matrices_of(one, H, D), 400):
        for sentence, wrong in outputs(x, matrices)[1].items():
            if close(out, wrong):
                return sentence
    if first is None:
        return "Its parameters are not those of query, key, value and projection, whether by head or for all heads."
    return f"With its own matrices, the formula gives other numbers. {difference(out, first)}"


def heads_use_all(multi_head: type[nn.Module]) -> str | None:
    return unused_fault(made(multi_head, C, H), torch.randn(B, T, C))


def twice_the_heads() -> Effect:
    six, twelve = (count_of(BatchedMultiHead(48, n_head)) for n_head in (6, 12))
    return Effect(
        "as many" if six == twelve else "more",
        f"Six heads of size 8 have {six:,} numbers to learn, twelve heads of size 4 {twelve:,}: heads divide the "
        "channels among them, so that H times D is C whatever H is. What changes is who talks with whom.",
    )


EXERCISES = (
    Exercise(
        name="split_heads",
        task="Cut the channels of each position into heads: head 0 gets the first D = C / H of them, head 1 the next "
        "D, and so on; and put the heads beside the batch.",
        look="The same, batched",
        stub='''
def split_heads(x: Tensor, n_head: int) -> Tensor:
    """(B, T, C) -> (B, H, T, D)."""
    raise NotImplementedError
''',
        checks=(
            Check("the shape", split_shape),
            Check("each head has its channels", split_value),
            Check("one head", split_one),
            Check("the input is left alone", split_input),
            Check("gradients pass through", split_gradient),
        ),
    ),
    Exercise(
        name="MultiHead",
        task="Write several heads of size C / H side by side, and a projection. By a list of heads (`from "
        "course.s04_self_attention import Head` is allowed) or in one product each for all heads, as you like.",
        look="# 5. Several conversations at once: multi-head attention",
        stub='''
class MultiHead(nn.Module):
    """Heads in parallel, concatenated and projected: (B, T, C) -> (B, T, C)."""

    def __init__(self, n_embd: int, n_head: int) -> None:
        super().__init__()
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError
''',
        checks=(
            Check("a module", heads_module),
            Check("the shape", heads_shape),
            Check("four matrices to learn", heads_parameters),
            Check("numbers everywhere", heads_numbers),
            Check("the future stays hidden", heads_future),
            Check("the past is heard", heads_past),
            Check("the formula", heads_formula),
            Check("every layer learns", heads_use_all),
        ),
    ),
    break_it(
        name="NUMBERS_OF_TWICE_THE_HEADS",
        task="Take twelve heads in place of six, for the same 48 channels. Has the layer more numbers to learn, as "
        "many, or fewer?",
        look="What we have",
        choices=("more", "as many", "fewer"),
        experiment=twice_the_heads,
    ),
)
