"""The machine: which device, which number format, how many threads, and whether the step is compiled."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn

from nanogpt.errors import UserError

OUT_OF_MEMORY = (  # what the messages of torch and its allocators have in common
    "DefaultCPUAllocator",
    "not enough memory",
    "out of memory",
)


def pick_device(name: str = "auto") -> torch.device:
    """`cpu`, `cuda`, `mps`, or with `auto` the fastest of those that are there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    if not there[name]:
        usable = ", ".join(kind for kind, yes in there.items() if yes)
        raise UserError(f"device {name!r} is not on this machine, or this torch is built without it; choose {usable}")
    return torch.device(name)


def pick_precision(
    device: torch.device, name: Literal["auto", "float32", "bfloat16"] = "auto"
) -> Literal["float32", "bfloat16"]:
    """`float32`, `bfloat16`, or with `auto` the faster: by what the processor can do, so that it never varies.

    bfloat16 is the faster where there are instructions for its products: a GPU's, or on x86 AVX512-BF16 and AMX. Where
    it is emulated it is slower than float32. Never float16, which needs its loss scaled.
    """
    if name != "auto":
        return name
    return "bfloat16" if _multiplies_bfloat16(device) else "float32"


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # Names of torch 2.8; its public `get_capabilities` came later.
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return torch.backends.mkldnn.is_available() and any(getattr(torch.cpu, name)() for name in names)
    return False


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[None]:
    """The forward pass in mixed precision where `precision` (see `pick_precision`) is bfloat16; weights stay as is."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """A CPU's tensor on a device; a GPU takes it from pinned memory while this process goes on."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class OutOfMemory(RuntimeError):
    """A step ran out of memory; weights and optimizer are as they were before it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, a GPU's, or the CPU allocator's, whose error has no class of its own."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in OUT_OF_MEMORY)


def release_memory(device: torch.device) -> None:
    """Give back what the allocator keeps for later: in pieces of other sizes than those that did not fit."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with so many CPU threads, or with None as many as before: sums are split among them, and rounded so."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compile_or_not(
    model: nn.Module, mode: str, device: torch.device, attempt: Callable[[Callable[..., Any]], None]
) -> tuple[Callable[..., Any], str | None]:
    """The model to call in a training step, compiled where that is wanted and works, and a note where it failed.

    `attempt` runs the candidate once, forward and backward: compilation fails late, in its first call.
    """
    if mode == "off" or (mode == "auto" and device.type != "cuda"):
        return model, None
    try:
        compiled = torch.compile(model, dynamic=False)
        attempt(compiled)
    except Exception as error:  # torch.compile raises whatever its compilers raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return model, f"torch.compile failed, training goes on without it ({reason[:200]})"
    return compiled, None
