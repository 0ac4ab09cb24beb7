"""A run's folder: what is in it, and its small files, written whole and read without trust.

config.toml          every setting (`nanogpt.config`)
plan.toml            text, length and its changes (`nanogpt.runs.plan`)
tokenizer.json       (`nanogpt.text.tokenizer`)
start.safetensors    the weights that it began with, where they are another run's (`nanogpt.training.fine_tuning`)
metrics.jsonl        a line for each logged step, evaluation and sample
checkpoints/         (`nanogpt.runs.checkpoint`)
history/             weights alone, of a few early steps and fewer later ones
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w
from safetensors.torch import save_file
from torch import Tensor

from nanogpt.runs.checkpoint import Checkpoints, cannot_save, sha256
from nanogpt.config import Config
from nanogpt.errors import UserError
from nanogpt.files import check_plain, read_text, read_toml, replacing, typed, write_atomically
from nanogpt.runs.plan import Plan
from nanogpt.runs.starter import STARTER, is_starter, run_folder
from nanogpt.runs.weights import read_layout
from nanogpt.text.tokenizer import Tokenizer, dump_tokenizer, parse_tokenizer

TOKENIZER_LIMIT = 256_000_000
"""Bytes of the largest tokenizer.json that is read."""
LINE_LIMIT = 1_000_000
"""Bytes of the longest line of metrics that is read."""
SAMPLE_LIMIT = 10_000
"""Characters of a sample that are kept. JSON takes 12 bytes for one at most: a line stays far below its limit."""


class RunFolder:
    """The paths of a run, and its small files."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> "RunFolder":
        """Make a new, empty folder; UserError where it exists already: a run is never overwritten."""
        try:
            Path(path).mkdir(parents=True)
        except FileExistsError:
            raise UserError(
                f"{os.fspath(path)!r} exists already, and a run is never overwritten: choose another --out, go on "
                f"with it by --resume {typed(path)}, or delete it"
            ) from None
        except OSError as error:
            raise UserError(
                f"cannot make the folder {os.fspath(path)!r}: {error.strerror}; choose another --out"
            ) from None
        return cls(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "RunFolder":
        """An existing run, or by its name the starter; UserError where the folder is none."""
        folder = cls(run_folder(path))
        if not folder.path.is_dir():
            raise UserError(f"no run folder {str(folder.path)!r}; `nanogpt runs` lists those that are here")
        missing = [
            name for name in ("config.toml", "plan.toml", "tokenizer.json") if not (folder.path / name).is_file()
        ]
        if missing:
            raise UserError(
                f"{str(folder.path)!r} is not a run folder: it has no {' and no '.join(missing)}; "
                f"`nanogpt runs` lists those that are here"
            )
        return folder

    @property
    def name(self) -> str:
        """What to call it: its path, or the starter's name."""
        return STARTER if is_starter(self.path) else str(self.path)

    @property
    def start(self) -> Path:
        """The file of the weights that the training begins with, where they are another run's."""
        return self.path / "start.safetensors"

    def write_start(self, tensors: dict[str, Tensor]) -> str:
        """Keep the weights that the training begins with; returns the file's hash."""
        with self._telling(self.start.name), replacing(self.start) as beside:
            save_file(tensors, beside)
            return sha256(beside)

    def checked_start(self, plan: Plan) -> Path | None:
        """The file of the weights that the training began with; None where it began from nothing.

        Raises UserError where it is missing or damaged.
        """
        if plan.start_from is None:
            return None
        check_plain(self.start, within=self.path)
        read_layout(self.start)  # before the hash, which reads a file to its end however far that is
        if sha256(self.start) != plan.start_sha256:
            raise UserError(f"{self.start} is damaged: its SHA-256 is not that of plan.toml; restore it from a copy")
        return self.start

    @property
    def checkpoints(self) -> Checkpoints:
        """The run's checkpoints."""
        return Checkpoints(self.path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process that trains this run; the lock goes with the process, however it ends.

        Also removes what a killed process left half-written.
        """
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.path / ".lock", timeout=0):
                for half_written in self.path.glob(".*.*[0-9]"):
                    half_written.unlink()
                self.checkpoints.clear_leftovers()
                yield
        except Timeout:
            raise UserError(
                f"another process is training {str(self.path)!r}: wait for it, or stop it (Ctrl-C there saves)"
            ) from None

    def read_config(self) -> Config:
        """The run's settings."""
        where = self.path / "config.toml"
        return Config.from_dict(read_toml(where, within=self.path), str(where))

    def write_config(self, config: Config) -> None:
        """Keep the run's settings."""
        self._write("config.toml", tomli_w.dumps(config.to_dict()))

    def read_plan(self) -> Plan:
        """The run's plan, with its changes."""
        where = self.path / "plan.toml"
        return Plan.from_dict(read_toml(where, within=self.path), str(where))

    def write_plan(self, plan: Plan) -> None:
        """Keep the plan; called before a change of it is acted on."""
        self._write("plan.toml", tomli_w.dumps(plan.to_dict()))

    def read_tokenizer(self) -> Tokenizer:
        """The run's tokenizer."""
        where = self.path / "tokenizer.json"
        return parse_tokenizer(read_text(where, TOKENIZER_LIMIT, within=self.path), str(where))

    def write_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Keep the run's tokenizer."""
        self._write("tokenizer.json", dump_tokenizer(tokenizer))

    def check_vocabulary(self) -> None:
        """Raise UserError where the tokenizer is not the one that the model was made for."""
        size, expected = self.read_tokenizer().vocab_size, self.read_config().model.vocab_size
        if size != expected:
            raise UserError(
                f"{self.path / 'tokenizer.json'} has {size} tokens, but config.toml says vocab_size {expected}: "
                f"restore the tokenizer that the run was trained with"
            )

    def metrics(self) -> Iterator[dict[str, Any]]:
        """The lines of metrics.jsonl; a last line that was cut off by a crash is left out.

        Raises UserError for a damaged line that others follow.
        """
        where = self.path / "metrics.jsonl"
        if not where.exists():
            return
        check_plain(where, within=self.path)
        with where.open("rb") as file:
            number, problem = 0, 0
            while raw := file.readline(LINE_LIMIT):
                number += 1
                if problem:
                    raise UserError(
                        f"{where}: line {problem} is damaged: restore the file, or delete it; it holds the curves, and "
                        f"nothing that training needs"
                    )
                line = _parse_line(raw)
                if line is None:
                    problem = number
                else:
                    yield line

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one line."""
        with self._telling("metrics.jsonl"), (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def cut_metrics(self, step: int) -> None:
        """Forget what was logged after a step, from which the run now goes on."""
        lines = (line for line in self.metrics() if line["step"] <= step and line["event"] != "done")
        kept = [json.dumps(line) + "\n" for line in lines]
        self._write("metrics.jsonl", "".join(kept))

    def _write(self, name: str, text: str) -> None:
        with self._telling(name):
            write_atomically(self.path / name, text.encode())

    @contextlib.contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        """Turn the system's refusal to write a file into what a person can do about it."""
        try:
            yield
        except OSError as error:
            raise cannot_save(name, self.path, error) from None


def _parse_line(raw: bytes) -> dict[str, Any] | None:
    """A line of metrics; None where it is not whole."""
    try:
        line = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not raw.endswith(b"\n") or not isinstance(line, dict) or not isinstance(line.get("event"), str):
        return None
    numbers = [line.get("step"), *([line.get("loss")] if line["event"] in ("step", "eval", "done") else [])]
    return line if all(isinstance(one, int | float) for one in numbers) else None
