"""What `nanogpt train shakespeare --minutes M` reaches, as a user types it: the planner's choice, and its promise.

    python -m benchmarks.loss_in_minutes --minutes 1 5 20 60 --runs 5 --long-runs 3
    python -m benchmarks.loss_in_minutes --minutes 0.3 --runs 1 --trial

Each run is a fresh process with empty caches and a seed of its own; runs of five minutes and more are `--long-runs`, of
twenty and more one. The loss is whole-split and the last checkpoint's, which nothing was chosen by; that of the best
one, which evaluations on a part of the validation text chose, stands beside it. Time is from Enter to the end of the
process, everything counted. Each run is kept as soon as it ends: an interrupted command goes on.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.ours import NANOGPT, Ours
from benchmarks.pairs import values
from benchmarks.processes import run
from benchmarks.record import Parts, add_part_options
from benchmarks.sides import FIRST_SEED

LONG_MINUTES, ONE_RUN_MINUTES = 5, 20


def main() -> None:
    """Measure what is missing, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 5, 20, 60])
    parser.add_argument("--text", default="shakespeare")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--long-runs", type=int, default=3, help=f"of {LONG_MINUTES} minutes and more")
    parser.add_argument("--threads", type=int, help="CPU threads; as many as torch takes if left out")
    add_part_options(parser)
    options = parser.parse_args()
    parts = Parts("loss_in_minutes", keep=options.keep, trial=options.trial)
    rows = []
    for minutes in options.minutes:
        runs = how_many(minutes, options.runs, options.long_runs)
        key = {"text": options.text, "minutes": minutes, "threads": options.threads}
        rows.append(summed_up(minutes, [_run(parts, key, FIRST_SEED + number) for number in range(runs)]))
        print(line(rows[-1]), flush=True)
    parts.write({"text": options.text, "rows": rows})


def how_many(minutes: float, runs: int, long_runs: int) -> int:
    """Runs of so many minutes.

    >>> [how_many(minutes, 5, 3) for minutes in (1, 5, 10, 20, 60)]
    [5, 3, 3, 1, 1]
    """
    if minutes >= ONE_RUN_MINUTES:
        return 1
    return long_runs if minutes >= LONG_MINUTES else runs


def _run(parts: Parts, key: dict[str, Any], seed: int) -> dict[str, Any]:
    return parts.measure(key | {"seed": seed}, lambda: measure(key["text"], key["minutes"], seed, key["threads"]))


def measure(text: str, minutes: float, seed: int, threads: int | None = None) -> dict[str, Any]:
    """One run: what was planned, how long it took, what it reached."""
    with tempfile.TemporaryDirectory(prefix="minutes-") as folder:
        side = Ours(Path(folder), threads)
        words = [text, "--minutes", f"{minutes:g}", "--seed", str(seed), "--out", str(side.run_folder)]
        began = time.monotonic()
        done = run([*NANOGPT, "train", *words], side.folder, side.environment)
        row: dict[str, Any] = {"seed": seed, "seconds": done.seconds, "peak_megabytes": done.peak_megabytes}
        last, best = side.whole_split(), side.whole_split("best")
        row |= last | {"best_loss": best["loss"], "best_step": best["step"], "parameters": side.parameters()}
        row["plan"] = (side.run_folder / "plan.toml").read_text(encoding="utf-8")
        row["config"] = (side.run_folder / "config.toml").read_text(encoding="utf-8")
        return row | {"whole_seconds": round(time.monotonic() - began, 1)}


def summed_up(minutes: float, runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The runs of one length together: losses, and the time they took as a share of what was promised."""
    return {
        "minutes": minutes,
        "loss": values([run["loss"] for run in runs]),
        "best_loss": values([run["best_loss"] for run in runs]),
        "loss_interval": runs[0]["loss_interval"],
        "protocol": runs[0]["protocol"],
        "share_of_time": values([run["seconds"] / (60 * minutes) for run in runs]),
        "parameters": statistics.median(run["parameters"] for run in runs),
        "runs": list(runs),
    }


def line(row: dict[str, Any]) -> str:
    """One length, in words."""
    loss, share = row["loss"], row["share_of_time"]
    return (
        f"{row['minutes']:>5g} min  loss {loss['median']:.4f} ({loss['low']:.4f}–{loss['high']:.4f}, n = {loss['n']}), "
        f"best checkpoint {row['best_loss']['median']:.4f}, {row['parameters']:,.0f} parameters, "
        f"{share['median']:.1%} of the time ({share['low']:.1%}–{share['high']:.1%})"
    )


if __name__ == "__main__":
    main()
