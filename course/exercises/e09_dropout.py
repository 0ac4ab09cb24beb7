"""Exercises of section 9: dropout, evaluating without it, and the loss when it is left on."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from course.exercises.base import Check, Exercise, Outcome, prediction_exercise, train_briefly
from course.exercises.shared_checks import gradient_fault, module_fault, mutation_fault, parameter_count, shape_fault
from course.s01_bigram import Bigram, cross_entropy
from course.s09_dropout import medium_model

B, T, C, P = 20, 70, 50, 0.2

Dropout = Callable[[float], nn.Module]
Measure = Callable[[nn.Module, Tensor, Tensor], Any]


def _ones() -> Tensor:
    return torch.ones(B, T, C)


def _dropout_module(dropout: type[nn.Module]) -> str | None:
    if fault := module_fault(dropout, P):
        return fault
    return "It has parameters: dropout has nothing to learn." if parameter_count(dropout(P)) else None


def _dropout_evaluation(dropout: Dropout) -> str | None:
    x = torch.randn(B, T, C)
    out = dropout(P).eval()(x.clone())
    if torch.equal(out, x):
        return None
    if (out == 0).any() and torch.equal(dropout(P)(x.clone()), x):
        return "It is the wrong way round: it drops numbers in evaluation, and none during training."
    if (out == 0).any():
        return (
            f"In evaluation it drops {(out == 0).float().mean():.0%} of the numbers: it should do so only while "
            "`self.training` is true."
        )
    factor = (out / x).mean().item()
    return f"In evaluation it multiplies by {factor:.2f}: it should return its input, and scale only during training."


def _dropout_share(dropout: Dropout) -> str | None:
    out = dropout(P)(_ones())
    zeros = (out == 0).float().mean().item()
    if abs(zeros - P) < 0.02 or (0 < zeros < 1 and _groups(out)):  # with a few groups, the share varies
        return None
    if abs(zeros - (1 - P)) < 0.02:
        return f"With p = {P} it drops {zeros:.0%}: p is the share that is dropped, not the one that is kept."
    return f"With p = {P} it drops {zeros:.0%} of the numbers during training: it should be {P:.0%}."


def _groups(out: Tensor) -> str | None:
    """Return what is dropped together, if numbers are not dropped independently."""
    zeros = out == 0
    for dim, words in (
        (2, "all channels of a position"),
        (1, "all positions of a sequence"),
        (0, "all sequences of the batch"),
    ):
        if torch.equal(zeros, zeros.narrow(dim, 0, 1).expand_as(zeros)):
            return words
    return None


def _dropout_alone(dropout: Dropout) -> str | None:
    words = _groups(dropout(P)(_ones()))
    if words is None:
        return None
    return f"{words.capitalize()} are dropped together: draw for each number independently, `torch.rand_like(x)`."


def _dropout_new_mask(dropout: Dropout) -> str | None:
    one = dropout(P)
    if not torch.equal(one(_ones()) == 0, one(_ones()) == 0):
        return None
    return "Called twice, it drops the same numbers: draw in `forward`, on every call, and set no seed."


def _dropout_scale(dropout: Dropout) -> str | None:
    out = dropout(P)(_ones())
    kept = out[out != 0]
    factor, wanted = kept.mean().item(), 1 / (1 - P)
    if torch.allclose(kept, torch.tensor(wanted), rtol=1e-4):
        return None
    known = {
        1.0: f"The kept numbers are not scaled, so the mean falls by {P:.0%}: multiply by 1 / (1 - p) = {wanted}.",
        1 - P: f"The kept numbers are multiplied by 1 - p = {1 - P}: divide by it, to keep the mean.",
        1 / P: f"The kept numbers are divided by p: divide by 1 - p = {1 - P}, the share that is kept.",
    }
    for value, sentence in known.items():
        if abs(factor - value) < 1e-3:
            return sentence
    return f"The kept numbers are multiplied by {factor:.3f}: for p = {P} it should be 1 / (1 - p) = {wanted}."


def _dropout_of_nothing(dropout: Dropout) -> str | None:
    x = torch.randn(B, T, C)
    if torch.allclose(dropout(0.0)(x.clone()), x):
        return None
    return "With p = 0 the output differs from the input: nothing should be dropped or scaled."


# evaluation_loss


class RecordingModel(nn.Module):
    """A bigram table with dropout that records how it is called: (B, T) -> (B, T, V)."""

    def __init__(self) -> None:
        super().__init__()
        table = Bigram(11)
        nn.init.normal_(table.table.weight)
        self.inner = nn.Sequential(table, nn.Dropout(0.5))
        self.training_modes: list[bool] = []
        self.gradient_modes: list[bool] = []

    def forward(self, idx: Tensor) -> Tensor:
        self.training_modes.append(self.training)
        self.gradient_modes.append(torch.is_grad_enabled() and not torch.is_inference_mode_enabled())
        logits: Tensor = self.inner(idx)
        return logits


def _measured(evaluation_loss: Measure, *, training: bool = True) -> tuple[RecordingModel, Any, float]:
    """Return the model after the call, what was returned, and the right loss."""
    model = RecordingModel()
    idx, targets = torch.randint(11, (5, 7)), torch.randint(11, (5, 7))
    with torch.no_grad():
        right = cross_entropy(model.eval().inner(idx), targets).item()
    out = evaluation_loss(model.train(training), idx, targets)
    return model, out, right


def _measure_number(evaluation_loss: Measure) -> str | None:
    model, out, _ = _measured(evaluation_loss)
    if not model.training_modes:
        return "The model was not called: call `model(idx)` for the logits."
    if isinstance(out, Tensor) and out.dim() == 0:
        return "It returns a tensor: return a Python number, with `.item()`."
    if isinstance(out, bool) or not isinstance(out, float):
        return f"It returns a {type(out).__name__}: return a number, the loss."
    return None


def _measure_mode(evaluation_loss: Measure) -> str | None:
    if not any(_measured(evaluation_loss)[0].training_modes):
        return None
    return "Dropout was on: call `model.eval()` before the model is called."


def _measure_value(evaluation_loss: Measure) -> str | None:
    _, out, right = _measured(evaluation_loss)
    if abs(out - right) < 1e-4:
        return None
    if abs(out - 35 * right) < 1e-2:
        return "It is the sum over all positions: take the mean."
    return f"It returns {out:.4f}; {right:.4f} is right: the mean cross-entropy over all positions of all sequences."


def _measure_gradients(evaluation_loss: Measure) -> str | None:
    if not any(_measured(evaluation_loss)[0].gradient_modes):
        return None
    return "It kept what gradients would need, which wastes memory: call the model under `torch.no_grad()`."


def _measure_restores(evaluation_loss: Measure) -> str | None:
    if not _measured(evaluation_loss, training=True)[0].training:
        return "The model was in training mode before and is not after: dropout would stay off. Restore the mode."
    if _measured(evaluation_loss, training=False)[0].training:
        return (
            "The model was in evaluation mode before and is not after: save `model.training` first, and restore that."
        )
    return None


@cache
def _left_on() -> Outcome:
    result = train_briefly(
        lambda vocab_size: medium_model(vocab_size, 0.2, block_size=8), steps=200, learning_rate=3e-3
    )
    model, windows = result.model, result.validation[: len(result.validation) // 9 * 9].view(-1, 9)  # (N, T + 1)
    torch.manual_seed(0)
    with torch.no_grad():
        off, on = (cross_entropy(model.train(mode)(windows[:, :-1]), windows[:, 1:]).item() for mode in (False, True))
    answer = "higher" if on > off + 0.02 else "lower" if on < off - 0.02 else "the same"
    return Outcome(
        answer,
        f"After a short training with dropout 0.2, the validation loss is {off:.2f} with dropout off, and {on:.2f} "
        "with it on: part of the model is missing from each answer, and the loss differs from call to call.",
    )


EXERCISES = (
    Exercise(
        name="Dropout",
        task="Write dropout: during training, each number is 0 with probability p, and those that are kept are scaled "
        "so that the mean stays; in evaluation the input is returned.",
        heading="# 9. Memorization, and what helps against it: dropout",
        checks=(
            Check("a module with nothing to learn", _dropout_module),
            Check("the shape", lambda dropout: shape_fault(dropout(P)(_ones()), "B T C", {"B": B, "T": T, "C": C})),
            Check("off in evaluation", _dropout_evaluation),
            Check("a share of p is dropped", _dropout_share),
            Check("each number independently", _dropout_alone),
            Check("a new mask on every call", _dropout_new_mask),
            Check("the mean stays", _dropout_scale),
            Check("p = 0", _dropout_of_nothing),
            Check("the input is left alone", lambda dropout: mutation_fault(dropout(P), torch.randn(B, T, C))),
            Check("gradients pass through", lambda dropout: gradient_fault(dropout(P), torch.randn(B, T, C))),
        ),
    ),
    Exercise(
        name="evaluation_loss",
        task="Evaluate a model with dropout: return the mean cross-entropy of its logits, as a number, with dropout "
        "off and without gradients. Afterwards the model should be in the same mode as before.",
        heading="Where it goes",
        checks=(
            Check("a number", _measure_number),
            Check("dropout is off", _measure_mode),
            Check("the right number", _measure_value),
            Check("no gradients are kept", _measure_gradients),
            Check("the mode is restored", _measure_restores),
        ),
    ),
    prediction_exercise(
        name="LOSS_WITH_DROPOUT_ON",
        task="A model is trained with dropout, and in evaluation somebody forgets `model.eval()`. Compared with "
        "dropout off, the validation loss is...",
        heading="# 9. Memorization, and what helps against it: dropout",
        choices=("lower", "the same", "higher"),
        experiment=_left_on,
    ),
)
