"""Several processes train one run: which of them this is, and how they agree.

`torchrun` starts the processes and tells each its place in environment variables. What they tell each other besides
gradients is small (a path, a decision) and goes as JSON, because what torch offers for objects is pickled. With one
process nothing here touches torch.distributed.
"""

import contextlib
import json
import os
import socket
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from nanogpt.errors import ToldElsewhere, UserError
from nanogpt.parallel.devices import pick_device

TIMEOUT = timedelta(hours=1)
"""How long a process waits for the others; the first one may be tokenising a long text."""

RELEASE_SECONDS = 5.0
"""How long to wait at most until gloo's thread lets go of a tensor."""

VARIABLES = {"rank": "RANK", "size": "WORLD_SIZE", "local_rank": "LOCAL_RANK", "local_size": "LOCAL_WORLD_SIZE"}
"""Where torchrun tells a process its place."""

Json = TypeVar("Json")


@dataclass(frozen=True, kw_only=True)
class World:
    """A process' place among those that train together."""

    rank: int = 0
    """number of this process, from 0"""
    size: int = 1
    """how many there are"""
    local_rank: int = 0
    """number of this process on its machine, which is also that of its GPU"""
    local_size: int = 1
    """how many there are on this machine"""
    job: str | None = None
    """names what torchrun was started for, the same after it restarted its processes"""
    restarts: int = 0
    """how often it did"""

    def __post_init__(self) -> None:
        if not (0 <= self.local_rank <= self.rank < self.size and self.local_rank < self.local_size <= self.size):
            raise ValueError

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "World":
        """The place that torchrun gave to this process; without torchrun it is alone."""
        if "WORLD_SIZE" not in environment:
            return cls()
        job = environment.get("TORCHELASTIC_RUN_ID")
        try:
            return cls(
                **{name: int(environment[variable]) for name, variable in VARIABLES.items()},
                # torchrun's own name for it is the same for all who give none: its process tells them apart.
                job=None if job is None else f"{job}:{socket.gethostname()}:{os.getppid()}",
                restarts=int(environment.get("TORCHELASTIC_RESTART_COUNT", "0")),
            )
        except (KeyError, ValueError):
            raise UserError(
                f"the environment variables {', '.join(VARIABLES.values())} do not say which of how many processes "
                f"this is: start several by torchrun, which sets them, or remove WORLD_SIZE to train in one"
            ) from None

    @property
    def main(self) -> bool:
        """Whether this is the process that decides, writes files and talks to the user."""
        return self.rank == 0

    def device(self, name: str = "auto") -> torch.device:
        """The device of this process: as `pick_device`, with a GPU for each process of a machine."""
        device = pick_device(name)
        if self.size == 1 or device.type == "cpu":
            return device
        if device.type != "cuda":
            raise UserError(f"several processes cannot share the device {device.type!r}: choose --device cpu, or one")
        if self.local_size > torch.cuda.device_count():
            raise UserError(
                f"{self.local_size} processes on this machine cannot have a GPU each, it has "
                f"{torch.cuda.device_count()}: start fewer by --nproc-per-node, or choose --device cpu"
            )
        torch.cuda.set_device(self.local_rank)  # what is made by "cuda" without a number goes there too
        return torch.device("cuda", self.local_rank)

    def misses(self, what: str) -> UserError:
        """What to say where this process does not find a file that the first one wrote."""
        return UserError(
            f"process {self.rank} does not find {what}, which process 0 wrote: the folder of the run, and that of the "
            f"cache (the environment variable NANOGPT_CACHE), have to be on a disk that all machines share"
        )

    def share(self, value: Json) -> Json:
        """The first process' value, which JSON can hold, on every process."""
        if self.size == 1:
            return value
        from torch import distributed

        def from_first(numbers: list[int]) -> list[int]:
            return _exchange(lambda tensor: distributed.broadcast(tensor, src=0), numbers)

        words = json.dumps(value).encode()
        (length,) = from_first([len(words)])
        result: Json = json.loads(bytes(from_first(list(words) if self.main else [0] * length)))
        return result

    def lead(self, call: Callable[[], Json], assist: Callable[[Any], object] | None = None) -> Json:
        """Let the first process alone call something, and give the result, which JSON can hold, to every process.

        Meanwhile the others `assist`, with whatever the call asks of them by `ask`. Where it raises they end too,
        instead of waiting for it, and leave it to tell why.
        """
        if self.size == 1:
            return call()
        if not self.main:
            return self._follow(assist)
        try:
            result = call()
        except Exception as error:
            self.share({"error": str(error)})
            raise
        self.share({"result": result})
        return result

    def _follow(self, assist: Callable[[Any], object] | None) -> Any:
        while True:
            told: Any = self.share(None)
            if "error" in told:
                raise ToldElsewhere(told["error"])
            if "result" in told:
                return told["result"]
            assert assist is not None
            assist(told["ask"])

    def ask(self, what: Any) -> None:
        """Inside a call that this process leads: have the others assist with something that JSON can hold."""
        if self.size > 1:
            self.share({"ask": what})

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any process."""
        if self.size == 1:
            return flag
        from torch import distributed

        (vote,) = _exchange(lambda tensor: distributed.all_reduce(tensor, distributed.ReduceOp.MAX), [int(flag)])
        return bool(vote)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of the processes' tensors of one shape, the same bits on every process."""
        if self.size == 1:
            return tensor
        from torch import distributed

        total = tensor.clone()
        distributed.all_reduce(total)
        return total


def _exchange(collective: Callable[[Tensor], object], numbers: list[int]) -> list[int]:
    """What the processes make of their numbers, once gloo's thread has let go of them.

    To let go of a tensor the thread needs Python. Where the process ended before, it would abort: a run that is
    finished and saved would count as failed, and torchrun would start it again.
    """
    tensor = torch.tensor(numbers)
    collective(tensor)
    numbers, held = tensor.tolist(), weakref.ref(tensor)
    del tensor
    deadline = time.monotonic() + RELEASE_SECONDS
    while held() is not None and time.monotonic() < deadline:
        time.sleep(0.0001)
    return numbers


ALONE = World()
"""The place of a process that trains by itself."""


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """Meet the processes that torchrun started with this one, for the length of the block.

    Raises UserError where one of the others is lost.
    """
    world = World.from_environment(os.environ)
    if world.size == 1:
        yield world
        return
    from torch import distributed

    try:
        _meet(world)
        yield world
        world.any(False)  # nobody takes the group down while another still uses it
    except RuntimeError as error:
        if not (isinstance(error, distributed.DistError) or "gloo" in str(error)):
            raise
        raise UserError(
            f"process {world.rank} of {world.size} lost another one, which ended or cannot be reached: what it said "
            f"last tells why. What was saved is whole: go on with --resume"
        ) from None
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _meet(world: World) -> None:
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    store, _, _ = next(rendezvous("env://", timeout=TIMEOUT))
    # After a restart torchrun's store still has the addresses of the processes before it, and a quick one finds those.
    store = distributed.PrefixStore(f"attempt {world.restarts}", store)
    with_gpus = torch.cuda.is_available() and distributed.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if with_gpus else "gloo"
    distributed.init_process_group(backend, store=store, rank=world.rank, world_size=world.size, timeout=TIMEOUT)
