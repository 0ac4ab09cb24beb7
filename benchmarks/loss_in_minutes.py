"""Loss that `nanogpt train shakespeare --minutes M` reaches with the planner's choice, and the time it takes.

    python -m benchmarks.loss_in_minutes --minutes 1 5 20 60 --runs 5 --long-runs 3

Each run is a fresh process with empty caches and another seed. The loss is whole-split, of the last checkpoint, which
nothing was selected by. Time is from Enter to the end of the process, everything included.
"""

import statistics
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.karpathy_nanogpt import FIRST_SEED
from benchmarks.pairs import values
from benchmarks.processes import Workspace
from benchmarks.record import new_parser, parse

LONG_MINUTES, ONE_RUN_MINUTES = 5, 20


def main() -> None:
    """Measure what is missing, print and record."""
    parser = new_parser(__doc__, threads=True, minutes=[1.0, 5.0, 20.0, 60.0], text="shakespeare", runs=5)
    parser.add_argument("--long-runs", type=int, default=3, help=f"runs of {LONG_MINUTES} minutes and more")
    options, parts = parse(parser, "loss_in_minutes")
    rows = []
    for minutes in options.minutes:
        key = {"text": options.text, "minutes": minutes, "threads": options.threads}
        seeds = range(FIRST_SEED, FIRST_SEED + run_count(minutes, options.runs, options.long_runs))
        runs = [parts.measure(key | {"seed": seed}, partial(measure, seed=seed, **key)) for seed in seeds]
        rows.append(summary(minutes, runs))
    parts.write({"text": options.text, "rows": rows})


def run_count(minutes: float, runs: int, long_runs: int) -> int:
    """Return the number of runs of this length.

    >>> [run_count(minutes, 5, 3) for minutes in (1, 5, 10, 20, 60)]
    [5, 3, 3, 1, 1]
    """
    if minutes >= ONE_RUN_MINUTES:
        return 1
    return long_runs if minutes >= LONG_MINUTES else runs


def measure(text: str, minutes: float, seed: int, threads: int | None = None) -> dict[str, Any]:
    """Train one run; return its plan, its time and its losses."""
    with Workspace.temporary(threads) as work:
        began = time.monotonic()
        words = [text, "--minutes", f"{minutes:g}", "--seed", str(seed), "--out", str(work.run_folder)]
        done = work.nanogpt("train", *words)
        row: dict[str, Any] = {"seed": seed, "seconds": done.seconds, "peak_megabytes": done.peak_megabytes}
        last, best = work.evaluate(), work.evaluate("best")
        row |= last | {"best_loss": best["loss"], "best_step": best["step"], "parameters": work.parameters()}
        row |= {name: (work.run_folder / f"{name}.toml").read_text(encoding="utf-8") for name in ("plan", "config")}
        return row | {"whole_seconds": round(time.monotonic() - began, 1)}


def summary(minutes: float, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the runs of one length together: losses, and the share of their time that they took."""
    found: dict[str, Any] = {name: values([run[name] for run in runs]) for name in ("loss", "best_loss")}
    found |= {name: runs[0][name] for name in ("loss_interval", "protocol")}
    found |= {"minutes": minutes, "parameters": statistics.median(run["parameters"] for run in runs)}
    return found | {"share_of_time": values([run["seconds"] / (60 * minutes) for run in runs]), "runs": list(runs)}


if __name__ == "__main__":
    main()
