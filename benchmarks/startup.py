"""Waiting times from Enter: `nanogpt --help`, the first token of `sample`, the first step of `train`.

    python -m benchmarks.startup --runs 7

Each is a fresh process, in turn with the others, from its start to its end; only the first step ends with the line that
reports it. `train` reads Tiny Shakespeare with an empty cache and makes one step of the default model. A process that
only imports torch shows the least that any computation needs. With `--nanogpt PATH` also the first step of nanoGPT's
recipe for a CPU, its data prepared before.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.karpathy_nanogpt import CPU_RECIPE, Checkout
from benchmarks.pairs import values
from benchmarks.processes import Workspace, clean_environment, run
from benchmarks.record import new_parser, parse

GOALS = {"help": 0.3, "first token": 2.5, "first step": 5.0}
"""Seconds."""


def main() -> None:
    """Measure what is missing, print and record."""
    parser = new_parser(__doc__, threads=True, runs=7)
    parser.add_argument("--nanogpt", type=Path, help="a checkout of karpathy/nanoGPT")
    options, parts = parse(parser, "startup")
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        moments = waits(Path(folder), options.threads, options.nanogpt)
        keys = {name: {"moment": name, "threads": options.threads} for name in moments}
        found = parts.in_turn(options.runs, keys, lambda name: {"seconds": moments[name]()})
    seconds = {name: values([row["seconds"] for row in rows]) for name, rows in found.items()}
    parts.write({"moments": {name: one | {"goal": GOALS.get(name)} for name, one in seconds.items()}})


def waits(folder: Path, threads: int | None = None, nanogpt: Path | None = None) -> dict[str, Callable[[], float]]:
    """Return for each waiting time a function that measures it, in seconds; what they need is made once."""
    work = Workspace(folder / "ours", threads)

    def first_token() -> float:
        if not work.run_folder.exists():
            work.train(["python"], 1)
        return work.nanogpt("sample", str(work.run_folder), "--tokens", "1").seconds

    def first_step() -> float:
        with Workspace.temporary(threads, parent=folder) as cold:
            return cold.train(["shakespeare"], 1).seconds

    found: dict[str, Callable[[], float]] = {
        "help": lambda: work.nanogpt("--help").seconds,
        "first token": first_token,
        "first step": first_step,
        "import torch": lambda: run([sys.executable, "-c", "import torch"], folder, clean_environment(threads)).seconds,
    }
    if nanogpt is not None:
        theirs = Checkout(nanogpt, folder / "theirs", threads=threads)
        theirs.prepare()
        found["nanoGPT's first step"] = lambda: theirs.train(CPU_RECIPE, 1).seconds
    return found


if __name__ == "__main__":
    main()
