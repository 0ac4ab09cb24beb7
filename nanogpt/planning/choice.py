"""Which size to train in so many minutes: the largest that gets its fewest steps."""

import time
from collections.abc import Collection

from torch import nn

from nanogpt.config import DEFAULT_PRESET, Config
from nanogpt.data import Dataset
from nanogpt.distributed import ALONE, World
from nanogpt.model import Block
from nanogpt.planning.machine import Room, check_memory, fits
from nanogpt.planning.short_texts import fit_block
from nanogpt.planning.sizes import SIZE_FIELDS, SIZES
from nanogpt.planning.speed import seconds_per_step, seconds_per_token, steps_within

COMPILE_SECONDS = 600.0
"""Time from which `torch.compile` is left to `auto`."""
FINAL_SHARE = 0.05
"""Of the time, for the last evaluation."""


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
    room: Room | None = None,
) -> tuple[Config, int]:
    """The config for so many seconds of training, and its number of steps.

    The largest of `SIZES` that gets its fewest steps; settings in `named` stay as the caller gave them, and where
    one of them is a size, or the preset is another than `modern`, nothing is chosen and only the speed is measured.
    Where there are several processes the first one chooses, and asks the others to `help_to_measure`.
    """
    start = time.monotonic()
    free, device = _is_free(config, named), world.device(config.train.device)
    chosen: tuple[Config, int] | None = None
    for size in SIZES if free else [None]:
        settings = {} if size is None else size.settings(world.size)
        candidate = config.override(**{name: value for name, value in settings.items() if name not in named})
        fitting = fit_block(candidate, data, named)
        if chosen is not None and (fitting != candidate or not fits(fitting, room, device, world)):
            break
        check_memory(fitting, room, device, world)
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


def _with_compile(config: Config, seconds: float) -> Config:
    """A compilation takes about a minute: left to `auto`, a short run goes without."""
    short = config.train.compile == "auto" and seconds < COMPILE_SECONDS
    return config.override(compile="off") if short else config


def _with_final_evaluation(
    config: Config, data: Dataset, seconds: float, per_step: float, named: Collection[str]
) -> Config:
    """Read as much of the validation part at the end as fits into a twentieth of the time: all, or a named subset."""
    fits = max(config.train.eval_tokens, int(FINAL_SHARE * seconds / seconds_per_token(config, per_step)))
    if "final_eval_tokens" in named or fits >= len(data.val):
        return config
    return config.override(final_eval_tokens=fits)
