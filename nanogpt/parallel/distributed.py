"""Several processes train one run: how they meet, agree and share the work.

`torchrun` starts the processes. ddp: every process has the whole model, reads its part of each batch, and gradients are
averaged (Li et al. 2020, "PyTorch distributed"). fsdp: every process keeps a shard of each weight, its gradient and
optimizer state, and gathers the weights block by block (Zhao et al. 2023, "PyTorch FSDP"). Everything else
(a path, a decision) is sent as JSON, because torch pickles objects.
"""

import contextlib
import inspect
import json
import os
import socket
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn

from nanogpt.config import TrainConfig
from nanogpt.errors import ReportedElsewhere, UserError
from nanogpt.model.gpt import GPT, Block
from nanogpt.parallel.devices import pick_device
from nanogpt.parallel.world import ALONE, Json, World

TIMEOUT = timedelta(hours=1)
"""How long a process waits for the others; the main one may be tokenizing a long text."""
RELEASE_SECONDS = 5.0
"""How long to wait at most until gloo's thread releases a tensor."""
VARIABLES = {"rank": "RANK", "size": "WORLD_SIZE", "local_rank": "LOCAL_RANK", "local_size": "LOCAL_WORLD_SIZE"}
"""Environment variables that torchrun sets"""


@dataclass(frozen=True, kw_only=True)
class ProcessGroup(World):
    """One of several processes."""

    local_rank: int = 0
    """number of this process on its machine, and of its GPU"""
    local_size: int = 1
    """number of processes on this machine"""
    job: str | None = None
    """name of the torchrun job, the same after torchrun restarted its processes"""
    restarts: int = 0
    """how often torchrun restarted them"""

    def __post_init__(self) -> None:
        if not (0 <= self.local_rank <= self.rank < self.size and self.local_rank < self.local_size <= self.size):
            raise ValueError

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ProcessGroup":
        """Read torchrun's environment variables."""
        job = environment.get("TORCHELASTIC_RUN_ID")
        try:
            return cls(
                **{name: int(environment[variable]) for name, variable in VARIABLES.items()},
                # Without --rdzv-id every job has the same name: torchrun's process distinguishes them.
                job=None if job is None else f"{job}:{socket.gethostname()}:{os.getppid()}",
                restarts=int(environment.get("TORCHELASTIC_RESTART_COUNT", "0")),
            )
        except (KeyError, ValueError):
            raise UserError(
                f"the environment variables {', '.join(VARIABLES.values())} don't describe a process group: start "
                f"several processes with torchrun, which sets them, or unset WORLD_SIZE to train in one"
            ) from None

    def device(self, name: str = "auto") -> torch.device:
        """Return the device of this process: the CPU, or a GPU for each process of a machine."""
        device = pick_device(name)
        if device.type == "cpu":
            return device
        if device.type != "cuda":
            raise UserError(f"--device {device.type}: several processes can't share it; choose --device cpu")
        if self.local_size > torch.cuda.device_count():
            raise UserError(
                f"{self.local_size} processes on this machine need a GPU each, and it has {torch.cuda.device_count()}: "
                f"start fewer with --nproc-per-node, or choose --device cpu"
            )
        torch.cuda.set_device(self.local_rank)  # for whatever is made on "cuda" without a number
        return torch.device("cuda", self.local_rank)

    def broadcast(self, value: Json) -> Json:
        """Return the main process's value on every process."""

        def from_main(numbers: list[int]) -> list[int]:
            return _exchange(lambda tensor: distributed.broadcast(tensor, src=0), numbers)

        words = json.dumps(value).encode()
        (length,) = from_main([len(words)])
        result: Json = json.loads(bytes(from_main(list(words) if self.main else [0] * length)))
        return result

    def on_main(self, call: Callable[[], Json], assist: Callable[[Any], object] | None = None) -> Json:
        """Call on the main process; the others assist with what it asks for."""
        while not self.main:
            message: Any = self.broadcast(None)
            if "error" in message:
                raise ReportedElsewhere(message["error"])
            if "result" in message:
                return message["result"]
            assert assist is not None
            assist(message["ask"])
        try:
            result = call()
        except Exception as error:
            self.broadcast({"error": str(error)})
            raise
        self.broadcast({"result": result})
        return result

    def ask(self, request: Any) -> None:
        """Let the other processes run `assist` on a request that JSON can hold, inside `on_main`."""
        self.broadcast({"ask": request})

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any process."""
        (vote,) = _exchange(lambda tensor: distributed.all_reduce(tensor, distributed.ReduceOp.MAX), [int(flag)])
        return bool(vote)

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of all processes' tensors, the same bits on every process."""
        total = tensor.clone()
        distributed.all_reduce(total)
        return total

    def wrap(self, model: nn.Module, parallel: str, device: torch.device) -> nn.Module:
        """Return the module to call in a training step, under ddp or fsdp."""
        assert isinstance(model, GPT)
        return shard(model, self.size, device) if parallel == "fsdp" else replicate(model, device)

    def no_sync(self, module: nn.Module) -> contextlib.AbstractContextManager[None]:
        """Return a context for a backward pass after which gradients are not averaged yet."""
        # fsdp has none: it averages after every backward pass, as waiting would take memory for a whole gradient.
        context: contextlib.AbstractContextManager[None] = getattr(module, "no_sync", contextlib.nullcontext)()
        return context


def replicate(model: GPT, device: torch.device) -> nn.Module:
    """Return the model under DistributedDataParallel."""
    from torch.nn.parallel import DistributedDataParallel

    # The keys of dropout differ between processes. torch 2.13 renamed the option.
    names = inspect.signature(DistributedDataParallel).parameters
    own_buffers: Any = {"forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers": False}
    return DistributedDataParallel(
        model,
        device_ids=None if device.type == "cpu" else [device],
        find_unused_parameters=any(type(block) is not Block for block in model.blocks),
        **own_buffers,
    )


def shard(model: GPT, processes: int, device: torch.device) -> nn.Module:
    """Divide the model's parameters, in place, among the processes; return the model."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = init_device_mesh(device.type, (processes,))
    for module in (*model.blocks, model):
        try:
            # Also free the outermost weights after a forward pass: then a parameter always is a shard.
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
        except (ValueError, NotImplementedError) as error:
            raise UserError(f"--parallel fsdp can't shard this model ({error}); choose --parallel ddp") from None
    for module in model.modules():
        if isinstance(module, FSDPModule):
            # gloo sums in some releases of torch where it is asked for a mean: ask for a sum, and divide.
            module.set_force_sum_reduction_for_comms(True)
    return model


def check_divisible(config: TrainConfig, processes: int) -> None:
    """Raise UserError unless the processes can take equal parts of a step's sequences."""
    total = config.batch_sequences
    if total % processes == 0:
        return
    possible = [str(number) for number in range(1, total + 1) if total % number == 0]
    below = config.batch_size // processes * processes or processes
    raise UserError(
        f"{processes} processes can't take equal parts of a step's {total} sequences (--batch-size {config.batch_size} "
        f"times --accumulation {config.accumulation}): start {', '.join(possible)} processes, or for a new run choose "
        f"--batch-size {below} or {below + processes}"
    )


def _exchange(collective: Callable[[Tensor], object], numbers: list[int]) -> list[int]:
    """Return what a collective makes of the processes' numbers, once gloo's thread has released the tensor.

    A process that ended before that would abort, and torchrun would start a finished run again.
    """
    tensor = torch.tensor(numbers)
    collective(tensor)
    numbers, held = tensor.tolist(), weakref.ref(tensor)
    del tensor
    deadline = time.monotonic() + RELEASE_SECONDS
    while held() is not None and time.monotonic() < deadline:
        time.sleep(0.0001)
    return numbers


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """Join the processes that torchrun started, for the length of the block; raise UserError where one is lost."""
    from torch.distributed.rendezvous import rendezvous

    group = ProcessGroup.from_environment(os.environ)
    if group.size == 1:
        yield ALONE
        return
    try:
        store, _, _ = next(rendezvous("env://", timeout=TIMEOUT))
        # After a restart torchrun's store still holds the addresses of the earlier processes.
        store = distributed.PrefixStore(f"attempt {group.restarts}", store)
        with_gpus = torch.cuda.is_available() and distributed.is_nccl_available()
        backend = "cpu:gloo,cuda:nccl" if with_gpus else "gloo"
        distributed.init_process_group(backend, store=store, rank=group.rank, world_size=group.size, timeout=TIMEOUT)
        yield group
        group.any(False)  # nobody destroys the group while another process still uses it
    except RuntimeError as error:
        if not (isinstance(error, distributed.DistError) or "gloo" in str(error)):
            raise
        raise UserError(
            f"process {group.rank} of {group.size} lost another process: see that process's last message. What was "
            f"saved is intact; continue with --resume"
        ) from None
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
