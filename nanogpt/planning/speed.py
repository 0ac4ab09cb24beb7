"""How fast a machine trains: seconds of a step, measured by training for a moment; its weights are thrown away."""

import statistics
import time
from dataclasses import replace
from typing import Any

from torch import nn

from nanogpt.config import Config
from nanogpt.data import Dataset
from nanogpt.distributed import ALONE, World
from nanogpt.model import Block
from nanogpt.parameters import count_parameters
from nanogpt.stepper import Stepper, build_model
from nanogpt.training import EVALUATIONS

MEASURE_SECONDS = 0.3
"""At a time, warming up left out."""
MEASURE_STEPS = 20
MOST_SECONDS = 6.0
"""For all sizes together, and never more than `MOST_SHARE` of the time."""
MOST_SHARE = 0.1
FEWEST_STEPS = 10
"""Also on a machine that seems slower: `Pace` needs some steps to see how fast it really is."""


class Speeds:
    """Seconds of a step by config, each measured once, and only as long as there is time for it.

    Of a size that takes too long to measure a step is forecast from the one before, by their floating-point
    operations: sizes are to be asked for from small to large.
    """

    def __init__(self, data: Dataset, block: type[nn.Module] = Block, world: World = ALONE) -> None:
        self.data, self.block, self.world = data, block, world
        self.spent = 0.0
        """seconds, of all measurements"""
        self._known: dict[str, float] = {}
        self._rate: float | None = None  # seconds for each operation

    def __call__(self, config: Config, seconds: float) -> float:
        """Of a step, in a training that has so many seconds."""
        key = repr((config.model, config.train.batch_sequences, config.train.batch_size, config.train.precision))
        operations = step_operations(config)
        if key in self._known:
            return self._known[key]
        left = min(MOST_SECONDS, MOST_SHARE * seconds) - self.spent
        expected = None if self._rate is None else self._rate * operations
        if expected is not None and 2 * expected > left:
            return expected
        began = time.perf_counter()
        self.world.ask({"config": config.to_dict(), "data": self.data.key})
        self._known[key] = seconds_per_step(config, self.data, self.block, self.world)
        self._rate = self._known[key] / operations
        self.spent += time.perf_counter() - began
        return self._known[key]


def step_operations(config: Config) -> float:
    """Floating-point operations of an update: six for each weight and token, and those of attention.

    Kaplan et al. 2020, "Scaling laws for neural language models", table 1; the embedding is looked up.
    """
    model, count = config.model, count_parameters(config.model)
    head = model.vocab_size * model.n_embd
    attention = model.n_layer * model.block_size * model.n_head * model.head_channels  # causal: half of T x T
    return 6.0 * (count.matrices + head + attention) * config.train.batch_sequences * model.block_size


def help_to_measure(asked: dict[str, Any], block: type[nn.Module], world: World) -> None:
    """Train for a moment with the process that chooses a size, by the config and on the text that it names."""
    data = Dataset.load(asked["data"])
    if data is None:
        raise world.misses("the token ids of the text")
    seconds_per_step(Config.from_dict(asked["config"], "the config to measure"), data, block, world)


def seconds_per_step(config: Config, data: Dataset, block: type[nn.Module] = Block, world: World = ALONE) -> float:
    """Time of an update on this machine; not compiled, which takes longer than it tells.

    Of one sequence, two, four, … until that takes long enough to be measured or is the whole step: the median of some
    such. A larger step is on the line through the last two.
    """
    stepper = Stepper(build_model(config, block), config.override(compile="off").train, data, world)
    whole, most = config.train.batch_sequences, config.train.batch_size
    time_steps(stepper, world.size, 1)  # the first one loads what it computes with
    before, sequences, last = (0, 0.0), world.size, time_steps(stepper, world.size, 1)
    while (last < MEASURE_SECONDS or not before[0]) and sequences < whole:
        before = (sequences, last)
        following = 2 * sequences if 2 * sequences <= most // world.size * world.size else whole
        sequences, last = following, time_steps(stepper, following, 1)
    if last < MEASURE_SECONDS:
        last = time_steps(stepper, sequences, MEASURE_STEPS)
    each = max(last - before[1], 0.0) / (sequences - before[0])
    return last + each * (whole - sequences)


def time_steps(stepper: Stepper, sequences: int, count: int) -> float:
    """Median seconds of some updates from so many sequences; fewer than `count` where they take long."""
    whole, times = stepper.config, list[float]()
    batch = min(sequences, whole.batch_size)
    stepper.config = replace(whole, batch_size=batch, accumulation=sequences // batch)
    for step in range(count):
        begin = time.perf_counter()
        stepper.step(step, 0.0).tolist()  # reading the loss waits for the device
        times.append(time.perf_counter() - begin)
        if stepper.world.share(sum(times) > MEASURE_SECONDS):
            break
    stepper.config = whole
    return statistics.median(times)


def steps_within(config: Config, data: Dataset, seconds: float, per_step: float) -> int:
    """How many steps fit, beside the evaluations on the way and the last one; at least `FEWEST_STEPS`.

    A first guess, which `Pace` corrects: a forward pass costs about a third of a step, a sampled token as much as
    128 that are read at once.
    """
    on_the_way = min(len(data.val), config.train.eval_tokens) + 128 * config.train.sample_tokens
    read = (EVALUATIONS + 1) * on_the_way + final_tokens(config, data)
    return max(FEWEST_STEPS, int((seconds - read * seconds_per_token(config, per_step)) / per_step))


def seconds_per_token(config: Config, per_step: float) -> float:
    """Of reading a token without learning from it: a forward pass costs about a third of a step."""
    return per_step / (config.train.batch_sequences * config.model.block_size) / 3


def final_tokens(config: Config, data: Dataset) -> int:
    """Validation tokens that the last evaluation reads."""
    return min(len(data.val), config.train.final_eval_tokens or len(data.val))
