"""Our side of a comparison: the command `nanogpt` of this working tree, in a fresh process with empty caches."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.checkout import Trained
from benchmarks.peers.clock import middle_step, our_clock
from benchmarks.processes import own_environment, run
from nanogpt.runs.folder import RunFolder

NANOGPT = (sys.executable, "-m", "nanogpt")
FEW_EVALUATIONS = ("--eval-tokens", "1", "--final-eval-tokens", "1", "--sample-tokens", "0")
IMPORTS = "import nanogpt.training.launch, nanogpt.training.interrupt, nanogpt.reporting.terminal"
"""What `nanogpt train` imports."""


class Ours:
    """Trainings below one temporary folder."""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.threads = folder, threads

    @property
    def run_folder(self) -> Path:
        """Of the training."""
        return self.folder / "run"

    @property
    def environment(self) -> dict[str, str]:
        """That of every process here."""
        return own_environment(self.folder, self.threads)

    def import_seconds(self) -> float:
        """Seconds of a process that imports what a training imports."""
        return run([sys.executable, "-c", IMPORTS], self.folder, self.environment).seconds

    def train(self, words: Sequence[str], steps: int, *more: str) -> Trained:
        """`nanogpt train WORDS --steps STEPS`, evaluated no more than it insists on."""
        command = [*NANOGPT, "train", *words, "--steps", str(steps), "--eval-every", str(steps), *FEW_EVALUATIONS]
        done = run([*command, *more, "--out", str(self.run_folder)], self.folder, self.environment)
        clock = our_clock(done.lines, steps)
        return Trained(clock=clock, peak_megabytes=done.peak_megabytes, folder=self.run_folder)

    def whole_split(self, checkpoint: str = "last") -> dict[str, Any]:
        """What `nanogpt eval --json` says of a checkpoint: the whole-split loss and its 95 % interval."""
        command = [*NANOGPT, "eval", str(self.run_folder), "--checkpoint", checkpoint, "--json"]
        done = run(command, self.folder, self.environment)
        found: dict[str, Any] = json.JSONDecoder().raw_decode(done.text[done.text.index("{") :])[0]
        return {name: found[name] for name in ("loss", "loss_interval", "protocol", "step")}

    def step_seconds(self) -> float | None:
        """Median of a warm step; of each ten together, unless `--log-every` says otherwise."""
        return seconds_of_a_step(RunFolder(self.run_folder).metrics())

    def parameters(self) -> int:
        """Of the trained model."""
        import nanogpt

        return nanogpt.load(self.run_folder, checkpoint="last", device="cpu").model.parameter_count


def seconds_of_a_step(metrics: Iterable[dict[str, Any]]) -> float | None:
    """From the lines of metrics.jsonl, whose seconds are those of training alone.

    >>> lines = [{"event": "step", "step": step, "seconds": 9.0 + 0.1 * step} for step in (10, 20, 30, 40)]
    >>> round(seconds_of_a_step([*lines, {"event": "eval", "step": 40, "seconds": 13.0}]), 3)
    0.1
    """
    ends = [(line["step"], line["seconds"]) for line in metrics if line["event"] == "step"]
    apart = ends[1][0] - ends[0][0] if len(ends) > 1 else 1
    took = middle_step([seconds for _, seconds in ends])
    return None if took is None else took / apart
