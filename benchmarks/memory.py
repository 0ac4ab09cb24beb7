"""The memory of a training as it is estimated before it begins, beside what it takes.

    python -m benchmarks.memory

Each training is `nanogpt train` in a process of its own: a few steps, evaluations, a sample and checkpoints; its peak
is the largest resident set of that process. The text is random characters of an alphabet as large as the vocabulary is
to be. Rows give estimate over measurement: above 1 it says too much, below 1 too little.
"""

import argparse
import random
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from benchmarks.processes import own_environment, run
from benchmarks.record import circumstances, write_record
from nanogpt.config import load_preset
from nanogpt.model.parameters import count_parameters
from nanogpt.planning.memory import peak_bytes

SHAKESPEARE = 65
QUICK: dict[str, Any] = {"device": "cpu", "sample_tokens": 20, "eval_tokens": 8192, "final_eval_tokens": 8192}
"""As much is read at once as in a whole evaluation."""
CASES: tuple[dict[str, Any], ...] = (
    {"n_layer": 2, "n_embd": 64, "block_size": 32, "batch_size": 16},
    {"n_layer": 3, "n_embd": 160, "block_size": 64, "batch_size": 16},
    {"n_layer": 3, "n_embd": 160, "block_size": 64, "batch_size": 16, "optimizer": "muon"},
    {"n_layer": 5, "n_embd": 192, "block_size": 128, "batch_size": 32, "optimizer": "muon"},
    {"n_layer": 5, "n_embd": 192, "block_size": 128, "batch_size": 64},
    {"n_layer": 10, "n_embd": 192, "block_size": 128, "batch_size": 32},
    {"n_layer": 5, "n_embd": 192, "block_size": 128, "batch_size": 32, "dropout": 0.2},
    {"n_layer": 5, "n_embd": 192, "block_size": 128, "batch_size": 32, "precision": "bfloat16"},
    {"n_layer": 5, "n_embd": 192, "block_size": 128, "batch_size": 8, "accumulation": 4},
    {"n_layer": 6, "n_embd": 384, "block_size": 256, "batch_size": 16, "optimizer": "muon"},
    {"n_layer": 6, "n_embd": 512, "block_size": 256, "batch_size": 4, "n_head": 8},
    {"n_layer": 8, "n_embd": 768, "block_size": 64, "batch_size": 2, "n_head": 12, "optimizer": "muon"},
    {"n_layer": 3, "n_embd": 128, "block_size": 128, "batch_size": 16, "vocab_size": 8192},
    {"preset": "gpt2", "n_layer": 4, "n_embd": 128, "block_size": 64, "batch_size": 12},
    {"preset": "gpt2", "n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "batch_size": 16},
    {"preset": "gpt2", "n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "batch_size": 16, "dropout": 0.2},
    {"preset": "gpt2", "n_layer": 12, "n_head": 12, "n_embd": 768, "block_size": 256, "batch_size": 2},
    {"preset": "lecture", "batch_size": 16},
)


def main() -> None:
    """Measure every case, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="+", default=list(range(len(CASES))), help="by number, from 0; all")
    parser.add_argument("--dry", action="store_true", help="record nothing")
    options = parser.parse_args()
    measured_in = circumstances()
    rows = [measure(CASES[number]) for number in options.cases]
    ratios = [row["ratio"] for row in rows]
    errors = [abs(ratio - 1) for ratio in ratios]
    result = {
        "ratio": {"lowest": min(ratios), "median": statistics.median(ratios), "highest": max(ratios)},
        "mean_error": statistics.mean(errors),
        "rows": rows,
    }
    print(
        f"estimate over peak: {min(ratios):.2f} to {max(ratios):.2f}, median {statistics.median(ratios):.2f}; "
        f"mean error {statistics.mean(errors):.1%} of {len(rows)}"
    )
    if not options.dry:
        print(f"wrote {write_record('memory', measured_in, result)}")


def measure(case: dict[str, Any]) -> dict[str, Any]:
    """One training: its estimate and its peak, in MB."""
    vocabulary = case.get("vocab_size", SHAKESPEARE)
    settings = {name: value for name, value in case.items() if name not in ("preset", "vocab_size")}
    preset = case.get("preset", "modern")
    with tempfile.TemporaryDirectory(prefix="memory-") as place:
        write_text(Path(place) / "random.txt", vocabulary)
        words = [sys.executable, "-m", "nanogpt", "train", "random.txt", "--steps", "3", "--preset", preset]
        for name, value in (settings | QUICK).items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        finished = run(words, Path(place), own_environment(Path(place)))
    special = 1 if load_preset(preset).data.end_of_document else 0
    config = load_preset(preset).override(**settings, vocab_size=vocabulary + special)
    predicted = peak_bytes(config, torch.device("cpu")) / 1e6
    row = {
        **case,
        "parameters": count_parameters(config.model).total,
        "predicted_megabytes": predicted,
        "measured_megabytes": finished.peak_megabytes,
        "ratio": predicted / finished.peak_megabytes,
    }
    print(f"{predicted:6.0f} MB for {finished.peak_megabytes:6.0f} MB: {row['ratio']:.2f}  {case}", flush=True)
    return row


def write_text(path: Path, vocabulary: int, characters: int = 400_000) -> None:
    """Random characters, each of so many at least once."""
    alphabet = [chr(0x4E00 + number) for number in range(vocabulary)]
    drawn = random.Random(1337).choices(alphabet, k=characters)
    path.write_text("".join(alphabet + drawn), encoding="utf-8")


if __name__ == "__main__":
    main()
