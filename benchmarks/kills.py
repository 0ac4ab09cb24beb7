"""Kill a training at random moments, resume it each time, and compare its end with the uninterrupted run's.

    python -m benchmarks.kills --kills 200

Each life of the run is a process of its own, `nanogpt train --resume RUN`, that gets SIGKILL: after a random time of
training, while it starts, or at the moment that a half-written file is seen in its folder. After each kill the last
checkpoint has to be whole, by its hashes, and no older than the one before. At the end every byte of the last and the
best checkpoint and of the history, and the metrics but for what a clock says, are compared.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.record import circumstances, write_record
from nanogpt.runs.checkpoint import Checkpoints
from nanogpt.runs.folder import RunFolder

SETTINGS = [
    *["--preset", "modern", "--n-layer", "2", "--n-head", "2", "--n-embd", "48", "--block-size", "48"],
    *["--batch-size", "6", "--accumulation", "2", "--dropout", "0.1", "--sample-tokens", "20"],
    *["--eval-every", "25", "--eval-tokens", "2000", "--final-eval-tokens", "20000", "--log-every", "7"],
]
"""Small, so that much of its time goes to evaluations, samples and files: the moments to be hit."""
MOMENTS = {"training": 0.5, "writing": 0.35, "starting": 0.15}
"""When to kill, and how often."""
SECONDS_TO_START = 3.0
CLOCKS = ("seconds", "tokens_per_second")


def main() -> None:
    """Run both, compare, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--text", default="python")
    parser.add_argument("--seed", type=int, default=1337, help="of the moments")
    options = parser.parse_args()
    measured_in = circumstances()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.text, options.steps, options.kills, options.seed)
    print(json.dumps(result, indent=2))
    print(f"wrote {write_record('kills', measured_in, {'settings': ' '.join(SETTINGS)} | result)}")


def measure(folder: Path, text: str, steps: int, kills: int, seed: int) -> dict[str, Any]:
    """Train once without and once with interruptions, below `folder`; what was seen."""
    settings = [text, "--steps", str(steps), *SETTINGS]
    whole, killed = folder / "whole", folder / "killed"
    begin = time.monotonic()
    subprocess.run(_command(*settings, "--out", str(whole)), check=True, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - begin - SECONDS_TO_START
    # Shorter lives than would just do: what a kill undoes is trained again.
    lives = Lives(killed, window=seconds / kills, seed=seed)
    first = _command(*settings, "--out", str(killed))
    while lives.kills < kills and lives.live(first if lives.kills == 0 else _command("--resume", str(killed))):
        pass
    subprocess.run(_command("--resume", str(killed)), check=True, stderr=subprocess.DEVNULL)
    return {
        "steps": steps,
        "kills": lives.kills,
        "killed_while": dict(lives.moments),
        "left_half_written": lives.half_written,
        "lost_checkpoints": lives.lost,
        "uninterrupted_seconds": round(seconds, 1),
        "seed": seed,
        "differences": differences(whole, killed),
        "compared_bytes": sum(len(content) for content in _contents(whole).values()),
    }


class Lives:
    """The lives of one run, and what its folder looked like after each."""

    def __init__(self, run: Path, window: float, seed: int) -> None:
        self.run, self.window, self.random = run, window, random.Random(seed)
        self.kills, self.lost, self.half_written, self.last = 0, 0, 0, -1
        self.moments: Counter[str] = Counter()

    def live(self, command: list[str]) -> bool:
        """Start the run, kill it; False where it came to its end before."""
        # The first life is left to make its folder: what is killed before has nothing to lose.
        (moment,) = self.random.choices(list(MOMENTS), list(MOMENTS.values())) if self.kills else ["training"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            {"training": self._training, "writing": self._writing, "starting": self._starting}[moment](process)
            if process.poll() is not None:
                return False
            process.kill()
        self.kills += 1
        self.moments[moment] += 1
        self._look()
        return True

    def _starting(self, process: "subprocess.Popen[str]") -> None:
        time.sleep(self.random.uniform(0, SECONDS_TO_START))

    def _training(self, process: "subprocess.Popen[str]") -> None:
        _wait_for_training(process)
        time.sleep(self.random.uniform(0, 2 * self.window))

    def _writing(self, process: "subprocess.Popen[str]") -> None:
        """Until something half-written is there, a few times over."""
        _wait_for_training(process)
        end = time.monotonic() + 5 + 2 * self.window
        for _ in range(self.random.randint(1, 4)):
            while not self._open_files() and process.poll() is None and time.monotonic() < end:
                pass
            time.sleep(self.random.choice([0, 0, 0.0005, 0.002]))

    def _open_files(self) -> list[str]:
        folders = (self.run, self.run / "checkpoints", self.run / "history")
        names = [path.name for folder in folders if folder.exists() for path in folder.iterdir()]
        return [name for name in names if name.startswith(".") and name != ".lock"]

    def _look(self) -> None:
        self.half_written += bool(self._open_files())
        found = Checkpoints(self.run).find("last")
        step = -1 if found is None else found.state.step
        if step < self.last or (found is not None and found.notes):
            self.lost += 1
        self.last = step


def _wait_for_training(process: "subprocess.Popen[str]") -> None:
    """Until it says that it goes on; its further words are thrown away, so that it never waits for a reader."""
    assert process.stderr is not None
    for line in process.stderr:
        if "times the training text" in line:
            break
    threading.Thread(target=process.stderr.read, daemon=True).start()


def differences(one: Path, other: Path) -> list[str]:
    """What two finished runs do not have in common: names of files, or `metrics`."""
    contents = [_contents(run) for run in (one, other)]
    names = sorted(contents[0].keys() | contents[1].keys())
    differing = [name for name in names if contents[0].get(name) != contents[1].get(name)]
    metrics = [[_without_clocks(line) for line in RunFolder(run).metrics()] for run in (one, other)]
    return differing + (["metrics"] if metrics[0] != metrics[1] else [])


def _contents(run: Path) -> dict[str, bytes]:
    """Every file of a run that no clock has a part in."""
    files = [*run.rglob("*.safetensors"), run / "tokenizer.json", run / "checkpoints/last", run / "checkpoints/best"]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


def _without_clocks(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in CLOCKS}


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "nanogpt", "train", *words]


if __name__ == "__main__":
    main()
