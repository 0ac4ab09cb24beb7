"""The speed of this machine: train, read and write for a moment with one size, then throw the weights away."""

import statistics
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from nanogpt.config import Config, SampleConfig
from nanogpt.data.dataset import Dataset
from nanogpt.errors import UserError
from nanogpt.model.gpt import Block
from nanogpt.parallel.devices import threads
from nanogpt.parallel.world import ALONE, World
from nanogpt.planning.speed import Speed
from nanogpt.sampling.generate import generate_ids
from nanogpt.training.step import Stepper, build_model

MEASURE_SECONDS = 0.3
"""Length of one measurement, without the warm-up."""
MEASURE_STEPS = 20
READ_TOKENS = 8192
"""Tokens that an evaluation reads in one forward pass."""
WRITTEN_TOKENS = 8


def measure_together(config: Config, data: Dataset, block: type[nn.Module], world: World) -> Speed:
    """Measure the speed of a size on rank 0, with the other ranks in `help_to_measure`."""
    world.ask({"config": config.to_dict(), "data": data.key})
    return measure_speed(config, data, block, world)


def help_to_measure(request: dict[str, Any], block: type[nn.Module], world: World) -> None:
    """Train for a moment together with rank 0, with the config and the text of its request."""
    data = Dataset.load(request["data"])
    if data is None:
        raise UserError(
            f"process {world.rank} can't find the token ids of the text: set NANOGPT_CACHE to a folder that all machines "
            f"share"
        )
    measure_speed(Config.from_dict(request["config"], "the config to measure"), data, block, world)


def measure_speed(config: Config, data: Dataset, block: type[nn.Module] = Block, world: World = ALONE) -> Speed:
    """Measure one size with the threads that will train it. It is not compiled: that takes longer than it tells."""
    with threads(config.train.threads):
        stepper = Stepper(build_model(config, block), config.override(compile="off").train, data, world)
        step = seconds_per_step(stepper)
        per_sequence = step / config.train.batch_sequences / 3  # of a forward pass
        rows = max(1, min(READ_TOKENS // config.model.block_size, int(MEASURE_SECONDS / per_sequence)))
        return Speed(step, seconds_per_read_token(stepper, world.broadcast(rows)), seconds_per_written_token(stepper))


def seconds_per_step(stepper: Stepper) -> float:
    """Return the seconds of an update.

    Steps of one, two, four, … sequences are timed until one is long enough to measure or is the whole step: then the
    median of some such steps. A larger step is extrapolated from the last two.
    """
    whole, most, world = stepper.config.batch_sequences, stepper.config.batch_size, stepper.world
    time_steps(stepper, world.size, 1)  # the first one loads kernels
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
    """Return the median seconds of `count` updates from so many sequences each; fewer updates where they are slow."""
    whole, times = stepper.config, list[float]()
    batch = min(sequences, whole.batch_size)
    stepper.config = replace(whole, batch_size=batch, accumulation=sequences // batch)
    for step in range(count):
        began = time.perf_counter()
        stepper.step(step, 0.0).tolist()  # reading the loss waits for the device
        times.append(time.perf_counter() - began)
        if stepper.world.broadcast(sum(times) > MEASURE_SECONDS):
            break
    stepper.config = whole
    return stepper.world.broadcast(statistics.median(times))


@torch.no_grad()
def seconds_per_read_token(stepper: Stepper, rows: int) -> float:
    """Return the seconds per token of an evaluation: the second of two passes over `rows` windows."""
    model, size = stepper.model.eval(), stepper.model.config.block_size
    ids = np.resize(stepper.data.train[: rows * size], (rows, size)).astype(np.int64)
    tokens = torch.from_numpy(ids).to(stepper.device)  # (B, T)
    seconds = 0.0
    for _ in range(2):
        began = time.perf_counter()
        model(tokens).sum().item()
        seconds = time.perf_counter() - began
    return seconds / tokens.numel()


def seconds_per_written_token(stepper: Stepper) -> float:
    """Return the seconds per token of a sample, after its first token."""
    prompt = torch.from_numpy(stepper.data.train[:1].astype(np.int64))
    written = generate_ids(stepper.model, prompt, SampleConfig(tokens=WRITTEN_TOKENS + 1))
    next(written)
    began = time.perf_counter()
    for _ in written:
        pass
    return (time.perf_counter() - began) / WRITTEN_TOKENS
