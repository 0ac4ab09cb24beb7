"""Kill a training at random moments, resume it each time, and compare its end with that of an uninterrupted run.

    python -m benchmarks.kills --kills 200

`nanogpt train --resume RUN` gets SIGKILL after a random time of training, while it starts, or as soon as a half-written
file is in its folder. After each kill the last checkpoint must be whole and no older than the one before. At the end
all files are compared as by `benchmarks.same_bytes`.
"""

import random
import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.processes import NANOGPT
from benchmarks.record import new_parser, parse
from benchmarks.same_bytes import differences
from nanogpt.runs.checkpoint import Checkpoints

SETTINGS = [
    *["--preset", "modern", "--n-layer", "2", "--n-head", "2", "--n-embd", "48", "--block-size", "48"],
    *["--batch-size", "6", "--accumulation", "2", "--dropout", "0.1", "--sample-tokens", "20"],
    *["--eval-every", "25", "--eval-tokens", "2000", "--final-eval-tokens", "20000", "--log-every", "7"],
]
"""Small, so that evaluations, samples and files, where a kill should hit, take much of the time."""
MOMENTS = {"training": 0.5, "writing": 0.35, "starting": 0.15}
"""When to kill, and how often."""
TRAIN = [*NANOGPT, "train"]
SECONDS_TO_START = 3.0


def main() -> None:
    """Run both, compare, print and record."""
    parser = new_parser(__doc__, kills=200, steps=8000, text="python")
    parser.add_argument("--seed", type=int, default=1337, help="seed of the moments")
    options, parts = parse(parser, "kills", parts=False)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.text, options.steps, options.kills, options.seed)
    parts.write({"settings": " ".join(SETTINGS)} | result)


def measure(folder: Path, text: str, steps: int, kills: int, seed: int) -> dict[str, Any]:
    """Train once without and once with kills, below `folder`; return what was found."""
    settings = [text, "--steps", str(steps), *SETTINGS]
    whole, killed = folder / "whole", folder / "killed"
    begin = time.monotonic()
    subprocess.run([*TRAIN, *settings, "--out", str(whole)], check=True, stderr=subprocess.DEVNULL)
    seconds = time.monotonic() - begin - SECONDS_TO_START
    # Shorter times than would just do: what a kill undoes is trained again.
    killer = Killer(killed, window=seconds / kills, seed=seed)
    resume = [*TRAIN, "--resume", str(killed)]
    first = [*TRAIN, *settings, "--out", str(killed)]
    while killer.kills < kills and killer.kill(first if killer.kills == 0 else resume):
        pass
    subprocess.run(resume, check=True, stderr=subprocess.DEVNULL)
    return {
        "steps": steps,
        "kills": killer.kills,
        "killed_while": dict(killer.moments),
        "left_half_written": killer.half_written,
        "lost_checkpoints": killer.lost,
        "uninterrupted_seconds": round(seconds, 1),
        "seed": seed,
        "differences": differences(whole, killed),
        "compared_bytes": sum(file.stat().st_size for file in whole.rglob("*") if file.is_file()),
    }


class Killer:
    """Starts and kills the processes of one run, and checks its folder after each."""

    def __init__(self, run: Path, window: float, seed: int) -> None:
        self.run, self.window, self.random = run, window, random.Random(seed)
        self.kills, self.lost, self.half_written, self.last = 0, 0, 0, -1
        self.moments: Counter[str] = Counter()

    def kill(self, command: list[str]) -> bool:
        """Start the run and kill it; return False where it ended before."""
        # The first process is left to make its folder: before that nothing can be lost.
        (moment,) = self.random.choices(list(MOMENTS), list(MOMENTS.values())) if self.kills else ["training"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
            self._wait(process, moment)
            if process.poll() is not None:
                return False
            process.kill()
        self.kills += 1
        self.moments[moment] += 1
        self.half_written += bool(self._open_files())
        found = Checkpoints(self.run).find("last")
        step = -1 if found is None else found.state.step
        self.lost += step < self.last or (found is not None and bool(found.notes))
        self.last = step
        return True

    def _wait(self, process: "subprocess.Popen[str]", moment: str) -> None:
        if moment == "starting":
            time.sleep(self.random.uniform(0, SECONDS_TO_START))
            return
        assert process.stderr is not None
        for line in process.stderr:  # until it reports that it trains
            if "times the training text" in line:
                break
        threading.Thread(target=process.stderr.read, daemon=True).start()  # so that it never waits for a reader
        if moment == "training":
            time.sleep(self.random.uniform(0, 2 * self.window))
            return
        end = time.monotonic() + 5 + 2 * self.window
        for _ in range(self.random.randint(1, 4)):
            while not self._open_files() and process.poll() is None and time.monotonic() < end:
                pass
            time.sleep(self.random.choice([0, 0, 0.0005, 0.002]))

    def _open_files(self) -> list[str]:
        folders = (self.run, self.run / "checkpoints", self.run / "history")
        names = [path.name for folder in folders if folder.exists() for path in folder.iterdir()]
        return [name for name in names if name.startswith(".") and name != ".lock"]


if __name__ == "__main__":
    main()
