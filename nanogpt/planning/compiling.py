"""Whether `torch.compile` pays within a time: what it takes, and what it saves, as far as is known before."""

import os
import shutil
from dataclasses import replace

import torch

from nanogpt.config import Config
from nanogpt.planning.speed import Speed

SECONDS = 60.0
"""Of a compilation with an empty cache, on a CPU. Measured on two busy cores: 40 for three layers, 96 for six large
ones."""
SAVED = 0.05
"""Share of a step that it saves on a CPU, where most are products, which stay as they are. Measured: 0.04 to 0.08 of
steps of 0.2 s, and 0.06 of 3 s, where freed memory is kept (`nanogpt.parallel.process`)."""
WORTH = 2.0
"""It has to save so many times what it takes: neither is known well."""
GPU_SECONDS = 600.0
"""Time from which it is used on a GPU."""
COMPILERS = ("c++", "g++", "clang++", "cl")


def with_compile(config: Config, seconds: float, speed: Speed, device: torch.device) -> tuple[Config, float, Speed]:
    """The config with `compile` decided where it is left to `auto`, the seconds it takes, and the speed with it."""
    if config.train.compile != "auto":
        return config, SECONDS if config.train.compile == "on" else 0.0, speed
    if device.type == "cuda":
        if seconds >= GPU_SECONDS:
            return config, SECONDS, speed
        return config.override(compile="off"), 0.0, speed
    pays = device.type == "cpu" and SAVED * (seconds - SECONDS) > WORTH * SECONDS and has_compiler()
    if not pays:
        return config.override(compile="off"), 0.0, speed
    return config.override(compile="on"), SECONDS, replace(speed, step=speed.step * (1 - SAVED))


def has_compiler() -> bool:
    """Whether this machine has the compiler that torch.compile needs on a CPU."""
    return bool(os.environ.get("CXX")) or any(shutil.which(name) for name in COMPILERS)
