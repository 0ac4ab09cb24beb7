"""A checkout of karpathy/ng-video-lecture: its gpt.py, run from a temporary copy for a few steps.

It has no command line. `lecture_script.py` runs its source with other numbers of steps and of evaluations, a line
after each step, and without the text that it writes at the end; nothing else of it is changed.
"""

import hashlib
import shutil
import sys
from pathlib import Path

from benchmarks.ours import Trained
from benchmarks.peers.clock import lecture_clock
from benchmarks.processes import clean_environment, run
from nanogpt.text.corpus import load_corpus

SCRIPT = Path(__file__).parent / "lecture_script.py"


class Lecture:
    """A copy of its gpt.py in `folder`, beside the text."""

    def __init__(self, source: Path, folder: Path, threads: int | None = None) -> None:
        if not (source / "gpt.py").is_file():
            raise SystemExit(f"{source} is no checkout of karpathy/ng-video-lecture: it has no gpt.py")
        folder.mkdir(parents=True)
        self.folder, self.threads = folder, threads
        shutil.copy(source / "gpt.py", folder)
        (folder / "input.txt").write_text(load_corpus("shakespeare").text, encoding="utf-8")

    def version(self) -> str:
        """The hash of what is run of it."""
        return hashlib.sha256((self.folder / "gpt.py").read_bytes()).hexdigest()[:12]

    def train(self, steps: int, device: str = "cpu") -> Trained:
        """So many steps at its own size. It takes a GPU where it sees one."""
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
        command = [sys.executable, str(SCRIPT), str(steps)]
        done = run(command, self.folder, clean_environment(self.threads, **hidden))
        clock = lecture_clock(done.lines, steps)
        return Trained(clock=clock, peak_megabytes=done.peak_megabytes, folder=self.folder)
