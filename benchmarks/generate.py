"""Generated tokens/s by context length, number of streams and precision, compared with nanoGPT's `generate`.

    python -m benchmarks.generate --nanogpt PATH --pairs 5
    python -m benchmarks.generate --nanogpt PATH --pairs 1 --tokens 60 --long-tokens 0 --trial

The network is that of nanoGPT's GPU recipe (10.65M parameters) with random weights, which do not change what a token
costs. nanoGPT has no cache and reads up to 256 tokens again for each; all of our streams are compared with its one.
Each measurement is a fresh process, without loading and eight tokens to warm up. The floor of a step is the time to
read the linear layers' weights once, at the rate at which this machine read memory between the pairs.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.karpathy_nanogpt import SCRIPT, comparison_parser
from benchmarks.pairs import one_pair, ratios, values
from benchmarks.processes import clean_environment, python_call, run
from benchmarks.record import ROOT, Parts, parse
from benchmarks.throughput import SAME
from nanogpt.parallel.process import prepare_process

if TYPE_CHECKING:
    from nanogpt.model.gpt import GPT

SIZES = {"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "vocab_size": 65}
PRECISIONS = ("float32", "bfloat16", "int8")
STREAMS = (1, 4, 16, 64)
STRETCHES = ((1, 128), (128, 256), (256, 1000))
"""Tokens whose speed is reported separately: the context is short, grows to the block, and was full once."""
EARLY, LATE = (300, 1300), (9000, 10000)
"""Tokens whose mean costs are compared."""
MEMORY_BYTES = 1 << 28
"""Many times the size of a processor's caches."""


def main() -> None:
    """Measure what is missing, print and record."""
    parser = comparison_parser(__doc__, streams=list(STREAMS), precisions=PRECISIONS, tokens=1000)
    parser.add_argument("--long-tokens", type=int, default=LATE[1], help="length of the text with late tokens; 0: none")
    options, parts = parse(parser, "generate")
    if options.device != "cpu":
        parser.error("this compares CPUs: leave out --device")
    rows = [measure(parts, *one, options) for one in product(options.precisions, options.streams)]
    result: dict[str, Any] = {"sizes": SIZES, "tokens": options.tokens, "rows": rows}
    if options.long_tokens:
        result["long"] = [measure_long_text(parts, precision, options) for precision in options.precisions]
    parts.write(result)


def measure(parts: Parts, precision: str, streams: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure some streams of ours in a precision, and one of nanoGPT's."""
    given = {"sizes": SIZES, "streams": streams, "tokens": options.tokens, "precision": precision}
    key = given | {"threads": options.threads}
    pairs = parts.repeat(options.pairs, key, lambda number: measure_pair(given, number, options))
    return given | summary(pairs, streams, options.tokens)


def measure_pair(given: dict[str, Any], number: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one pair, and the speed of memory after it."""
    words = [sys.executable, str(SCRIPT), "generate", json.dumps(SIZES), str(given["tokens"])]
    ours, theirs = one_pair(
        number,
        lambda: in_process(python_call(generate, *given.values()), ROOT, options.threads),
        lambda: in_process(words, options.nanogpt, options.threads),
    )
    memory = in_process(python_call(memory_speed), ROOT, options.threads)
    return {
        "seconds": sum(ours["steps"]),
        "their_seconds": theirs["seconds"],
        "stretches": [mean(ours["steps"], *stretch) for stretch in STRETCHES],
        "floor_seconds": ours["read_bytes"] / memory["bytes_per_second"] * given["tokens"],
        "read_bytes": ours["read_bytes"],
        "memory_bytes_per_second": memory["bytes_per_second"],
    }


def summary(pairs: Sequence[dict[str, Any]], streams: int, tokens: int) -> dict[str, Any]:
    """Return tokens/s of both sides, their ratio, and the share of the floor's speed that is reached."""
    ours = [streams * tokens / pair["seconds"] for pair in pairs]
    theirs = [tokens / pair["their_seconds"] for pair in pairs]
    stretches = [
        {"from": first, "to": last, **values([streams / seconds for seconds in each])}
        for (first, last), each in zip(STRETCHES, zip(*(pair["stretches"] for pair in pairs)))
        if None not in each
    ]
    return {
        "ours": values(ours),
        "theirs": values(theirs),
        "ratios": ratios(ours, theirs),
        "share_of_floor": ratios([pair["floor_seconds"] for pair in pairs], [pair["seconds"] for pair in pairs]),
        "stretches": stretches,
        "read_bytes": pairs[0]["read_bytes"],
        "memory_bytes_per_second": values([pair["memory_bytes_per_second"] for pair in pairs]),
    }


def measure_long_text(parts: Parts, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """Compare the cost of late tokens of a long text with that of early ones, in one stream."""
    given = {"sizes": SIZES, "streams": 1, "tokens": options.long_tokens, "precision": precision}

    def measure_once(number: int) -> dict[str, Any]:
        steps = in_process(python_call(generate, *given.values()), ROOT, options.threads)["steps"]
        return {"early": mean(steps, *EARLY), "late": mean(steps, *LATE)}

    texts = parts.repeat(options.pairs, given | {"what": "long text", "threads": options.threads}, measure_once)
    if any(text[when] is None for text in texts for when in ("early", "late")):
        raise SystemExit(f"--long-tokens {options.long_tokens}: choose at least {LATE[1]}, or 0 for none")
    return {"precision": precision} | ratios([text["late"] for text in texts], [text["early"] for text in texts])


def mean(steps: Sequence[float], first: int, last: int) -> float | None:
    """Return the mean of some steps; None where there are fewer.

    >>> mean([1.0, 2.0, 6.0], 1, 3), mean([1.0], 1, 3)
    (4.0, None)
    """
    return statistics.fmean(steps[first:last]) if len(steps) >= last else None


def in_process(command: Sequence[str], imported: Path, threads: int | None) -> Any:
    """Return the JSON that a command prints last, with `imported` on Python's path."""
    environment = clean_environment(threads, PYTHONPATH=str(imported.resolve()), PYTHONDONTWRITEBYTECODE="1")
    return json.loads(run(command, ROOT, environment).lines[-1].text)


def generate(sizes: dict[str, int], streams: int, tokens: int, precision: str) -> dict[str, Any]:
    """Return the seconds of each step (a token of every stream), and the bytes of weights that a step reads."""
    prepare_process()
    import torch

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
    times = [time.perf_counter()]
    for _ in generate_ids(model, prompt, SampleConfig(tokens=tokens, **settings)):
        times.append(time.perf_counter())
    steps = [later - earlier for earlier, later in pairwise(times)]
    return {"steps": steps, "read_bytes": read_bytes(lower_precision(model, precision))}


def read_bytes(model: "GPT") -> int:
    """Return the bytes of the linear layers' weights, which each step reads once; what else it reads is small."""
    from torch import nn

    from nanogpt.sampling.precision import BFloat16Linear, Int8Linear

    kinds = (nn.Linear, BFloat16Linear, Int8Linear)
    return sum(module.weight.nbytes for module in model.modules() if isinstance(module, kinds))


def memory_speed() -> dict[str, float]:
    """Return the bytes per second that all threads read together: the median of sums over a large tensor."""
    prepare_process()
    import torch

    large, seconds = torch.ones(MEMORY_BYTES // 4), []
    for _ in range(12):
        began = time.perf_counter()
        large.sum()
        seconds.append(time.perf_counter() - began)
    return {"bytes_per_second": MEMORY_BYTES / statistics.median(seconds[2:])}


if __name__ == "__main__":
    main()
