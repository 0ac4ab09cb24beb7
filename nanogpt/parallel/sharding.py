"""A model spread over several processes, and its tensors whole again.

ddp: every process has the whole model and reads its share of each batch; gradients are averaged (Li et al. 2020).
fsdp: every process keeps a share of each weight, its gradient and its optimizer state, and weights are gathered block
by block while they are used (Zhao et al. 2023; torch's `fully_shard`).
An optimizer that needs a whole matrix finds it as it is under ddp; under fsdp `whole` gathers it, and `share_of` takes
this process' share of the result.
"""

import contextlib
import inspect
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from nanogpt.config import TrainConfig
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT, Block
from nanogpt.parallel.world import World


def check_divisible(config: TrainConfig, size: int) -> None:
    """Raise UserError where so many processes cannot have equal shares of a step's sequences."""
    total = config.batch_sequences
    if total % size == 0:
        return
    numbers = [number for number in range(1, total + 1) if total % number == 0]
    below = config.batch_size // size * size or size
    raise UserError(
        f"{size} processes cannot have equal shares of a step's {total} sequences (batch_size {config.batch_size} x "
        f"accumulation {config.accumulation}): start {', '.join(map(str, numbers))} of them, or for a new run choose "
        f"--batch-size {below} or {below + size}"
    )


def spread(model: GPT, parallel: str, world: World, device: torch.device) -> nn.Module:
    """The module to call in a training step: the model itself where one process trains it, or under fsdp.

    Under fsdp the model's parameters are exchanged in place, so an optimizer is made after this.
    """
    if world.size == 1:
        return model
    if parallel == "fsdp":
        _shard(model, world, device)
        return model
    from torch.nn.parallel import DistributedDataParallel

    # The keys of dropout are each process' own. Since torch 2.13 the option has another name.
    names = inspect.signature(DistributedDataParallel).parameters
    own_keys: Any = {"forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers": False}
    own_blocks = any(type(block) is not Block for block in model.blocks)
    return DistributedDataParallel(
        model,
        device_ids=None if device.type == "cpu" else [device],
        find_unused_parameters=own_blocks,
        **own_keys,
    )


def _shard(model: GPT, world: World, device: torch.device) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = init_device_mesh(device.type, (world.size,))
    for module in (*model.blocks, model):
        try:
            # Also the outermost weights go back after a forward pass: then a parameter always is a share.
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
        except (ValueError, NotImplementedError) as error:
            raise UserError(f"--parallel fsdp cannot divide this model ({error}): choose --parallel ddp") from None
    for module in model.modules():
        if isinstance(module, FSDPModule):
            # Asked for an average, gloo sums in some releases of torch, and says nothing: ask for a sum, and divide.
            module.set_force_sum_reduction_for_comms(True)


def unsynchronised(module: nn.Module) -> contextlib.AbstractContextManager[None]:
    """For a backward pass that others follow: under ddp gradients are averaged after the last one alone.

    Under fsdp they are after each: to wait would take memory for a whole gradient, which fsdp is there to avoid.
    """
    no_sync = getattr(module, "no_sync", contextlib.nullcontext)
    manager: contextlib.AbstractContextManager[None] = no_sync()
    return manager


def whole(tensor: Tensor) -> Tensor:
    """A tensor as one process would have it; where it is divided, gathered by all processes together."""
    gathered: Tensor = tensor.full_tensor() if is_divided(tensor) else tensor
    return gathered


def share_of(tensor: Tensor, like: Tensor) -> Tensor:
    """What this process keeps of a whole tensor that every process has: divided, and where, as `like` is."""
    tensor = tensor.to(like.device)
    if not is_divided(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def is_divided(tensor: Any) -> TypeGuard[Any]:
    """Whether each process has a share of a tensor (torch's DTensor, not imported to tell that something is none)."""
    return hasattr(tensor, "device_mesh")
