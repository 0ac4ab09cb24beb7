"""Our side of `benchmarks.generate`: a process that generates with random weights and prints when each token came.

    python -m benchmarks.generation_run '{"sizes": {…}, "streams": 1, "tokens": 1000, "precision": "float32"}'

With `--memory` instead it prints how fast this machine reads memory.
"""

import json
import statistics
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from nanogpt.parallel.process import prepare_process

if TYPE_CHECKING:
    from nanogpt.model.gpt import GPT

MEMORY_BYTES = 1 << 28
"""Many times what a processor's caches hold."""


def main() -> None:
    """Measure one thing and print it as JSON."""
    prepare_process()
    found = memory() if sys.argv[1] == "--memory" else generation(**json.loads(sys.argv[1]))
    print(json.dumps(found))


def generation(sizes: dict[str, int], streams: int, tokens: int, precision: str) -> dict[str, Any]:
    """Seconds of each step (a token of every stream), and the bytes of weights that a step reads."""
    import torch

    from benchmarks.peers.first_steps import SAME
    from nanogpt.config import SampleConfig, load_preset
    from nanogpt.model.gpt import GPT
    from nanogpt.sampling.generate import generate_ids
    from nanogpt.sampling.precision import lower_precision

    parts = {name: SAME[name] for name in ("activation", "bias", "qkv_bias")}
    config = load_preset("gpt2").override(**parts, **sizes)
    model = GPT(config.model, torch.Generator().manual_seed(1337)).eval()
    settings: dict[str, Any] = {"samples": streams, "precision": precision}
    prompt = torch.zeros(1, dtype=torch.long)
    for _ in generate_ids(model, prompt, SampleConfig(tokens=8, **settings)):
        pass
    came = [time.perf_counter()]
    for _ in generate_ids(model, prompt, SampleConfig(tokens=tokens, **settings)):
        came.append(time.perf_counter())
    steps = [later - earlier for earlier, later in pairwise(came)]
    return {"steps": steps, "read_bytes": read_bytes(lower_precision(model, precision))}


def read_bytes(model: "GPT") -> int:
    """Bytes of the linear layers' weights, which each step reads once; what else it reads is small."""
    from torch import nn

    from nanogpt.sampling.precision import BFloat16Linear, Int8Linear

    kinds = (nn.Linear, BFloat16Linear, Int8Linear)
    return sum(module.weight.nbytes for module in model.modules() if isinstance(module, kinds))


def memory() -> dict[str, float]:
    """Bytes a second that all threads read together: the median of sums over a large tensor."""
    import torch

    large, seconds = torch.ones(MEMORY_BYTES // 4), []
    for _ in range(12):
        began = time.perf_counter()
        large.sum()
        seconds.append(time.perf_counter() - began)
    return {"bytes_per_second": MEMORY_BYTES / statistics.median(seconds[2:])}


if __name__ == "__main__":
    main()
