"""Trainings of ours and of karpathy/nanoGPT in pairs, each in fresh processes, for `time_to_loss` and `throughput`.

nanoGPT runs from a temporary copy of a checkout that the user has, offline and unmodified: its text is already where
`prepare.py` looks before it downloads. Preparing the data counts. Its recipes have no setting for the seed.

The clock runs from Enter to the last training step: imports and compilation count, evaluations don't. Both sides
evaluate as little as they can, before the first step and after the last one. nanoGPT prints `using fused AdamW`,
evaluates two batches, and prints `step 0`: the time between these lines is subtracted, with its first batch, slightly
too much in its favour.
"""

import argparse
import hashlib
import json
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.pairs import one_pair, ratios, values
from benchmarks.processes import Failed, Line, Trained, Workspace, clean_environment, median_step, run
from benchmarks.record import Parts, new_parser
from nanogpt.evaluation.intervals import ratio_interval
from nanogpt.text.corpus import load_corpus

SCRIPT = Path(__file__).parent / "karpathy_script.py"
CONFIG = "config/train_shakespeare_char.py"
PREPARE = "data/shakespeare_char/prepare.py"
IMPORTS = (
    "import os, time, math, pickle, numpy, torch; from contextlib import nullcontext; "
    "from torch.nn.parallel import DistributedDataParallel; "
    "from torch.distributed import init_process_group, destroy_process_group; from model import GPTConfig, GPT"
)
"""What `train.py` imports."""
STEP = re.compile(r"iter (\d+): ")
FIRST_SEED = 1337

Row = dict[str, Any]
Side = Callable[[Path, int], Row]
"""Measures in a folder that does not exist yet, for the pair with this number."""


class Recipe(NamedTuple):
    """A training of nanoGPT: the words of its command, and its steps."""

    words: tuple[str, ...]
    steps: int


_SMALL = ("--block_size=64", "--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128")
CPU_RECIPE = Recipe((*_SMALL, "--lr_decay_iters=2000", "--dropout=0.0"), 2000)
"""Its README, "I only have a macbook"."""
GPU_RECIPE = Recipe((), 5000)
"""Its config/train_shakespeare_char.py as it is: 6 layers, 6 heads, 384 channels, block 256, dropout 0.2."""


class Checkout:
    """A copy of a checkout in `folder`, with the text in it."""

    def __init__(self, source: Path, folder: Path, text: str = "shakespeare", threads: int | None = None) -> None:
        for needed in ("train.py", "model.py", CONFIG, PREPARE):
            if not (source / needed).is_file():
                raise SystemExit(f"{source} is not a checkout of karpathy/nanoGPT: it has no {needed}")
        self.folder = folder
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".git", "*.bin", "*.pkl", "out*"))
        self.data = (folder / PREPARE).parent
        (self.data / "input.txt").write_text(load_corpus(text).text, encoding="utf-8")
        (self.data / "requests.py").touch()
        self.environment = clean_environment(threads, PYTHONPATH=str(folder))

    def script(self, *words: str) -> Any:
        """Return the JSON that a job of karpathy_script.py prints last."""
        return json.loads(run([sys.executable, str(SCRIPT), *words], self.folder, self.environment).lines[-1].text)

    def version(self) -> str:
        """Return the hash of the code that runs, in place of a commit: a copy without .git has none."""
        content = b"".join((self.folder / name).read_bytes() for name in ("train.py", "model.py", CONFIG))
        return hashlib.sha256(content).hexdigest()[:12]

    def prepare(self) -> float:
        """Make the token ids; return the seconds of that process."""
        return run([sys.executable, PREPARE], self.folder, self.environment).seconds

    def import_seconds(self) -> float:
        """Return the seconds of a process that imports what a training imports."""
        return run([sys.executable, "-c", IMPORTS], self.folder, self.environment).seconds

    def train(self, recipe: Recipe, steps: int | None = None, device: str = "cpu") -> Trained:
        """Train by a recipe, or its first `steps`, and keep the last weights."""
        steps = recipe.steps if steps is None else steps
        compiled = device != "cpu"  # its README compiles everywhere but on CPUs
        command = [
            *(sys.executable, "train.py", CONFIG, f"--device={device}", f"--compile={compiled}", *recipe.words),
            *(f"--max_iters={steps}", f"--eval_interval={steps}", "--eval_iters=1", "--log_interval=1"),
            *("--always_save_checkpoint=True", "--out_dir=out"),
        ]
        done = run(command, self.folder, self.environment)
        return read_times(done.lines, steps, done.peak_megabytes)

    def evaluate(self) -> dict[str, Any]:
        """Return loss, 95 % interval and protocol, whole-split, of its last checkpoint on its val.bin by its model."""
        import numpy as np

        found = self.script("evaluate", str(self.folder / "out" / "ckpt.pt"), str(self.data / "val.bin"))
        nats, tokens = np.array(found["nats"]), np.array(found["tokens"])
        interval = ratio_interval(nats, tokens)
        return {
            "loss": float(nats.sum() / tokens.sum()),
            "loss_interval": interval and [interval.low, interval.high],
            "protocol": f"whole split, {tokens.sum():,} tokens in consecutive windows of {found['block_size']}",
        }


def read_times(lines: Sequence[Line], steps: int, peak_megabytes: float) -> Trained:
    """Return the times of `steps` steps, from a line per step. Raises Failed where lines are missing."""
    before = next((line.seconds for line in lines if line.text.startswith("using fused AdamW")), None)
    after = next((line.seconds for line in lines if line.text.startswith("step 0: ")), None)
    ends = {int(found[1]): line.seconds for line in lines if (found := STEP.match(line.text))}
    if before is None or after is None or not ends.keys() >= set(range(steps)):
        end = "\n".join(line.text for line in lines[-5:])
        raise Failed(f"these are not {steps} steps of nanoGPT with --log_interval=1:\n{end}")
    evaluation = after - before
    return Trained(ends[steps - 1] - evaluation, median_step([ends[step] for step in range(steps)]), peak_megabytes)


def our_side(
    words: Sequence[str], steps: int, *, threads: int | None = None, device: str = "cpu", losses: bool = True
) -> Side:
    """Return what runs `nanogpt train shakespeare WORDS --steps STEPS`, each pair with another seed.

    The loss is that of the last checkpoint, if `losses` are asked for.
    """

    def measure(folder: Path, number: int) -> Row:
        work, seed = Workspace(folder, threads), FIRST_SEED + number
        trained = work.train(["shakespeare", *words], steps, "--device", device, "--seed", str(seed))
        row = {"seed": seed, **trained._asdict(), "parameters": work.parameters()}
        return row | {"import_seconds": work.import_seconds()} | (work.evaluate() if losses else {})

    return measure


def their_side(
    source: Path, recipe: Recipe, steps: int | None = None, *, threads: int | None, device: str, losses: bool = True
) -> Side:
    """Return what runs a recipe of nanoGPT, or its first `steps`; preparing its data counts."""

    def measure(folder: Path, number: int) -> Row:
        checkout = Checkout(source, folder, threads=threads)
        prepared = checkout.prepare()
        row = checkout.train(recipe, steps, device)._asdict() | {"version": checkout.version()}
        row |= {"seconds": row["seconds"] + prepared, "prepare_seconds": prepared}
        return row | {"import_seconds": checkout.import_seconds()} | (checkout.evaluate() if losses else {})

    return measure


def measure_pairs(parts: Parts, key: Mapping[str, Any], pairs: int, ours: Side, theirs: Side) -> list[Row]:
    """Measure pairs, each kept as a part with the rows `ours` and `theirs`."""

    def measure(number: int) -> Row:
        with tempfile.TemporaryDirectory(prefix="pair-") as name:
            folder = Path(name)
            found = one_pair(number, lambda: ours(folder / "ours", number), lambda: theirs(folder / "theirs", number))
        return dict(zip(("ours", "theirs"), found))

    return parts.repeat(pairs, key, measure)


FIGURES = ("seconds", "without_imports", "step_seconds", "peak_megabytes")


def figures(row: Row) -> dict[str, float]:
    """Return what is compared of a row, without what a side lacks: few steps take less time than imports."""
    found = row | {"without_imports": row["seconds"] - row.get("import_seconds", row["seconds"])}
    return {name: found[name] for name in FIGURES if (found.get(name) or 0) > 0}


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Return each side's figures, and the ratios of ours to theirs."""
    found: dict[str, Any] = {"pairs": len(rows), "ours": {}, "theirs": {}, "ratios": {}}
    ours, theirs = ([figures(row[side]) for row in rows] for side in ("ours", "theirs"))
    for name in (name for name in FIGURES if all(name in one for one in [*ours, *theirs])):
        both = [[one[name] for one in side] for side in (ours, theirs)]
        found["ours"][name], found["theirs"][name] = map(values, both)
        found["ratios"][name] = ratios(*both)
    for side in ("ours", "theirs"):
        losses = [row[side]["loss"] for row in rows if "loss" in row[side]]
        if losses:
            found[side] |= {name: rows[0][side][name] for name in ("loss_interval", "protocol")}
            found[side]["loss"] = values(losses)
    return found | {"rows": list(rows)}


def comparison_parser(doc: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """Return a parser with the options of every comparison with nanoGPT."""
    parser = new_parser(doc, threads=True, pairs=5, **defaults)
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--device", default="cpu", help="device of both sides (default: cpu)")
    return parser
