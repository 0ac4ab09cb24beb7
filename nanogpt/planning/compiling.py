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
SAVED, SAVED_OF_LARGE, LARGE = 0.18, 0.06, 1.0
"""Share of a step that it saves on a CPU; of one that takes more than `LARGE` seconds most are products, which stay as
they are. Measured: 1.3 times as fast at 63 ms, 1.22 at 0.8 s, 1.06 at 3 s."""
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
    share = SAVED_OF_LARGE if speed.step > LARGE else SAVED
    pays = device.type == "cpu" and share * (seconds - SECONDS) > WORTH * SECONDS and has_compiler()
    if not pays:
        return config.override(compile="off"), 0.0, speed
    return config.override(compile="on"), SECONDS, replace(speed, step=speed.step * (1 - share))


def has_compiler() -> bool:
    """Whether this machine has the compiler that torch.compile needs on a CPU."""
    return bool(os.environ.get("CXX")) or any(shutil.which(name) for name in COMPILERS)
