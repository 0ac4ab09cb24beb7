"""Memory that runs out: Python's, a GPU's, or the CPU allocator's."""

import torch

OUT_OF_MEMORY = ("DefaultCPUAllocator", "not enough memory", "out of memory")
"""Parts of the messages of torch and its allocators"""


class OutOfMemory(RuntimeError):
    """A step ran out of memory; weights and optimizers are as they were."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out: Python's, a GPU's, or the CPU allocator's, whose error has no class."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in OUT_OF_MEMORY)


def release_memory(device: torch.device) -> None:
    """Free memory that torch's allocator keeps for tensors of other sizes."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
