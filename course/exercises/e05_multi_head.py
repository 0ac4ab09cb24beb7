"""Exercises of section 5: splitting channels into heads, several heads, and the cost of twice as many."""

import re
from collections.abc import Callable
from itertools import islice

import torch
from torch import Tensor, nn

from course.exercises.attention import (
    FUTURE_VISIBLE,
    NO_TRANSPOSE_IN,
    known_leak,
    multi_head_matrices,
    multi_head_output,
    multi_head_variants,
    nan_fault,
    with_reason,
)
from course.exercises.base import Check, Exercise, Outcome, prediction_exercise
from course.exercises.shared_checks import (
    build,
    causality_fault,
    gradient_fault,
    largest_difference,
    matching_mistake,
    module_fault,
    mutation_fault,
    nearly_equal,
    parameter_count,
    past_fault,
    shape_fault,
    unused_parameter_fault,
    value_fault,
    zero_biases,
)
from course.s05_multi_head import BatchedMultiHead

B, T, H, D = 2, 7, 3, 5
C = H * D
SIZES = {"B": B, "T": T, "C": C, "H": H, "D": D}

Split = Callable[[Tensor, int], Tensor]


def _split_value(split_heads: Split) -> str | None:
    x = torch.randn(B, T, C)
    right = x.view(B, T, H, D).transpose(1, 2)
    mistakes = {
        NO_TRANSPOSE_IN: x.view(B, H, T, D),
        "The channels are interleaved among the heads: head 0 should have the first D of them, head 1 the next D. View "
        "them as (B, T, H, D), in this order.": x.view(B, T, D, H).permute(0, 3, 1, 2),
        "The transpose comes too early: after `transpose(1, 2)` a row is a channel, and is split as if it were a "
        "position. View them as (B, T, H, D) first.": x.transpose(1, 2).reshape(B, H, T, D),
        "The heads are in reverse order: head 0 should have the first D channels.": right.flip(1),
    }
    return value_fault(split_heads(x.clone(), H), right, mistakes)


def _split_one(split_heads: Split) -> str | None:
    x = torch.randn(B, T, C)
    return shape_fault(split_heads(x, 1), "B H T D", {"B": B, "H": 1, "T": T, "D": C})


def _split_input(split_heads: Split) -> str | None:
    return mutation_fault(lambda x: split_heads(x, H), torch.randn(B, T, C))


def _split_gradient(split_heads: Split) -> str | None:
    return gradient_fault(lambda x: split_heads(x, H), torch.randn(B, T, C))


def _heads_shape(multi_head: type[nn.Module]) -> str | None:
    try:
        out = build(multi_head, C, H)(torch.randn(B, T, C))
    except RuntimeError as error:
        if sentence := _joined_wrongly(str(error)):
            return sentence
        raise
    return shape_fault(out, "B T C", SIZES)


def _joined_wrongly(error: str) -> str | None:
    """Say how the heads' outputs were joined, from the projection's error about shapes."""
    match = re.search(r"\((\d+)x(\d+) and", error)
    if match is None or int(match[2]) != D:
        return None
    if int(match[1]) == B * H * T:
        return "The heads are not concatenated along the last dimension: there, H of them make up the C channels."
    return (
        f"The input of the projection has {D} channels, as many as a single head: concatenate the heads' outputs with "
        "`torch.cat(..., dim=-1)`. If they are summed, the projection cannot tell them apart."
    )


def _heads_parameters(multi_head: type[nn.Module]) -> str | None:
    count = parameter_count(multi_head(C, H))
    biases = {0, C, 2 * C, 3 * C, 4 * C}  # with or without, for each of the four
    if count - 4 * C * C in biases:
        return None
    known = {
        3 * C * C: f"The projection is missing: one more layer, from {C} to {C}, that mixes the heads' outputs.",
        C * C: "Its heads are not found: in a Python list they are never trained. Use `nn.ModuleList`.",
        3 * C * D + C * C: f"There is one head, used {H} times: `[Head(...)] * n_head` repeats the same one.",
        4 * H * C * C: "Each head is as wide as the whole input: its size is n_embd // n_head.",
        0: "It has nothing to learn. In a Python list, layers are not found: use `nn.ModuleList`.",
    }
    for size, sentence in known.items():
        if count - size in biases:
            return sentence
    return (
        f"It has {count} parameters for C = {C} and H = {H}: query, key, value and projection have C · C = {C * C} "
        f"each, whatever H is, together {4 * C * C}, and biases."
    )


def _heads_future(multi_head: type[nn.Module]) -> str | None:
    one, x = build(multi_head, C, H), torch.randn(B, T, C)
    zero_biases(one, C * D)
    fault = causality_fault(one, x[:1], FUTURE_VISIBLE)
    if fault is None:
        return None
    known = known_leak(one(x).detach(), x, one, H, D)
    return with_reason(fault, known) if known else fault


def _heads_past(multi_head: type[nn.Module]) -> str | None:
    return past_fault(
        build(multi_head, C, H),
        torch.randn(1, T, C),
        "no position attends to another. `q @ k.transpose(-2, -1)` compares the rows of the last two dimensions. With "
        "(B, T, H, D) the rows are heads, and the heads of one position attend to each other; with (B, H, T, D) they "
        "are positions, as they should be.",
    )


def _heads_formula(multi_head: type[nn.Module]) -> str | None:
    one, x = build(multi_head, C, H), torch.randn(B, T, C)
    zero_biases(one, C * D)
    out = one(x.clone()).detach()
    first = None
    for matrices in multi_head_matrices(one, H, D):
        right = multi_head_output(x, matrices)
        if nearly_equal(out, right):
            return None
        first = right if first is None else first
    for matrices in islice(multi_head_matrices(one, H, D), 400):
        if sentence := matching_mistake(out, multi_head_variants(x, matrices)[1]):
            return sentence
    if first is None:
        return "Its parameters are not those of query, key, value and projection, per head or for all heads."
    return f"With its own matrices, the formula gives other numbers. {largest_difference(out, first)}"


def _heads_use_all(multi_head: type[nn.Module]) -> str | None:
    return unused_parameter_fault(build(multi_head, C, H), torch.randn(B, T, C))


def _twice_the_heads() -> Outcome:
    six, twelve = (parameter_count(BatchedMultiHead(48, n_head)) for n_head in (6, 12))
    return Outcome(
        "as many" if six == twelve else "more",
        f"Six heads of size 8 have {six:,} parameters, twelve heads of size 4 have {twelve:,}: the heads divide the "
        "channels, so that H times D is C whatever H is. What changes is which positions attend to which.",
    )


EXERCISES = (
    Exercise(
        name="split_heads",
        task="Split the channels of each position into heads: head 0 gets the first D = C / H of them, head 1 the "
        "next D, and so on. The heads become a dimension after the batch.",
        heading="The same, batched",
        checks=(
            Check("the shape", lambda split_heads: shape_fault(split_heads(torch.randn(B, T, C), H), "B H T D", SIZES)),
            Check("each head has its channels", _split_value),
            Check("one head", _split_one),
            Check("the input is left alone", _split_input),
            Check("gradients pass through", _split_gradient),
        ),
    ),
    Exercise(
        name="MultiHead",
        task="Write several heads of size C / H in parallel, and a projection: as a list of heads (`from "
        "course.s04_self_attention import Head` is allowed), or with one product each for all heads.",
        heading="# 5. Several conversations at once: multi-head attention",
        checks=(
            Check("a module", lambda multi_head: module_fault(multi_head, C, H)),
            Check("the shape", _heads_shape),
            Check("four matrices to learn", _heads_parameters),
            Check("numbers everywhere", lambda multi_head: nan_fault(build(multi_head, C, H)(torch.randn(1, T, C))[0])),
            Check("the future stays hidden", _heads_future),
            Check("the past is used", _heads_past),
            Check("the formula", _heads_formula),
            Check("every layer learns", _heads_use_all),
        ),
    ),
    prediction_exercise(
        name="PARAMETERS_OF_TWICE_THE_HEADS",
        task="Take twelve heads instead of six, for the same 48 channels. Does the layer have more parameters, as "
        "many, or fewer?",
        heading="What we have",
        choices=("more", "as many", "fewer"),
        experiment=_twice_the_heads,
    ),
)
