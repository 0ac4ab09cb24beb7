"""One process, or one of several: training code asks a `World` wherever several processes would have to agree."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from nanogpt.parallel.devices import pick_device

Json = TypeVar("Json")


@dataclass(frozen=True, kw_only=True)
class World:
    """One process. `parallel.distributed.ProcessGroup` overrides every method for several."""

    rank: int = 0
    """number of this process, from 0"""
    size: int = 1
    """number of processes"""

    @property
    def main(self) -> bool:
        """Whether this process decides, writes files and talks to the user."""
        return self.rank == 0

    def device(self, name: str = "auto") -> torch.device:
        """Return the device of this process."""
        return pick_device(name)

    def broadcast(self, value: Json) -> Json:
        """Return the main process's value, which JSON can hold, on every process."""
        return value

    def on_main(self, call: Callable[[], Json], assist: Callable[[Any], object] | None = None) -> Json:
        """Call on the main process alone; return the result on all. The others `assist` with what the call asks for."""
        return call()

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any process."""
        return flag

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of all processes' tensors of one shape, the same bits on every process."""
        return tensor

    def wrap(self, model: nn.Module, parallel: str, device: torch.device) -> nn.Module:
        """Return the module to call in a training step; fsdp exchanges its parameters."""
        return model

    def no_sync(self, module: nn.Module) -> contextlib.AbstractContextManager[None]:
        """Return a context for a backward pass after which gradients are not averaged yet."""
        return contextlib.nullcontext()


ALONE = World()


def full_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor as one process would hold it; all processes gather a sharded one together."""
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def shard_like(tensor: Tensor, like: Any) -> Tensor:
    """Return this process's shard of a full tensor, divided and placed like `like`."""
    tensor = tensor.to(like.device)
    if not hasattr(like, "device_mesh"):  # a DTensor has one; its class is slow to import
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)
