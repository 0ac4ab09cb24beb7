"""What a training step costs as the model, its block or the text grows.

    python -m benchmarks.scaling --runs 3
    python -m benchmarks.scaling --series block --steps 6 --runs 1 --trial

Three series of the default model, each point `nanogpt train` in a fresh process with empty caches: parameters (width
and depth) at block 64, blocks at one size and the same tokens a step, and texts at one size (real paragraphs drawn
again and again, `benchmarks.large_text`). The points take turns, so that a slow minute of the machine meets all of
them. A step is the median of the warm ones; for texts also the time from Enter to the first step, in which they are
read. The exponent of a series is the slope of the logarithms, by least squares: 1 where twice as much costs twice.
"""

import argparse
import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.large_text import write_text
from benchmarks.ours import Ours
from benchmarks.pairs import values
from benchmarks.record import Parts, add_part_options

BASE = {"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "batch_size": 16}
SERIES: dict[str, list[dict[str, int]]] = {
    "parameters": [
        {"n_layer": 2, "n_embd": 64},
        {"n_layer": 4, "n_embd": 128},
        {"n_layer": 5, "n_embd": 192, "n_head": 6},
        {"n_layer": 6, "n_embd": 256},
        {"n_layer": 6, "n_embd": 384, "n_head": 6},
        {"n_layer": 8, "n_embd": 512, "n_head": 8},
    ],
    "block": [{"block_size": 32 << n, "batch_size": 64 >> n} for n in range(7)],
    "text": [{"megabytes": size} for size in (1, 10, 100, 1000)],
}
"""What differs from `BASE` at each point; `megabytes` is the text's size."""
ACROSS = {"parameters": "parameters", "block": "block_size", "text": "megabytes"}


def main() -> None:
    """Measure what is missing, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", nargs="+", choices=SERIES, default=list(SERIES))
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--most-megabytes", type=int, default=1000, help="leave out longer texts")
    parser.add_argument("--threads", type=int, help="CPU threads; as many as torch takes if left out")
    parser.add_argument("--folder", help="where to put the texts and their ids; three times the longest one's size")
    add_part_options(parser)
    options = parser.parse_args()
    parts = Parts("scaling", keep=options.keep, trial=options.trial)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="scaling-") as folder:
        for name in options.series:
            points = [one for one in SERIES[name] if one.get("megabytes", 0) <= options.most_megabytes]
            rows: list[list[dict[str, Any]]] = [[] for _ in points]
            for number in range(options.runs):
                for point, measured in zip(points, rows):
                    key = {"point": BASE | point, "steps": options.steps, "threads": options.threads, "run": number}
                    measured.append(parts.measure(key, lambda key=key: measure(key, Path(folder))))  # type: ignore[misc]
            found[name] = summed_up(name, points, rows)
            print_series(name, found[name])
    parts.write({"base": BASE, "steps": options.steps, "series": found})


def measure(key: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One training at one point."""
    settings = dict(key["point"])
    megabytes = settings.pop("megabytes", None)
    text = "shakespeare"
    if megabytes is not None:
        text = str(folder / f"{megabytes}.txt")
        if not Path(text).exists():
            write_text(Path(text), megabytes * 10**6)
    words = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    with tempfile.TemporaryDirectory(dir=folder) as place:
        side = Ours(Path(place), key["threads"])
        trained = side.train([text, *words, "--history", "off"], key["steps"], "--log-every", "1")
        step, clock = side.step_seconds(), trained.clock.seconds
        assert step is not None, "several steps are needed for the time of one"
        return {
            "step_seconds": step,
            "before_seconds": clock - key["steps"] * step,
            "parameters": side.parameters(),
            "peak_megabytes": trained.peak_megabytes,
        }


def summed_up(name: str, points: Sequence[dict[str, int]], rows: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """A series' points, what each run measured there, and the exponent of a token's cost."""
    across = ACROSS[name]
    found: list[dict[str, Any]] = []
    for point, runs in zip(points, rows):
        size: dict[str, Any] = BASE | point
        tokens = size["block_size"] * size["batch_size"]
        found.append(
            size
            | {
                "parameters": runs[0]["parameters"],
                "microseconds_per_token": values([1e6 * run["step_seconds"] / tokens for run in runs]),
                "before_seconds": values([run["before_seconds"] for run in runs]),
                "peak_megabytes": values([run["peak_megabytes"] for run in runs]),
            }
        )
    costs = [one["microseconds_per_token"]["median"] for one in found]
    exponent = slope([one[across] for one in found], costs) if len(found) > 1 else None
    return {"across": across, "exponent": exponent, "points": found}


def slope(across: Sequence[float], costs: Sequence[float]) -> float:
    """The power of `across` that the costs follow best.

    >>> round(slope([1, 10, 100], [3, 30 * 10, 300 * 100]), 6)
    2.0
    """
    return statistics.linear_regression([math.log(x) for x in across], [math.log(y) for y in costs]).slope


def print_series(name: str, series: dict[str, Any]) -> None:
    """A line for each point."""
    print(f"\n{name}: cost of a token against {series['across']}, exponent {series['exponent'] or float('nan'):.2f}")
    for point in series["points"]:
        cost, before = point["microseconds_per_token"], point["before_seconds"]["median"]
        print(
            f"  {point[series['across']]:>12,}  {cost['median']:8.2f} µs a token ({cost['low']:.2f}–{cost['high']:.2f})"
            f"  {before:6.1f} s before the steps  {point['peak_megabytes']['median']:6.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
