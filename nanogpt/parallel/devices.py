"""The machine: device, number format, threads."""

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from nanogpt.errors import UserError


def pick_device(name: str = "auto") -> torch.device:
    """Return the device `cpu`, `cuda` or `mps`, or with `auto` the fastest available."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    if not available[name]:
        usable = ", ".join(kind for kind, yes in available.items() if yes)
        raise UserError(f"--device {name}: not on this machine, or torch was built without it; choose {usable}")
    return torch.device(name)


def pick_precision(
    device: torch.device, name: Literal["auto", "float32", "bfloat16"] = "auto"
) -> Literal["float32", "bfloat16"]:
    """Return `float32` or `bfloat16`, or with `auto` the faster, by what the hardware supports: reproducible.

    bfloat16 is faster where the processor multiplies it: on GPUs, and on x86 with AVX512-BF16 or AMX. Elsewhere it is
    emulated and slower. Never float16, which needs loss scaling.
    """
    if name != "auto":
        return name
    # Names of torch 2.8; the public `get_capabilities` came later.
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and torch.backends.mkldnn.is_available()
        fast = fast and any(getattr(torch.cpu, name)() for name in names)
    return "bfloat16" if fast else "float32"


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[None]:
    """Return a context for a forward pass in mixed precision, if `precision` is bfloat16."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to a device; to a GPU from pinned memory, without waiting."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with `count` CPU threads (None: as before). A different number changes floating-point rounding."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
