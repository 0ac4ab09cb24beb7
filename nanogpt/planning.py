"""From minutes to a plan: measure this machine, choose a size, keep to the time.

The sizes are a short list, each with the steps below which a smaller one is the better use of the time. Seconds a
step are measured by training each candidate for a moment; the weights of that moment are thrown away.
"""

import math
import statistics
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from nanogpt.config import DEFAULT_PRESET, Config
from nanogpt.data import Dataset
from nanogpt.distributed import ALONE, World
from nanogpt.model import Block
from nanogpt.stepper import Stepper, build_model
from nanogpt.training import EVALUATIONS, Trainer

MEASURE_SECONDS = 0.5
MEASURE_STEPS = 20
WARM_STEPS = 2
LOOK_SECONDS = 2.0
LOOK_PROGRESS = 0.05
TOLERANCE = 0.01
TOLERANCE_LEFT = 0.1
FEWEST_STEPS = 10
"""Also on a machine that seems slower: `Pace` needs some steps to see how fast it really is."""
COMPILE_SECONDS = 600.0
"""Time from which `torch.compile` is left to `auto`."""
FEWEST_WINDOWS = 4
"""In an epoch of a text so short that the context is made to fit it."""
FEW_TOKENS = 20_000
"""Of a training part. With 18,000 characters a minute's training passed its lowest validation loss after a third."""
FINAL_SHARE = 0.05
"""Of the time, for the last evaluation."""
END_SECONDS = 1.0
"""Kept for what comes after the last evaluation: the last lines, and the interpreter's end."""


@dataclass(frozen=True)
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

    def settings(self, processes: int = 1) -> dict[str, float]:
        """The config fields that it sets; the batch a little larger where so many processes could not share it."""
        settings = {name: value for name, value in asdict(self).items() if name != "fewest_steps"}
        return settings | {"batch_size": -(-self.batch_size // processes) * processes}


SIZE_FIELDS = frozenset(
    {"n_layer", "n_head", "n_embd", "n_kv_head", "head_size", "mlp_hidden", "block_size", "batch_size", "accumulation"}
)
"""Settings that make a size: who names one of them has chosen, and nothing is chosen instead."""


SIZES = (
    Size(2, 4, 64, 32, 16, learning_rate=5e-3, dropout=0.0, fewest_steps=0),
    Size(3, 4, 128, 64, 16, learning_rate=4e-3, dropout=0.0, fewest_steps=700),
    Size(4, 6, 192, 128, 16, learning_rate=3e-3, dropout=0.0, fewest_steps=1200),
    Size(5, 8, 256, 256, 16, learning_rate=2e-3, dropout=0.1, fewest_steps=1500),
    Size(6, 6, 384, 256, 64, learning_rate=1e-3, dropout=0.2, fewest_steps=3000),
)


def fit_block(config: Config, data: Dataset, named: Collection[str]) -> Config:
    """The config with a context that is short enough for `FEWEST_WINDOWS` in an epoch, unless its length was named."""
    longest = max(1, (len(data.train) - 1) // (FEWEST_WINDOWS + 1))  # one more: an epoch starts at its own offset
    if "block_size" in named or config.model.block_size <= longest:
        return config
    return config.override(block_size=longest)


def short_text_notes(config: Config, data: Dataset, wanted: int) -> tuple[str, ...]:
    """What to say of a short text: a context that was made to fit, where `wanted` was longer, and what it can teach."""
    tokens, block = len(data.train), config.model.block_size
    notes = []
    if block < wanted:
        notes.append(f"the text is short: block_size is {block}, not {wanted}, so that an epoch has several windows")
    if tokens < FEW_TOKENS:
        notes.append(
            f"{tokens:,} tokens are soon known by heart, and then the validation loss rises: add text (some hundred "
            f"thousand characters are a good start), or stop early with --patience 3; the best checkpoint is kept"
        )
    return tuple(notes)


def smallest_block(config: Config, named: Collection[str]) -> int:
    """The shortest context that `choose_size` could choose."""
    return SIZES[0].block_size if _is_free(config, named) else config.model.block_size


def choose_size(
    config: Config,
    data: Dataset,
    seconds: float,
    named: Collection[str],
    block: type[nn.Module] = Block,
    *,
    world: World = ALONE,
) -> tuple[Config, int]:
    """The config for so many seconds of training, and its number of steps.

    The largest of `SIZES` that gets its fewest steps; settings in `named` stay as the caller gave them, and where
    one of them is a size, or the preset is another than `modern`, nothing is chosen and only the speed is measured.
    Where there are several processes the first one chooses, and asks the others to `help_to_measure`.
    """
    start = time.monotonic()
    free = _is_free(config, named)
    chosen: tuple[Config, int] | None = None
    for size in SIZES if free else [None]:
        settings = {} if size is None else size.settings(world.size)
        candidate = config.override(**{name: value for name, value in settings.items() if name not in named})
        fitting = fit_block(candidate, data, named)
        if chosen is not None and fitting != candidate:
            break
        candidate = _with_compile(fitting, seconds)
        world.ask({"config": candidate.to_dict(), "data": data.key})
        per_step = seconds_per_step(candidate, data, block, world)
        candidate = _with_final_evaluation(candidate, data, seconds, per_step, named)
        steps = steps_within(candidate, data, seconds - (time.monotonic() - start), per_step)
        if chosen is not None and size is not None and steps < size.fewest_steps:
            break
        chosen = candidate, steps
    assert chosen is not None
    return chosen


def _is_free(config: Config, named: Collection[str]) -> bool:
    return config.preset == DEFAULT_PRESET and set(named).isdisjoint(SIZE_FIELDS)


def help_to_measure(asked: dict[str, Any], block: type[nn.Module], world: World) -> None:
    """Train for a moment with the process that chooses a size, by the config and on the text that it names."""
    data = Dataset.load(asked["data"])
    if data is None:
        raise world.misses("the token ids of the text")
    seconds_per_step(Config.from_dict(asked["config"], "the config to measure"), data, block, world)


def seconds_per_step(config: Config, data: Dataset, block: type[nn.Module] = Block, world: World = ALONE) -> float:
    """Median time of an update on this machine, from a few of them; not compiled, which takes longer than it tells."""
    config = config.override(compile="off")
    stepper = Stepper(build_model(config, block), config.train, data, world)
    times: list[float] = []
    for step in range(WARM_STEPS + MEASURE_STEPS):
        begin = time.perf_counter()
        stepper.step(step, 0.0).tolist()  # reading the loss waits for the device
        times.append(time.perf_counter() - begin)
        if world.share(sum(times[WARM_STEPS:]) > MEASURE_SECONDS):
            break
    return statistics.median(times[WARM_STEPS:])


def steps_within(config: Config, data: Dataset, seconds: float, per_step: float) -> int:
    """How many steps fit, beside the evaluations on the way and the last one; at least `FEWEST_STEPS`.

    A first guess, which `Pace` corrects: a forward pass costs about a third of a step, a sampled token as much as
    128 that are read at once.
    """
    on_the_way = min(len(data.val), config.train.eval_tokens) + 128 * config.train.sample_tokens
    read = (EVALUATIONS + 1) * on_the_way + _final_tokens(config, data)
    return max(FEWEST_STEPS, int((seconds - read * _seconds_per_token(config, per_step)) / per_step))


def _with_compile(config: Config, seconds: float) -> Config:
    """A compilation takes about a minute: left to `auto`, a short run goes without."""
    short = config.train.compile == "auto" and seconds < COMPILE_SECONDS
    return config.override(compile="off") if short else config


def _with_final_evaluation(
    config: Config, data: Dataset, seconds: float, per_step: float, named: Collection[str]
) -> Config:
    """Read as much of the validation part at the end as fits into a twentieth of the time: all, or a named subset."""
    fits = max(config.train.eval_tokens, int(FINAL_SHARE * seconds / _seconds_per_token(config, per_step)))
    if "final_eval_tokens" in named or fits >= len(data.val):
        return config
    return config.override(final_eval_tokens=fits)


def _seconds_per_token(config: Config, per_step: float) -> float:
    return per_step / (config.train.batch_sequences * config.model.block_size) / 3


def _final_tokens(config: Config, data: Dataset) -> int:
    return min(len(data.val), config.train.final_eval_tokens or len(data.val))


class Pace:
    """Keeps a training to its time: asked after each step whether the run's length has to change.

    Looks every two seconds of training, or every twentieth of the run where that is sooner: what is left of the
    time, less what evaluations still to come will take, over the seconds of a step since the last look. A
    difference under a tenth of what is left, or under 1 % of the whole time, is left alone.
    """

    def __init__(self, started: float, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._seconds = clock, minutes * 60
        self._deadline = started + minutes * 60 - END_SECONDS
        self._step, self._spent = 0, 0.0  # where training stood at the last look

    def __call__(self, trainer: Trainer) -> int | None:
        """The new length of the run, or None to leave it."""
        state, plan = trainer.state, trainer.plan
        if state.step <= self._step:  # the run went back to a checkpoint
            self._step, self._spent = state.step, state.seconds
            return None
        spent = state.seconds - self._spent
        left = self._deadline - self._clock() - self.seconds_beside(trainer)
        if state.step >= plan.total_steps and left > 0:
            return None  # the learning rate has come to its end: more steps would teach nothing
        advanced = plan.progress(state.step) - plan.progress(self._step)
        if spent < LOOK_SECONDS and advanced < LOOK_PROGRESS and left > 0:
            return None
        per_step = spent / (state.step - self._step)
        self._step, self._spent = state.step, state.seconds
        possible = state.step + max(0, int(left / per_step))
        if abs(possible - plan.total_steps) * per_step < max(TOLERANCE * self._seconds, TOLERANCE_LEFT * left):
            return None
        return possible

    @staticmethod
    def seconds_beside(trainer: Trainer) -> float:
        """Time for the evaluations still to come, the last of them of the whole validation part."""
        if not trainer.pause_seconds:
            return 0.0
        each = sum(trainer.pause_seconds) / len(trainer.pause_seconds)
        left = math.ceil((1 - trainer.plan.progress(trainer.state.step)) * EVALUATIONS)
        on_the_way = min(len(trainer.data.val), trainer.config.train.eval_tokens)
        return each * (left + _final_tokens(trainer.config, trainer.data) / on_the_way)
