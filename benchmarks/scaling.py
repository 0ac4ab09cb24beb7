"""Cost of a training step as the model, its block or the text grows.

    python -m benchmarks.scaling --runs 3
    python -m benchmarks.scaling --series block --steps 6 --runs 1 --trial

Each point is `nanogpt train` with the default model in a fresh process: parameters at block 64, blocks at one size and
the same tokens per step, and texts (`benchmarks.large_text`). The points take turns, so that a slow minute affects all
of them. A series' exponent is the slope of the logarithms, by least squares: 1 where twice as much costs twice.
"""

import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.large_text import write_text
from benchmarks.pairs import values
from benchmarks.processes import Workspace, flags
from benchmarks.record import new_parser, parse

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
"""What differs from `BASE` at each point; `megabytes` is the size of the text."""
ACROSS = {"parameters": "parameters", "block": "block_size", "text": "megabytes"}


def main() -> None:
    """Measure what is missing, print and record."""
    parser = new_parser(__doc__, threads=True, series=SERIES, steps=30, runs=3)
    parser.add_argument("--most-megabytes", type=int, default=1000, help="leave out longer texts")
    parser.add_argument("--folder", help="folder for texts and token ids; needs three times the longest text's size")
    options, parts = parse(parser, "scaling")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="scaling-") as folder:
        for name in options.series:
            points = [one for one in SERIES[name] if one.get("megabytes", 0) <= options.most_megabytes]
            length = {"steps": options.steps, "threads": options.threads}
            keys = dict(enumerate({"point": BASE | point} | length for point in points))
            rows = parts.in_turn(options.runs, keys, lambda number: measure(keys[number], Path(folder)))  # noqa: B023
            found[name] = summary(name, points, list(rows.values()))
    parts.write({"base": BASE, "steps": options.steps, "series": found})


def measure(key: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train once at one point."""
    settings, steps = dict(key["point"]), key["steps"]
    megabytes = settings.pop("megabytes", None)
    text = "shakespeare"
    if megabytes is not None:
        text = str(folder / f"{megabytes}.txt")
        if not Path(text).exists():
            write_text(Path(text), megabytes * 10**6)
    with Workspace.temporary(key["threads"], parent=folder) as work:
        trained = work.train([text, *flags(settings), "--history", "off"], steps, "--log-every", "1")
        assert trained.step_seconds is not None, "the time of a step needs several steps"
        before = trained.seconds - steps * trained.step_seconds
        return trained._asdict() | {"before_seconds": before, "parameters": work.parameters()}


def summary(name: str, points: Sequence[dict[str, int]], rows: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    """Return a series' points with the values of their runs, and the exponent of a token's cost."""
    found: list[dict[str, Any]] = []
    for point, runs in zip(points, rows):
        size: dict[str, Any] = BASE | point | {"parameters": runs[0]["parameters"]}
        tokens = size["block_size"] * size["batch_size"]
        size |= {name: values([run[name] for run in runs]) for name in ("before_seconds", "peak_megabytes")}
        found.append(size | {"microseconds_per_token": values([1e6 * run["step_seconds"] / tokens for run in runs])})
    costs = [one["microseconds_per_token"]["median"] for one in found]
    logarithms = [math.log(one[ACROSS[name]]) for one in found], list(map(math.log, costs))
    exponent = statistics.linear_regression(*logarithms).slope if len(found) > 1 else None
    return {"across": ACROSS[name], "exponent": exponent, "points": found}


if __name__ == "__main__":
    main()
