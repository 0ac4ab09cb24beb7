"""From minutes to a plan: measure this machine, choose a size, keep to the time.

The sizes are a short list, each with the steps below which a smaller one is the better use of the time. Seconds a
step are measured by training each candidate for a moment; the weights of that moment are thrown away.
"""

import math
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass

from nanogpt.config import Config
from nanogpt.data import Dataset
from nanogpt.training import Stepper, Trainer, build_model

MEASURE_SECONDS = 0.5
MEASURE_STEPS = 20
WARM_STEPS = 2
LOOK_SECONDS = 2.0
TOLERANCE = 0.01
EVALUATIONS = 10
END_SECONDS = 1.0
"""Kept for what comes after the last evaluation: the last lines, and the interpreter's end."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """A model and batch to choose from, and the fewest steps that make it worth its cost."""

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    batch_size: int
    learning_rate: float
    dropout: float
    fewest_steps: int

    def settings(self) -> dict[str, float]:
        """The config fields that it sets."""
        return {name: value for name, value in asdict(self).items() if name != "fewest_steps"}


SIZES = (
    Size(n_layer=2, n_head=4, n_embd=64, block_size=32, batch_size=16, learning_rate=5e-3, dropout=0.0, fewest_steps=0),
    Size(
        n_layer=3, n_head=4, n_embd=128, block_size=64, batch_size=16, learning_rate=4e-3, dropout=0.0, fewest_steps=400
    ),
    Size(
        n_layer=4,
        n_head=6,
        n_embd=192,
        block_size=128,
        batch_size=16,
        learning_rate=3e-3,
        dropout=0.0,
        fewest_steps=800,
    ),
    Size(
        n_layer=6,
        n_head=6,
        n_embd=384,
        block_size=256,
        batch_size=32,
        learning_rate=1e-3,
        dropout=0.2,
        fewest_steps=2500,
    ),
)


def choose_size(config: Config, data: Dataset, seconds: float, named: Collection[str]) -> tuple[Config, int]:
    """The config for so many seconds of training, and its number of steps.

    The largest of `SIZES` that gets its fewest steps; settings in `named` stay as the caller gave them, and where
    one of them is a size, or the preset is another than `modern`, nothing is chosen and only the speed is measured.
    """
    start = time.monotonic()
    if config.preset != "modern" or not set(named).isdisjoint(
        SIZES[0].settings().keys() - {"learning_rate", "dropout"}
    ):
        return config, steps_within(config, data, seconds, seconds_per_step(config, data))
    best: tuple[Config, int] | None = None
    for size in SIZES:
        candidate = config.override(**{name: v for name, v in size.settings().items() if name not in named})
        if best is not None and candidate.model.block_size * 2 > len(data.train):
            break
        per_step = seconds_per_step(candidate, data)
        steps = steps_within(candidate, data, seconds - (time.monotonic() - start), per_step)
        if best is not None and steps < size.fewest_steps:
            break
        best = candidate, steps
    assert best is not None
    return best


def seconds_per_step(config: Config, data: Dataset) -> float:
    """Median time of an update on this machine, from a few of them."""
    stepper = Stepper(build_model(config), config.train, data)
    times: list[float] = []
    for step in range(WARM_STEPS + MEASURE_STEPS):
        begin = time.perf_counter()
        stepper.step(step, 0.0).tolist()  # reading the loss waits for the device
        times.append(time.perf_counter() - begin)
        if step >= WARM_STEPS and sum(times[WARM_STEPS:]) > MEASURE_SECONDS:
            break
    return sorted(times[WARM_STEPS:])[len(times[WARM_STEPS:]) // 2]


def steps_within(config: Config, data: Dataset, seconds: float, per_step: float) -> int:
    """How many steps fit, beside the evaluations on the way and the last one; at least 1.

    A first guess, which `Pace` corrects: a forward pass costs about a third of a step, a sampled token as much as
    128 that are read at once.
    """
    per_token = per_step / (config.train.batch_sequences * config.model.block_size) / 3
    read = min(len(data.val), config.train.eval_tokens) + 128 * config.train.sample_tokens
    beside = per_token * ((EVALUATIONS + 1) * read + len(data.val))
    return max(1, int((seconds - beside) / per_step))


class Pace:
    """Keeps a training to its time: asked after each step whether the run's length has to change.

    What is left of the time, less what evaluations still to come will take, over the seconds of a step as measured
    since the last look. A difference under 1 % of the whole time is left alone.
    """

    def __init__(self, started: float, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._seconds = clock, minutes * 60
        self._deadline = started + minutes * 60 - END_SECONDS
        self._step, self._spent = 0, 0.0  # where training stood at the last look

    def __call__(self, trainer: Trainer) -> int | None:
        """The new length of the run, or None to leave it."""
        state = trainer.state
        spent = state.seconds - self._spent
        left = self._deadline - self._clock() - self.seconds_beside(trainer)
        if spent < LOOK_SECONDS and left > 0:
            return None
        per_step = spent / (state.step - self._step)
        self._step, self._spent = state.step, state.seconds
        possible = state.step + max(0, int(left / per_step))
        if abs(possible - trainer.plan.total_steps) * per_step < TOLERANCE * self._seconds:
            return None
        return possible

    @staticmethod
    def seconds_beside(trainer: Trainer) -> float:
        """Time for the evaluations still to come, the last of them of the whole validation part."""
        if not trainer.eval_seconds:
            return 0.0
        each = sum(trainer.eval_seconds) / len(trainer.eval_seconds)
        left = math.ceil((1 - trainer.plan.progress(trainer.state.step)) * EVALUATIONS)
        share = len(trainer.data.val) / min(len(trainer.data.val), trainer.config.train.eval_tokens)
        return each * (left + share)
