"""How long one waits from Enter: `nanogpt --help`, the first token of `sample`, the first step of `train`.

    python -m benchmarks.startup --runs 7

Each is a fresh process, in turn with the others, from its start to its end; only the first step's time ends with the
line that tells of it. `sample` writes one token with a small model; `train` reads Tiny Shakespeare with an empty cache,
evaluates one window, and makes one step of the default model. Beside them a process that imports torch and nothing
else, below which none that computes can come. What the system has read of the files stays in its memory, as it does
on a machine in use. With `--nanogpt PATH` also the first step of nanoGPT's recipe for a CPU, its data prepared before.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.ours import NANOGPT, Ours
from benchmarks.pairs import told, values
from benchmarks.peers.checkout import CPU_RECIPE, Checkout
from benchmarks.processes import clean_environment, run
from benchmarks.record import Parts, add_part_options

GOALS = {"help": 0.3, "first token": 2.5, "first step": 5.0}
"""Seconds."""


def main() -> None:
    """Measure what is missing, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--threads", type=int, help="CPU threads; as many as torch takes if left out")
    parser.add_argument("--nanogpt", type=Path, help="a checkout of karpathy/nanoGPT")
    add_part_options(parser)
    options = parser.parse_args()
    parts = Parts("startup", keep=options.keep, trial=options.trial)
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        moments = waits(Path(folder), options.threads, options.nanogpt)
        found: dict[str, list[float]] = {name: [] for name in moments}
        for number in range(options.runs):
            for name, measure in moments.items():
                key = {"moment": name, "number": number, "threads": options.threads}
                row = parts.measure(key, lambda measure=measure: {"seconds": measure()})  # type: ignore[misc]
                found[name].append(row["seconds"])
    result = {name: values(seconds) | {"goal": GOALS.get(name)} for name, seconds in found.items()}
    for name, row in result.items():
        goal = f"  goal {row['goal']:g}" if row["goal"] else ""
        print(f"{name:<22} {told(row)} s{goal}")
    parts.write({"moments": result})


def waits(folder: Path, threads: int | None = None, nanogpt: Path | None = None) -> dict[str, Callable[[], float]]:
    """What is waited for, each measured by a call that returns seconds. What they need is made in `folder`, once."""
    place = Ours(folder / "ours", threads)
    trained: list[Any] = []

    def help_() -> float:
        return run([*NANOGPT, "--help"], place.folder, place.environment).seconds

    def first_token() -> float:
        if not trained:
            trained.append(place.train(["python"], 1))
        words = ["sample", str(place.run_folder), "--tokens", "1"]
        return run([*NANOGPT, *words], place.folder, place.environment).seconds

    def first_step() -> float:
        with tempfile.TemporaryDirectory(dir=folder) as cold:
            return Ours(Path(cold), threads).train(["shakespeare"], 1).clock.seconds

    def torch_alone() -> float:
        return run([sys.executable, "-c", "import torch"], folder, clean_environment(threads)).seconds

    found = {"help": help_, "first token": first_token, "first step": first_step, "import torch": torch_alone}
    if nanogpt is not None:
        theirs = Checkout(nanogpt, folder / "theirs", threads=threads)
        theirs.prepare()
        found["nanoGPT's first step"] = lambda: theirs.train(CPU_RECIPE, 1).clock.seconds
    return found


if __name__ == "__main__":
    main()
