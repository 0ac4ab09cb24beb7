"""How much memory a training takes, how much this machine has, and which smaller training would fit.

What a forward pass keeps for the backward pass is counted from the model's parts; a test compares the count with what
torch keeps. The process itself and the allocator's fragmentation were measured. `python -m benchmarks.memory` compares
whole estimates with the peaks of real processes.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from nanogpt.config import Config, ModelConfig
from nanogpt.data.batches import micro_batch_size
from nanogpt.errors import UserError
from nanogpt.model.attention import BLOCK_QUERIES
from nanogpt.model.loss import GPU_CHUNK_LOGITS
from nanogpt.model.parameters import count_adapter_parameters, count_parameters
from nanogpt.parallel.devices import pick_precision

FLOAT, HALF = 4, 2
"""Bytes of a number."""
PROCESS = 335_000_000
"""Bytes of Python and torch with its kernels, on a CPU. A GPU's memory does not hold them."""
GAPS = {"rms": 1.25, "layer": 1.15}
"""Bytes that glibc takes for each byte kept: RMS norms leave many short-lived tensors, layer norms few."""
CACHED_GAPS = 1.1
"""Bytes that torch's caching allocators take on GPUs for each byte kept."""
EVALUATION_TOKENS = 8192
"""Tokens that an evaluation reads in one forward pass."""
GIGABYTE = 1e9
USABLE = 0.95
"""Share of the free memory that a training may use; the rest is for other programs."""
CGROUPS = Path("/sys/fs/cgroup")
PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes at the peak, by what they are for."""

    process: int
    weights: int
    gradients: int
    optimizer: int
    """the optimizer's state"""
    activations: int
    """kept for the backward pass of one micro-step, with the logits"""
    evaluation: int
    """of an evaluation's forward pass, which keeps nothing"""
    update: int
    """needed only during the optimizer's step"""

    @property
    def peak(self) -> int:
        """The most at any time; an allocator seldom gives the memory of one kind of work to the next."""
        work = max(self.activations, self.update) + self.evaluation
        return self.process + self.weights + self.gradients + self.optimizer + work


def estimate_memory(config: Config, device: str = "cpu", half: bool = False, processes: int = 1) -> MemoryEstimate:
    """Estimate the peak of a training in each process, on a type of device; `half`: matrix products in bfloat16."""
    model, train = config.model, config.train
    count = count_parameters(model)
    shared = processes if train.parallel == "fsdp" else 1
    learned = count.total if train.lora is None else count_adapter_parameters(model, train.lora)
    muon = count.matrices if train.optimizer == "muon" else 0
    sequences = micro_batch_size(model, train, device, processes)
    on_cpu = device == "cpu"
    gaps = GAPS[model.norm] if on_cpu else CACHED_GAPS
    tokens = sequences * model.block_size
    each = model.vocab_size * (HALF if half else FLOAT) * tokens
    chunk = 0 if on_cpu else 2 * FLOAT * min(GPU_CHUNK_LOGITS, model.vocab_size * tokens)  # small on a CPU
    logits = each + max(each, chunk)  # the logits, and then their scaled gradient, or before it a chunk in float32
    return MemoryEstimate(
        process=PROCESS if on_cpu else 0,
        weights=(count.total + (0 if train.lora is None else learned)) * FLOAT // shared,
        gradients=learned * FLOAT // shared,
        optimizer=(muon + 2 * (learned - muon)) * FLOAT // shared,
        activations=int(gaps * activation_bytes(model, tokens, half, on_cpu)) + logits,
        evaluation=int(evaluation_bytes(model)),
        update=int(3 * muon * FLOAT),  # the updates, and the iterations that orthogonalize them
    )


def activation_bytes(model: ModelConfig, tokens: int, half: bool = False, on_cpu: bool = True) -> int:
    """Return the bytes that a forward pass keeps for the backward pass; `half` keeps copies of the weights, too."""
    size = HALF if half else FLOAT
    head = (2 * model.n_embd + model.vocab_size) * size
    kept = tokens * (model.n_layer * (_layer_bytes(model, size) + _attention_bytes(model, size, on_cpu)) + head)
    return kept + (HALF * (count_parameters(model).matrices + model.vocab_size * model.n_embd) if half else 0)


def _layer_bytes(model: ModelConfig, size: int) -> int:
    """Return the bytes kept per token in one layer; a matrix product's numbers take `size` bytes each."""
    C, queries = model.n_embd, model.n_head * model.head_channels
    rotated = (model.n_head + model.kv_heads) * model.head_channels
    kept = 4 * C * size + 2 * FLOAT  # the stream and its norm, for both sub-layers, and the norms' divisors
    kept += (model.n_head + 2 * model.kv_heads) * model.head_channels * size  # q, k, v
    kept += queries * size  # the output of attention, as `proj` reads it
    kept += rotated * size if model.position == "rope" or model.qk_norm else 0
    kept += (model.n_head + model.kv_heads) * FLOAT if model.qk_norm else 0
    kept += 2 * queries * size if model.kv_heads < model.n_head else 0  # keys and values repeated for their group
    return kept + model.hidden * size * {"swiglu": 5, "relu": 1}.get(model.activation, 2)


def _attention_bytes(model: ModelConfig, size: int, on_cpu: bool) -> int:
    """Return the bytes of attention weights kept per token in one layer (see `nanogpt.model.attention`)."""
    T, dropped = model.block_size, model.dropout if model.attention_dropout is None else model.attention_dropout
    if not dropped and not (on_cpu and size == HALF):
        return model.n_head * model.head_channels * size  # the fused function keeps its result as well as the copy
    return model.n_head * (T + min(T, BLOCK_QUERIES)) // 2 * size  # a block of queries sees the keys up to its last


def evaluation_bytes(model: ModelConfig, tokens: int = EVALUATION_TOKENS) -> int:
    """Return the peak of a forward pass that keeps nothing: inside a feed-forward network, or at the logits."""
    inside = 2 * model.n_embd + model.hidden * (4 if model.activation == "swiglu" else 2)
    return max(tokens, model.block_size) * FLOAT * max(inside, model.n_embd + 2 * model.vocab_size)


def peak_bytes(config: Config, device: torch.device, processes: int = 1) -> int:
    """Return the estimated peak of a training in each of its processes."""
    half = pick_precision(device, config.train.precision) == "bfloat16"
    return estimate_memory(config, device.type, half, processes).peak


@dataclass(frozen=True)
class MemoryLimit:
    """The memory that each process of a training may take."""

    bytes: float
    source: str
    """who sets it, as the error message says it: --memory 2 allows"""


def find_memory_limit(gigabytes: float | None, device: torch.device, processes: int = 1) -> MemoryLimit | None:
    """Return the limit for each process that the user set, else what is free on the device now; None if unknown."""
    shared = processes if device.type != "cuda" else 1
    if gigabytes is not None:
        return MemoryLimit(gigabytes * GIGABYTE / shared, f"--memory {gigabytes:g} allows")
    free = free_bytes(device)
    return None if free is None else MemoryLimit(USABLE * free / shared, "this machine now has")


def free_bytes(device: torch.device) -> float | None:
    """Return the memory that this process could take in all, its present memory included; None where unknown."""
    if device.type != "cpu":
        gpu = device.type == "cuda"
        return float(torch.cuda.mem_get_info(device)[0] if gpu else torch.mps.recommended_max_memory())
    try:  # Linux
        lines = (PROC / "meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable:"))
        own = int((PROC / "self/statm").read_text().split()[1]) * float(os.sysconf("SC_PAGE_SIZE"))
        return own + min([available, *_control_groups()])
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        return None


def _control_groups() -> Iterator[float]:
    """Yield the memory left in each control group of this process with a limit; cached files count as free."""
    try:
        lines = (PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, kinds, path = line.split(":", 2)
        if number == "0":  # version 2: one tree for everything
            root, names, cached = CGROUPS, ("memory.max", "memory.current"), "inactive_file"
        elif "memory" in kinds.split(","):
            root, cached = CGROUPS / "memory", "total_inactive_file"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        group = root / path.lstrip("/")
        for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(root))):
            with contextlib.suppress(OSError, ValueError):  # ValueError where the limit is "max"
                limit, used = (float((folder / name).read_text()) for name in names)
                stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
                yield max(0.0, limit - used + float(stat.get(cached, 0)))


def fits(config: Config, limit: MemoryLimit | None, device: torch.device, processes: int = 1) -> bool:
    """Return whether a training stays within the limit; True where there is none."""
    return limit is None or peak_bytes(config, device, processes) <= limit.bytes


def check_memory(
    config: Config, limit: MemoryLimit | None, device: torch.device, processes: int = 1, fresh: bool = True
) -> None:
    """Raise UserError, with a training that would fit, where this one exceeds the limit; keep a model not `fresh`."""
    if limit is None or fits(config, limit, device, processes):
        return
    needed = peak_bytes(config, device, processes)
    smaller = _smaller_models(config) if fresh else _shorter_contexts(config)
    fitting = next((one for one in smaller if fits(one, limit, device, processes)), None)
    raise UserError(
        f"the training would take about {_gigabytes(needed)}, but {limit.source} {_gigabytes(limit.bytes)}: "
        + ("no size fits, give it more memory" if fitting is None else f"choose {_changed_flags(config, fitting)}")
    )


def _smaller_models(config: Config) -> Iterator[Config]:
    """Yield smaller and smaller trainings: smaller micro-batches of the same effective batch, then smaller models."""
    model = config.model
    channels, layers = model.n_embd, model.n_layer
    while layers:
        yield from _smaller_batches(config.override(n_embd=channels, n_layer=layers))
        # Half the width has a quarter of the weights, half the depth half of them: alternate, to keep the shape.
        if (layers > 1 and layers * 64 > channels) or channels < 4 * model.n_head:
            layers = layers // 2
        else:
            channels = channels // 2 // (2 * model.n_head) * (2 * model.n_head)  # heads stay even, for RoPE


def _shorter_contexts(config: Config) -> Iterator[Config]:
    """Yield smaller and smaller trainings of the same model: smaller micro-batches, then shorter contexts."""
    block = config.model.block_size
    while block:
        yield from _smaller_batches(config.override(block_size=block))
        block //= 2


def _smaller_batches(config: Config) -> Iterator[Config]:
    """Yield the config with each micro-batch of the same effective batch, from the present one down."""
    whole = config.train.batch_sequences
    for batch in range(config.train.batch_size, 0, -1):
        if whole % batch == 0:
            yield config.override(batch_size=batch, accumulation=whole // batch)


def _changed_flags(config: Config, other: Config) -> str:
    """Return the flags that turn `config` into the other one."""
    before, after = ({**one.to_dict()["model"], **one.to_dict()["train"]} for one in (config, other))
    names = ("n_layer", "n_embd", "block_size", "batch_size", "accumulation")
    changed = [f"--{name.replace('_', '-')} {after[name]}" for name in names if after[name] != before[name]]
    kept = f" (the effective batch stays {config.train.batch_sequences})" if config.train != other.train else ""
    return " ".join(changed) + kept


def _gigabytes(size: float) -> str:
    return f"{size / GIGABYTE:.2f} GB" if size < 10 * GIGABYTE else f"{size / GIGABYTE:.0f} GB"
