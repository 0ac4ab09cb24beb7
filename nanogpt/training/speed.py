"""The speed of this machine, measured by a few steps, evaluations and samples of one size; the weights are dropped."""

import statistics
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from nanogpt.config import Config, SampleConfig
from nanogpt.data.tokenize import Dataset
from nanogpt.errors import UserError
from nanogpt.model.gpt import Block
from nanogpt.parallel.devices import threads
from nanogpt.parallel.distributed import ProcessGroup
from nanogpt.parallel.world import ALONE, World
from nanogpt.planning.budget import Speed
from nanogpt.sampling.generate import generate_ids
from nanogpt.training.trainer import TrainStep, build_model

MEASURE_SECONDS = 0.3
"""Length of one measurement, without the warm-up"""
MEASURE_STEPS = 20
EVALUATION_TOKENS = 8192
"""Tokens in one forward pass of an evaluation"""
SAMPLE_TOKENS = 8


def measure_together(config: Config, data: Dataset, block: type[nn.Module], world: World) -> Speed:
    """Measure the speed of a size on the main process, with the others in `help_to_measure`."""
    if world.size > 1:
        assert isinstance(world, ProcessGroup)
        world.ask({"config": config.to_dict(), "data": data.key})
    return measure_speed(config, data, block, world)


def help_to_measure(request: dict[str, Any], block: type[nn.Module], world: World) -> None:
    """Train for a moment together with the main process."""
    data = Dataset.load(request["data"])
    if data is None:
        raise UserError(
            f"process {world.rank} does not find the token ids in the cache: put the cache (NANOGPT_CACHE) on a disk "
            f"that all machines share"
        )
    measure_speed(Config.from_dict(request["config"], "the config to measure"), data, block, world)


def measure_speed(config: Config, data: Dataset, block: type[nn.Module] = Block, world: World = ALONE) -> Speed:
    """Measure the speed of a size, with the threads it will be trained with; not compiled, which takes too long."""
    with threads(config.train.threads):
        train_step = TrainStep(build_model(config, block), config.override(compile="off").train, data, world)
        step = seconds_per_step(train_step)
        forward = step / config.train.batch_sequences / 3  # of one sequence
        rows = max(1, min(EVALUATION_TOKENS // config.model.block_size, int(MEASURE_SECONDS / forward)))
        evaluated = seconds_per_evaluated_token(train_step, world.broadcast(rows))
        return Speed(step, evaluated, seconds_per_generated_token(train_step))


def seconds_per_step(train_step: TrainStep) -> float:
    """Return the median seconds of a step, extrapolated from one sequence, two, four … until that takes long enough."""
    whole, world = train_step.config.batch_sequences, train_step.world
    most = train_step.config.batch_size // world.size * world.size
    time_steps(train_step, world.size, 1)  # warm up
    before, sequences, last = (0, 0.0), world.size, time_steps(train_step, world.size, 1)
    while (last < MEASURE_SECONDS or not before[0]) and sequences < whole:
        before = (sequences, last)
        sequences = 2 * sequences if 2 * sequences <= most else whole
        last = time_steps(train_step, sequences, 1)
    if last < MEASURE_SECONDS:
        last = time_steps(train_step, sequences, MEASURE_STEPS)
    each = max(last - before[1], 0.0) / (sequences - before[0])
    return last + each * (whole - sequences)


def time_steps(train_step: TrainStep, sequences: int, count: int) -> float:
    """Return the median seconds of up to `count` steps of some sequences; fewer steps where they take long."""
    config, times = train_step.config, list[float]()
    batch = min(sequences, config.batch_size)
    train_step.config = replace(config, batch_size=batch, accumulation=sequences // batch)
    for step in range(count):
        start = time.perf_counter()
        train_step(step, 0.0).tolist()  # reading the loss waits for the device
        times.append(time.perf_counter() - start)
        if train_step.world.broadcast(sum(times) > MEASURE_SECONDS):
            break
    train_step.config = config
    return train_step.world.broadcast(statistics.median(times))


@torch.no_grad()
def seconds_per_evaluated_token(train_step: TrainStep, rows: int) -> float:
    """Return the seconds per token of an evaluation: the second of two forward passes over some windows."""
    model, size = train_step.model.eval(), train_step.model.config.block_size
    ids = np.resize(train_step.data.train[: rows * size], (rows, size)).astype(np.int64)
    tokens = torch.from_numpy(ids).to(train_step.device)  # (B, T)
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        model(tokens).sum().item()
        seconds = time.perf_counter() - start
    return seconds / tokens.numel()


def seconds_per_generated_token(train_step: TrainStep) -> float:
    """Return the seconds per token of a sample, its first token excluded."""
    prompt = torch.from_numpy(train_step.data.train[:1].astype(np.int64))
    tokens = generate_ids(train_step.model, prompt, SampleConfig(tokens=SAMPLE_TOKENS + 1))
    next(tokens)
    start = time.perf_counter()
    for _ in tokens:
        pass
    return (time.perf_counter() - start) / SAMPLE_TOKENS
