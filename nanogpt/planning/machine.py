"""How much memory this machine has left, and what fits into it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from nanogpt.config import Config
from nanogpt.errors import UserError
from nanogpt.parallel.devices import pick_precision
from nanogpt.parallel.world import ALONE, World
from nanogpt.planning.memory import estimate_memory

GIGABYTE = 1e9
USABLE = 0.95
"""Of what is free now: other programs go on."""
CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")


@dataclass(frozen=True)
class Room:
    """The memory that each process of a training may take, and who says so."""

    size: float
    """bytes"""
    giver: str
    """begins a sentence"""


def find_room(gigabytes: float | None, device: torch.device, world: World = ALONE) -> Room | None:
    """What was allowed, or else what is free on the device now; None where that cannot be known.

    Processes of one machine share its memory; each has a GPU of its own.
    """
    shared = world.local_size if device.type != "cuda" else 1
    if gigabytes is not None:
        return Room(gigabytes * GIGABYTE / shared, f"--memory {gigabytes:g} allows")
    free = free_bytes(device)
    return None if free is None else Room(USABLE * free / shared, "this machine now has")


def free_bytes(device: torch.device) -> float | None:
    """Memory that this process could have in all, what it has already with it; None where nothing tells."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return float(torch.mps.recommended_max_memory())
    limits = list(_limits())
    return min(limits) if limits else None


def _limits() -> Iterator[float]:
    """What the system has available, and what each control group above this process leaves to it."""
    own = _own_bytes()
    available = _available_bytes()
    if available is not None:
        yield available + own
    for limit, used in _control_groups():
        yield max(0.0, limit - used) + own


def _available_bytes() -> float | None:
    """Of the whole machine: what Linux says it could give, elsewhere all that is built in, where the system tells."""
    try:
        lines = (PROC / "meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return None


def _own_bytes() -> float:
    """In memory, of this process; 0 where it is not told."""
    try:
        return int((PROC / "self/statm").read_text(encoding="ascii").split()[1]) * float(os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, IndexError):
        return 0.0


def _control_groups() -> Iterator[tuple[float, float]]:
    """Limit and use, in bytes, of each group with a limit; files that were read are no use, they can be dropped."""
    try:
        lines = (PROC / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        number, kinds, path = line.split(":", 2)
        if number == "0":  # the second version: one tree for everything
            root, names = CGROUPS, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            root = CGROUPS / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(root))):
            found = _limit_and_use(folder, *names)
            if found is not None:
                yield found


def _limit_and_use(folder: Path, limit: str, current: str, files: str) -> tuple[float, float] | None:
    try:
        most = float((folder / limit).read_text(encoding="ascii"))  # ValueError where it is "max"
        used = float((folder / current).read_text(encoding="ascii"))
        stat = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        return None
    return most, used - float(stat.get(files, 0))


def peak_bytes(config: Config, device: torch.device, world: World = ALONE) -> int:
    """The estimated peak of a training, in each process."""
    half = pick_precision(device, config.train.precision) == "bfloat16"
    return estimate_memory(config, device.type, half, world.size).peak


def fits(config: Config, room: Room | None, device: torch.device, world: World = ALONE) -> bool:
    """Whether a training takes no more memory than there is, as far as that is known."""
    return room is None or peak_bytes(config, device, world) <= room.size


def check_memory(
    config: Config, room: Room | None, device: torch.device, world: World = ALONE, fresh: bool = True
) -> None:
    """Raise UserError, with what would fit, where a training would take more memory than there is.

    The sizes of a model that is not `fresh`, but begins with trained weights, stay as they are.
    """
    if room is None or fits(config, room, device, world):
        return
    needed = peak_bytes(config, device, world)
    fitting = next(
        (one for one in (_smaller(config) if fresh else _shorter(config)) if fits(one, room, device, world)), None
    )
    raise UserError(
        f"the training would take about {_gigabytes(needed)}, but {room.giver} {_gigabytes(room.size)}: "
        + ("give it more memory, no size fits" if fitting is None else f"choose {_difference(config, fitting)}")
    )


def _smaller(config: Config) -> Iterator[Config]:
    """Ever smaller trainings: first micro-batches with the same effective batch, then models."""
    model = config.model
    channels, layers = model.n_embd, model.n_layer
    while True:
        sized = config.override(n_embd=channels, n_layer=layers)
        for batch in _divisors(config):
            yield sized.override(batch_size=batch, accumulation=config.train.batch_sequences // batch)
        if layers == 1 and channels < 4 * model.n_head:
            return
        # Half as wide takes a quarter of the weights, half as deep half of all: in turn the shape stays about the same.
        if (layers > 1 and layers * 64 > channels) or channels < 4 * model.n_head:
            layers = layers // 2
        else:
            channels = channels // 2 // (2 * model.n_head) * (2 * model.n_head)  # heads stay even, for RoPE


def _shorter(config: Config) -> Iterator[Config]:
    """Ever smaller trainings of the same model: first micro-batches, then contexts."""
    block = config.model.block_size
    while block:
        for batch in _divisors(config):
            accumulation = config.train.batch_sequences // batch
            yield config.override(block_size=block, batch_size=batch, accumulation=accumulation)
        block //= 2


def _divisors(config: Config) -> Iterator[int]:
    """Micro-batches of the same effective batch, from the present one down."""
    for batch in range(config.train.batch_size, 0, -1):
        if config.train.batch_sequences % batch == 0:
            yield batch


def _difference(config: Config, other: Config) -> str:
    """The flags that make `config` the other one."""
    flags = {
        "n_layer": "model",
        "n_embd": "model",
        "block_size": "model",
        "batch_size": "train",
        "accumulation": "train",
    }
    changed = [
        f"--{name.replace('_', '-')} {getattr(getattr(other, part), name)}"
        for name, part in flags.items()
        if getattr(getattr(other, part), name) != getattr(getattr(config, part), name)
    ]
    kept = f" (the effective batch stays {config.train.batch_sequences})" if config.train != other.train else ""
    return " ".join(changed) + kept


def _gigabytes(size: float) -> str:
    return f"{size / GIGABYTE:.2f} GB" if size < 10 * GIGABYTE else f"{size / GIGABYTE:.0f} GB"
