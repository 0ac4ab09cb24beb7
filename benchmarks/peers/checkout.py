"""A checkout of karpathy/nanoGPT, run from a temporary copy, without a network and without changing it.

Its `prepare.py` and `train.py` run as they are, by their command lines. For `prepare.py` the text is where it looks
before it downloads, beside an empty module `requests`, which it imports and then does not need; what preparing takes
counts. Its recipes have no setting for the seed: all runs of one are the same run, and differ by rounding at most.
"""

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.clock import Clock, nanogpt_clock
from benchmarks.processes import clean_environment, run
from nanogpt.evaluation.intervals import ratio_interval
from nanogpt.text.corpus import load_corpus

HERE = Path(__file__).parent
CONFIG = "config/train_shakespeare_char.py"
PREPARE = "data/shakespeare_char/prepare.py"
IMPORTS = (
    "import os, time, math, pickle, numpy, torch; from contextlib import nullcontext; "
    "from torch.nn.parallel import DistributedDataParallel; "
    "from torch.distributed import init_process_group, destroy_process_group; from model import GPTConfig, GPT"
)
"""What `train.py` imports."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training of nanoGPT's, by what its README and config say."""

    words: tuple[str, ...]
    steps: int
    block_size: int
    batch_size: int


CPU_RECIPE = Recipe(
    words=(
        *("--block_size=64", "--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128"),
        *("--lr_decay_iters=2000", "--dropout=0.0"),
    ),
    steps=2000,
    block_size=64,
    batch_size=12,
)
"""Its README, "I only have a macbook"."""
GPU_RECIPE = Recipe(words=(), steps=5000, block_size=256, batch_size=64)
"""Its config/train_shakespeare_char.py as it is: 6 layers, 6 heads, 384 channels, dropout 0.2."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A training of either side, over."""

    clock: Clock
    peak_megabytes: float
    folder: Path
    """where its checkpoint is"""


class Checkout:
    """A copy of the checkout in `folder`, with the text in its place."""

    def __init__(self, source: Path, folder: Path, text: str = "shakespeare", threads: int | None = None) -> None:
        for needed in ("train.py", "model.py", CONFIG, PREPARE):
            if not (source / needed).is_file():
                raise SystemExit(f"{source} is no checkout of karpathy/nanoGPT: it has no {needed}")
        self.folder = folder
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".git", "*.bin", "*.pkl", "out*"))
        data = (folder / PREPARE).parent
        (data / "input.txt").write_text(load_corpus(text).text, encoding="utf-8")
        (data / "requests.py").touch()
        self.environment = clean_environment(threads, PYTHONPATH=str(folder))

    def version(self) -> str:
        """The hash of what is run of it, in place of a commit: a copy without .git has none."""
        content = b"".join((self.folder / name).read_bytes() for name in ("train.py", "model.py", CONFIG))
        return hashlib.sha256(content).hexdigest()[:12]

    def prepare(self) -> float:
        """Make its ids from the text; returns the seconds of that process."""
        return run([sys.executable, PREPARE], self.folder, self.environment).seconds

    def import_seconds(self) -> float:
        """Seconds of a process that imports what its training imports."""
        return run([sys.executable, "-c", IMPORTS], self.folder, self.environment).seconds

    def train(self, recipe: Recipe, steps: int | None = None, device: str = "cpu") -> Trained:
        """Train by a recipe, or so many of its steps, and keep the weights after the last of them."""
        steps = recipe.steps if steps is None else steps
        compiled = device != "cpu"  # its README compiles everywhere but on CPUs
        command = [
            *(sys.executable, "train.py", CONFIG, f"--device={device}", f"--compile={compiled}", *recipe.words),
            *(f"--max_iters={steps}", f"--eval_interval={steps}", "--eval_iters=1", "--log_interval=1"),
            *("--always_save_checkpoint=True", "--out_dir=out"),
        ]
        done = run(command, self.folder, self.environment)
        clock = nanogpt_clock(done.lines, steps)
        return Trained(clock=clock, peak_megabytes=done.peak_megabytes, folder=self.folder / "out")

    def whole_split(self) -> dict[str, Any]:
        """The loss of its last checkpoint by our whole-split protocol, on its own val.bin, by its own model.py."""
        return whole_split(self.folder / "out" / "ckpt.pt", (self.folder / PREPARE).parent / "val.bin", self)


def whole_split(checkpoint: Path, ids: Path, checkout: Checkout) -> dict[str, Any]:
    """Loss, its 95 % interval over blocks of text, and protocol, measured in a process that imports their model."""
    script = HERE / "whole_split.py"
    done = run([sys.executable, str(script), str(checkpoint), str(ids)], checkout.folder, checkout.environment)
    return summed_up(json.loads(done.lines[-1].text))


def summed_up(found: dict[str, Any]) -> dict[str, Any]:
    """A loss from its windows' nats and tokens, as `nanogpt eval` tells it."""
    import numpy as np

    nats, tokens = np.array(found["nats"]), np.array(found["tokens"])
    interval = ratio_interval(nats, tokens)
    return {
        "loss": float(nats.sum() / tokens.sum()),
        "loss_interval": interval and [interval.low, interval.high],
        "protocol": f"whole split, {tokens.sum():,} tokens in consecutive windows of {found['block_size']}",
    }
