"""Whole-split loss at the size and budget of nanoGPT's recipe for a CPU, for the presets `gpt2` and `modern`.

    python -m benchmarks.cpu_recipe --seeds 1337 1338 1339

`benchmarks.time_to_loss` measures nanoGPT's own checkpoint of that recipe by the same protocol. A figure is the loss of
the best checkpoint, selected as `nanogpt train` does; that of the last one is recorded too.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any

import nanogpt
from benchmarks.record import new_parser, parse

PRESETS = ("gpt2", "modern")
SIZE: dict[str, Any] = {"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "batch_size": 12}


def main() -> None:
    """Train each preset with each seed, print and record."""
    options, parts = parse(new_parser(__doc__, seeds=[1337, 1338, 1339], steps=2000), "cpu_recipe", parts=False)
    rows: dict[str, Any] = {}
    for preset in PRESETS:
        runs = [measure(preset, seed, options.steps) for seed in options.seeds]
        losses = [run["loss"] for run in runs]
        rows[preset] = {"mean": statistics.mean(losses), "spread": max(losses) - min(losses), "runs": runs}
    parts.write({"setting": SIZE | {"steps": options.steps}, "text": "shakespeare", "presets": rows})


def measure(preset: str, seed: int, steps: int) -> dict[str, Any]:
    """Train once; return losses and size."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"preset": preset, "steps": steps, "seed": seed, "sample_tokens": 0, **SIZE}
        run = nanogpt.train("shakespeare", out=Path(folder) / "run", progress=False, **settings)
        best = run.evaluate()
        last = nanogpt.load(run.path, checkpoint="last").evaluate()
    print(f"{preset} seed {seed}: {best.loss:.4f}", flush=True)
    about = {"seed": seed, "last_loss": last.loss, "parameters": run.model.parameter_count}
    return about | {name: getattr(best, name) for name in ("loss", "bits_per_byte", "protocol")}


if __name__ == "__main__":
    main()
