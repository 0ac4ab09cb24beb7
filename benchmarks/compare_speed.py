"""Speed of an older version and of this one, in pairs: training, generating and starting.

    python -m benchmarks.compare_speed --old ../nano-gpt-before
    python -m benchmarks.compare_speed --old v0.1.0 --pairs 20 --only train help

Shows whether a change of the code costs speed. Both versions run in fresh processes right after each other, in
alternating order: `nanogpt train` with a small model, tokens/s by metrics.jsonl; 1 and 64 samples of its model,
tokens/s; and the seconds of `--help` and of `sample --tokens 1`. Printed are median, lowest and highest of each
version, and the ratio new / old with its 95 % interval; nothing is recorded.
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.pairs import one_pair, ratios, values
from benchmarks.processes import Workspace, flags, run
from benchmarks.record import ROOT, new_parser
from benchmarks.same_bytes import check_out

SIZES = {"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 128, "batch_size": 16}
SAMPLE = """
import contextlib, io, runpy, sys, time
name, samples, tokens = sys.argv[1:]
sys.argv = ["nanogpt", "sample", name, "--tokens", "8", "--samples", samples]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    runpy.run_module("nanogpt", run_name="__main__", alter_sys=True)
import nanogpt
run = nanogpt.load(name, device="cpu")
began = time.perf_counter()
run.generate_batch(samples=int(samples), tokens=int(tokens))
print(int(tokens) * int(samples) / (time.perf_counter() - began))
"""
"""Prints the tokens/s of samples, in a process that the command line has prepared and warmed up."""


def main() -> None:
    """Measure and print a line for each figure."""
    parser = new_parser(__doc__, threads=True, pairs=7, steps=40, tokens=400, only=FIGURES)
    parser.add_argument("--old", required=True, help="the older version: a commit of this repository, or a folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="compare-speed-") as name:
        folder = Path(name)
        sources = {"new": ROOT, "old": check_out(options.old, folder / "checkout").resolve()}
        new, old = (Workspace(folder / side, options.threads, source) for side, source in sources.items())
        print(f"{'':<22}{'old':>32}{'new':>32}{'new / old (95 %)':>28}")
        for work in (new, old):
            train(work, options)  # the model to sample from, the texts in the cache
        for figure in options.only:
            measure = FIGURES[figure]
            sides = (partial(measure, new, options), partial(measure, old, options))
            report(figure, [one_pair(number, *sides) for number in range(options.pairs)])


def report(figure: str, pairs: list[tuple[float, float]]) -> None:
    """Print one figure of both versions, and their ratio."""
    new, old = ([pair[side] for pair in pairs] for side in (0, 1))
    cells = [f"{one['median']:,.4g} ({one['low']:,.4g}–{one['high']:,.4g})" for one in (values(old), values(new))]
    ratio = ratios(new, old)
    low, high = ratio["interval"] or (float("nan"), float("nan"))
    print(f"{figure:<22}{cells[0]:>32}{cells[1]:>32}{ratio['median']:>13.3f} ({low:.3f}–{high:.3f})", flush=True)


def train(work: Workspace, options: Any) -> float:
    """Return tokens/s of a training, which replaces the one before."""
    count = len(list(work.folder.glob("run-*")))
    work.run_folder = work.folder / f"run-{count}"
    words = [*flags(SIZES), "--end-of-document", "False", "--history", "off"]
    seconds = work.train(["python", *words], options.steps, "--log-every", "1").step_seconds
    assert seconds is not None, "--steps 2 at least"
    return SIZES["batch_size"] * SIZES["block_size"] / seconds


def sample(samples: int, work: Workspace, options: Any) -> float:
    """Return tokens/s of this many samples together."""
    words = [str(work.run_folder), str(samples), str(options.tokens)]
    return float(run([sys.executable, "-c", SAMPLE, *words], work.folder, work.environment).lines[-1].text)


FIGURES: dict[str, Callable[[Workspace, Any], float]] = {
    "train": train,
    "sample-1": partial(sample, 1),
    "sample-64": partial(sample, 64),
    "help": lambda work, options: work.nanogpt("--help").seconds,
    "first-token": lambda work, options: work.nanogpt("sample", str(work.run_folder), "--tokens", "1").seconds,
}
"""The first three in tokens/s, the others in seconds."""


if __name__ == "__main__":
    main()
