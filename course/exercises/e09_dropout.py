"""Exercises of section 9: dropout, measuring without it, and what it costs when it is left on."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from course.exercises.base import Check, Effect, Exercise, break_it
from course.exercises.probe import count_of, gradient_fault, input_fault, module_fault, shape_fault
from course.exercises.trial import short_training
from course.s01_bigram import Bigram, cross_entropy
from course.s09_dropout import middle_model

B, T, C, P = 20, 70, 50, 0.2

Dropout = Callable[[float], nn.Module]
Measure = Callable[[nn.Module, Tensor, Tensor], Any]


def ones() -> Tensor:
    return torch.ones(B, T, C)


def dropout_module(dropout: type[nn.Module]) -> str | None:
    if fault := module_fault(dropout, P):
        return fault
    return "It has something to learn: dropout has nothing to." if count_of(dropout(P)) else None


def dropout_shape(dropout: Dropout) -> str | None:
    return shape_fault(dropout(P)(ones()), "B T C", {"B": B, "T": T, "C": C})


def dropout_evaluation(dropout: Dropout) -> str | None:
    x = torch.randn(B, T, C)
    out = dropout(P).eval()(x.clone())
    if torch.equal(out, x):
        return None
    if (out == 0).any() and torch.equal(dropout(P)(x.clone()), x):
        return "It is the wrong way round: it leaves numbers out in evaluation, and none while training."
    if (out == 0).any():
        return (
            f"In evaluation it leaves {(out == 0).float().mean():.0%} of the numbers out: it should do so only while "
            "`self.training` is true."
        )
    factor = (out / x).mean().item()
    return (
        f"In evaluation it multiplies by {factor:.2f}: what goes in should come out, and all scaling belong to "
        "training."
    )


def dropout_share(dropout: Dropout) -> str | None:
    out = dropout(P)(ones())
    zeros = (out == 0).float().mean().item()
    if abs(zeros - P) < 0.02 or (0 < zeros < 1 and _groups(out)):  # of a few groups, the share is uncertain
        return None
    if abs(zeros - (1 - P)) < 0.02:
        return f"With p = {P} it leaves out {zeros:.0%}: p is the share that is left out, not the one that is kept."
    return f"With p = {P} it leaves out {zeros:.0%} of the numbers while training: it should be {P:.0%}."


def _groups(out: Tensor) -> str | None:
    """Along which dimension all are left out together, if they are."""
    zeros = out == 0
    for dim, words in (
        (2, "all channels of a position"),
        (1, "all positions of a piece"),
        (0, "all pieces of the batch"),
    ):
        if torch.equal(zeros, zeros.narrow(dim, 0, 1).expand_as(zeros)):
            return words
    return None


def dropout_alone(dropout: Dropout) -> str | None:
    words = _groups(dropout(P)(ones()))
    if words is None:
        return None
    return f"The same is left out for {words}: draw for each number by itself, `torch.rand_like(x)`."


def dropout_anew(dropout: Dropout) -> str | None:
    one = dropout(P)
    if not torch.equal(one(ones()) == 0, one(ones()) == 0):
        return None
    return "Called twice, it leaves out the same numbers: draw in `forward`, each time anew, and set no seed."


def dropout_scale(dropout: Dropout) -> str | None:
    out = dropout(P)(ones())
    kept = out[out != 0]
    factor, wanted = kept.mean().item(), 1 / (1 - P)
    if torch.allclose(kept, torch.tensor(wanted), rtol=1e-4):
        return None
    known = {
        1.0: f"What is kept stays as it is, and the mean falls by {P:.0%}: multiply it by 1 / (1 - p) = {wanted}.",
        1 - P: f"What is kept is multiplied by 1 - p = {1 - P}: divide by it, so that the mean stays.",
        1 / P: f"What is kept is divided by p: divide it by 1 - p = {1 - P}, the share that is kept.",
    }
    for value, sentence in known.items():
        if abs(factor - value) < 1e-3:
            return sentence
    return f"What is kept is multiplied by {factor:.3f}: for p = {P} it should be 1 / (1 - p) = {wanted}."


def dropout_of_nothing(dropout: Dropout) -> str | None:
    x = torch.randn(B, T, C)
    if torch.allclose(dropout(0.0)(x.clone()), x):
        return None
    return "With p = 0 something changes: nothing is to be left out, and nothing scaled."


def dropout_input(dropout: Dropout) -> str | None:
    with torch.no_grad():
        return input_fault(dropout(P), torch.randn(B, T, C))


def dropout_gradient(dropout: Dropout) -> str | None:
    return gradient_fault(dropout(P), torch.randn(B, T, C))


# evaluation_loss


class Watched(nn.Module):
    """A table of pairs with dropout, that notes how it is called: (B, T) -> (B, T, V)."""

    def __init__(self) -> None:
        super().__init__()
        table = Bigram(11)
        nn.init.normal_(table.table.weight)
        self.inner = nn.Sequential(table, nn.Dropout(0.5))
        self.training_then: list[bool] = []
        self.gradients_then: list[bool] = []

    def forward(self, idx: Tensor) -> Tensor:
        self.training_then.append(self.training)
        self.gradients_then.append(torch.is_grad_enabled() and not torch.is_inference_mode_enabled())
        logits: Tensor = self.inner(idx)
        return logits


def measured(evaluation_loss: Measure, *, training: bool = True) -> tuple[Watched, Any, float]:
    """The model after it was measured, what was returned, and what is right."""
    model = Watched()
    idx, targets = torch.randint(11, (5, 7)), torch.randint(11, (5, 7))
    with torch.no_grad():
        right = cross_entropy(model.eval().inner(idx), targets).item()
    out = evaluation_loss(model.train(training), idx, targets)
    return model, out, right


def measure_number(evaluation_loss: Measure) -> str | None:
    model, out, _ = measured(evaluation_loss)
    if not model.training_then:
        return "The model was not asked: call `model(idx)` for the logits."
    if isinstance(out, Tensor) and out.dim() == 0:
        return "It returns a tensor: a Python number is wanted, by `.item()`."
    if isinstance(out, bool) or not isinstance(out, float):
        return f"It returns a {type(out).__name__}: a number is wanted, the loss."
    return None


def measure_mode(evaluation_loss: Measure) -> str | None:
    if not any(measured(evaluation_loss)[0].training_then):
        return None
    return "Dropout was on while it measured: call `model.eval()` before the model is asked."


def measure_value(evaluation_loss: Measure) -> str | None:
    _, out, right = measured(evaluation_loss)
    if abs(out - right) < 1e-4:
        return None
    if abs(out - 35 * right) < 1e-2:
        return "It is the sum over all positions: take the mean."
    return f"It measures {out:.4f}, and {right:.4f} is right: the mean cross-entropy over all positions of all pieces."


def measure_gradients(evaluation_loss: Measure) -> str | None:
    if not any(measured(evaluation_loss)[0].gradients_then):
        return None
    return (
        "All that a gradient would need was kept while it measured, and takes memory for nothing: ask the model under "
        "`torch.no_grad()`."
    )


def measure_restores(evaluation_loss: Measure) -> str | None:
    if not measured(evaluation_loss, training=True)[0].training:
        return "The model was training before, and is in evaluation after: from then on, dropout is off. Set it back."
    if measured(evaluation_loss, training=False)[0].training:
        return (
            "The model was in evaluation before, and is training after: keep `model.training` first, and set that back."
        )
    return None


@cache
def left_on() -> Effect:
    result = short_training(
        lambda vocab_size: middle_model(vocab_size, 0.2, block_size=8), steps=200, learning_rate=3e-3
    )
    model, windows = result.model, result.validation[: len(result.validation) // 9 * 9].view(-1, 9)  # (N, T + 1)
    torch.manual_seed(0)
    with torch.no_grad():
        off, on = (cross_entropy(model.train(mode)(windows[:, :-1]), windows[:, 1:]).item() for mode in (False, True))
    answer = "higher" if on > off + 0.02 else "lower" if on < off - 0.02 else "the same"
    return Effect(
        answer,
        f"After a short training with a fifth left out, the validation loss is {off:.2f} with dropout off, and "
        f"{on:.2f} with it left on: part of what the model knows is missing from each answer, and the loss differs "
        "from call to call.",
    )


EXERCISES = (
    Exercise(
        name="Dropout",
        task="Write dropout: while training, each number is 0 with probability p, and what is kept is scaled so that "
        "the mean stays; in evaluation nothing happens.",
        look="# 9. Learning by heart, and what helps against it: dropout",
        stub='''
class Dropout(nn.Module):
    """While training, each number is 0 with probability p; in evaluation nothing changes. Any shape."""

    def __init__(self, p: float) -> None:
        super().__init__()
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError
''',
        checks=(
            Check("a module with nothing to learn", dropout_module),
            Check("the shape", dropout_shape),
            Check("in evaluation nothing happens", dropout_evaluation),
            Check("a share of p is left out", dropout_share),
            Check("each number for itself", dropout_alone),
            Check("anew each time", dropout_anew),
            Check("the mean stays", dropout_scale),
            Check("p = 0", dropout_of_nothing),
            Check("the input is left alone", dropout_input),
            Check("gradients pass through", dropout_gradient),
        ),
    ),
    Exercise(
        name="evaluation_loss",
        task="Measure a model that has dropout in it: the mean cross-entropy of its logits, as a number, with dropout "
        "off and no gradients kept. Afterwards the model should be in the mode in which you got it.",
        look="Where it goes",
        stub='''
def evaluation_loss(model: nn.Module, idx: Tensor, targets: Tensor) -> float:
    """The model's mean loss for token ids (B, T) and targets (B, T), with dropout off."""
    raise NotImplementedError
''',
        checks=(
            Check("a number", measure_number),
            Check("dropout is off", measure_mode),
            Check("the right number", measure_value),
            Check("no gradients are kept", measure_gradients),
            Check("the mode is as before", measure_restores),
        ),
    ),
    break_it(
        name="LOSS_WITH_DROPOUT_ON",
        task="A model is trained with dropout, and in evaluation somebody forgets `model.eval()`. Against what it "
        "would be with dropout off, the validation loss is...",
        look="# 9. Learning by heart, and what helps against it: dropout",
        choices=("lower", "the same", "higher"),
        experiment=left_on,
    ),
)
