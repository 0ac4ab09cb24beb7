"""The whole-split loss at the size and budget of nanoGPT's recipe for a CPU, for `gpt2` and `modern`.

    python -m benchmarks.cpu_recipe --seeds 1337 1338 1339

4 layers, 4 heads, 128 channels, block 64, batch 12, 2,000 steps on Tiny Shakespeare. What nanoGPT's own checkpoint of
that recipe (karpathy/nanoGPT, README, "I only have a macbook") has by the same protocol is measured by
`benchmarks.time_to_loss`; its README gives 1.88, the mean of random batches. Each run's figure is the whole-split loss
of its best checkpoint, chosen as `nanogpt train` does, by the evaluations on the way; the last checkpoint's stands
beside it.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import nanogpt
from benchmarks.record import circumstances, write_record

PRESETS = ("gpt2", "modern")
SIZE: dict[str, Any] = {"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "batch_size": 12}


def main() -> None:
    """Train each preset with each seed, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337, 1338, 1339])
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    measured_in = circumstances()
    rows: dict[str, Any] = {}
    for preset in PRESETS:
        runs = [measure(preset, seed, options.steps) for seed in options.seeds]
        losses = [run["loss"] for run in runs]
        rows[preset] = {"mean": statistics.mean(losses), "spread": max(losses) - min(losses), "runs": runs}
        print(f"{preset:<8} {rows[preset]['mean']:.4f} (spread {rows[preset]['spread']:.4f}), {len(runs)} seeds")
    path = write_record(
        "cpu_recipe",
        measured_in,
        {"setting": SIZE | {"steps": options.steps}, "text": "shakespeare", "presets": rows},
    )
    print(f"wrote {path}")


def measure(preset: str, seed: int, steps: int) -> dict[str, Any]:
    """One training: its losses and its size."""
    with tempfile.TemporaryDirectory() as folder:
        run = nanogpt.train(
            "shakespeare", preset=preset, steps=steps, seed=seed, out=Path(folder) / "run", progress=False,
            sample_tokens=0, **SIZE,
        )  # fmt: skip
        best = run.evaluate()
        last = nanogpt.load(run.path, checkpoint="last").evaluate()
    result = {
        "seed": seed,
        "loss": best.loss,
        "bits_per_byte": best.bits_per_byte,
        "last_loss": last.loss,
        "protocol": best.protocol,
        "parameters": run.model.parameter_count,
    }
    print(f"{preset} seed {seed}: {best.loss:.4f}", flush=True)
    return result


if __name__ == "__main__":
    main()
