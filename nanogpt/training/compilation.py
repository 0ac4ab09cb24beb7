"""torch.compile of the training step."""

from collections.abc import Callable

import torch
from torch import Tensor

from nanogpt.training.trainer import TrainStep


def compile_step(step: TrainStep) -> tuple[Callable[..., Tensor], str | None]:
    """Return the module to call in a step, compiled if that works on every process, and a note if not."""
    if step.world.size > 1 and step.config.parallel == "fsdp":
        asked = step.config.compile == "on"
        return step.module, "with --parallel fsdp the step is not compiled" if asked else None
    forward: Callable[..., Tensor] = step.module
    note: str | None = None
    try:
        forward = torch.compile(step.module, dynamic=False)
        _try_once(step, forward)
    except Exception as error:  # torch.compile raises whatever its compilers raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        note = f"torch.compile failed, training continues without it ({reason[:200]})"
    failed = step.world.any(note is not None)
    if failed and note is None:
        note = "torch.compile failed on another process, training continues without it"
    return (step.module if failed else forward), note


def _try_once(step: TrainStep, forward: Callable[..., Tensor]) -> None:
    # Without the other processes: where it fails here alone, they would wait.
    devices = [step.device] if step.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices), step.world.no_sync(step.module):
            step.model.train()
            step.loss(forward, 0, step.micro_steps()[0]).backward()
    finally:
        step.model.zero_grad()  # a failed backward pass may leave gradients
