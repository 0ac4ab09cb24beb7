"""How fast a machine trains: seconds of a step, measured by training for a moment; its weights are thrown away."""

import statistics
import time
from typing import Any

from torch import nn

from nanogpt.config import Config
from nanogpt.data import Dataset
from nanogpt.distributed import ALONE, World
from nanogpt.model import Block
from nanogpt.stepper import Stepper, build_model
from nanogpt.training import EVALUATIONS

MEASURE_SECONDS = 0.5
MEASURE_STEPS = 20
WARM_STEPS = 2
FEWEST_STEPS = 10
"""Also on a machine that seems slower: `Pace` needs some steps to see how fast it really is."""


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
    read = (EVALUATIONS + 1) * on_the_way + final_tokens(config, data)
    return max(FEWEST_STEPS, int((seconds - read * seconds_per_token(config, per_step)) / per_step))


def seconds_per_token(config: Config, per_step: float) -> float:
    """Of reading a token without learning from it: a forward pass costs about a third of a step."""
    return per_step / (config.train.batch_sequences * config.model.block_size) / 3


def final_tokens(config: Config, data: Dataset) -> int:
    """Validation tokens that the last evaluation reads."""
    return min(len(data.val), config.train.final_eval_tokens or len(data.val))
