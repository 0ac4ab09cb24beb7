"""Estimated and measured memory of trainings.

    python -m benchmarks.memory

A peak is the largest resident set of `nanogpt train` with a few steps, evaluations, a sample and checkpoints, on random
characters. A row's ratio is estimate over measurement.
"""

import random
import statistics
from pathlib import Path
from typing import Any

import torch

from benchmarks.processes import Workspace, flags
from benchmarks.record import new_parser, parse
from nanogpt.config import load_preset
from nanogpt.model.parameters import count_parameters
from nanogpt.planning.memory import peak_bytes

SHAKESPEARE = 65
QUICK: dict[str, Any] = {"device": "cpu", "sample_tokens": 20, "eval_tokens": 8192, "final_eval_tokens": 8192}
"""An evaluation of this length reads as much at once as a whole one."""
_SMALL: dict[str, Any] = {"n_layer": 3, "n_embd": 160, "block_size": 64, "batch_size": 16}
_MIDDLE: dict[str, Any] = {"n_layer": 5, "n_embd": 192, "block_size": 128, "batch_size": 32}
_GPT2: dict[str, Any] = {
    "preset": "gpt2",
    "n_layer": 6,
    "n_head": 6,
    "n_embd": 384,
    "block_size": 256,
    "batch_size": 16,
}
CASES: tuple[dict[str, Any], ...] = (
    {"n_layer": 2, "n_embd": 64, "block_size": 32, "batch_size": 16},
    _SMALL,
    _SMALL | {"optimizer": "muon"},
    _MIDDLE | {"optimizer": "muon"},
    _MIDDLE | {"batch_size": 64},
    _MIDDLE | {"n_layer": 10},
    _MIDDLE | {"dropout": 0.2},
    _MIDDLE | {"precision": "bfloat16"},
    _MIDDLE | {"batch_size": 8, "accumulation": 4},
    {"n_layer": 6, "n_embd": 384, "block_size": 256, "batch_size": 16, "optimizer": "muon"},
    {"n_layer": 6, "n_embd": 512, "block_size": 256, "batch_size": 4, "n_head": 8},
    {"n_layer": 8, "n_embd": 768, "block_size": 64, "batch_size": 2, "n_head": 12, "optimizer": "muon"},
    {"n_layer": 3, "n_embd": 128, "block_size": 128, "batch_size": 16, "vocab_size": 8192},
    {"preset": "gpt2", "n_layer": 4, "n_embd": 128, "block_size": 64, "batch_size": 12},
    _GPT2,
    _GPT2 | {"dropout": 0.2},
    _GPT2 | {"n_layer": 12, "n_head": 12, "n_embd": 768, "batch_size": 2},
    {"preset": "lecture", "batch_size": 16},
)


def main() -> None:
    """Measure every case, print and record."""
    parser = new_parser(__doc__)
    parser.add_argument("--cases", type=int, nargs="+", default=list(range(len(CASES))), help="numbers from 0")
    options, parts = parse(parser, "memory", parts=False)
    rows = [measure(CASES[number]) for number in options.cases]
    each = [row["ratio"] for row in rows]
    ratio = {"lowest": min(each), "median": statistics.median(each), "highest": max(each)}
    parts.write({"ratio": ratio, "mean_error": statistics.mean(abs(one - 1) for one in each), "rows": rows})


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """Train once; return estimate and peak, in MB."""
    vocabulary, preset = case.get("vocab_size", SHAKESPEARE), case.get("preset", "modern")
    settings = {name: value for name, value in case.items() if name not in ("preset", "vocab_size")}
    with Workspace.temporary() as work:
        write_text(work.folder / "random.txt", vocabulary)
        words = ["random.txt", "--steps", "3", "--preset", preset, *flags(settings | QUICK)]
        peak = work.nanogpt("train", *words).peak_megabytes
    special = 1 if load_preset(preset).data.end_of_document else 0
    config = load_preset(preset).override(**settings, vocab_size=vocabulary + special)
    estimate = peak_bytes(config, torch.device("cpu")) / 1e6
    print(f"{estimate:6.0f} MB for {peak:6.0f} MB: {estimate / peak:.2f}  {case}", flush=True)
    parameters = count_parameters(config.model).total
    found = {"parameters": parameters, "predicted_megabytes": estimate, "measured_megabytes": peak}
    return case | found | {"ratio": estimate / peak}


def write_text(path: Path, vocabulary: int, characters: int = 400_000) -> None:
    """Write random characters of an alphabet, each at least once."""
    alphabet = [chr(0x4E00 + number) for number in range(vocabulary)]
    drawn = random.Random(1337).choices(alphabet, k=characters)
    path.write_text("".join(alphabet + drawn), encoding="utf-8")


if __name__ == "__main__":
    main()
