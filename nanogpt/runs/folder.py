"""A run folder: its small files, written atomically and validated on reading (docs/architecture.md lists them)."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli_w

from nanogpt.config import Config
from nanogpt.errors import UserError, reported_write
from nanogpt.files import atomic_path, check_plain, delete, read_text, read_toml
from nanogpt.runs.checkpoint import Checkpoints, checked_hash
from nanogpt.runs.plan import Plan
from nanogpt.text.tokenizer import Tokenizer, dump_tokenizer, parse_tokenizer

RUNS = Path("runs")
"""Where runs are kept, below the working folder."""
RUN_FILES = ("config.toml", "plan.toml", "tokenizer.json")
TOKENIZER_LIMIT = 256_000_000
"""Bytes of the largest tokenizer.json that is read."""
LINE_LIMIT = 1_000_000
"""Bytes of the longest line of metrics that is read."""


class RunFolder:
    """The files of a run."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.start = self.path / "start.safetensors"
        self.checkpoints = Checkpoints(self.path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "RunFolder":
        """Open an existing run, by its folder or its name (`find_folder`); raise UserError where there is none."""
        folder = Path(path)
        if not os.path.isfile(folder / RUN_FILES[0]):  # noqa: PTH113  (False for a name that is too long)
            from nanogpt.runs.find import find_folder

            folder = find_folder(path, required=True)
        if missing := ", ".join(one for one in RUN_FILES if not (folder / one).is_file()):
            raise UserError(f"{str(folder)!r} is not a run folder: {missing} missing; list runs with: nanogpt runs")
        return cls(folder)

    def checked_start(self, plan: Plan) -> Path | None:
        """Return the file of the weights that the training began with, checked; None for a new model."""
        if plan.start_from is None:
            return None
        if checked_hash(self.start, within=self.path) != plan.start_sha256:
            raise UserError(f"{self.start} is damaged: its SHA-256 is not that in plan.toml; restore it from a copy")
        return self.start

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the one process that trains this run; delete what a killed one left half-written."""
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.path / ".lock", timeout=0):
                for folder in (self.path, self.checkpoints.path, self.checkpoints.history_path):
                    delete(*folder.glob(".*.*[0-9]"))  # as `atomic_path` names them
                yield
        except Timeout:
            raise UserError(
                f"another process is training {str(self.path)!r}: wait for it, or stop it (Ctrl-C there saves)"
            ) from None

    def read_config(self) -> Config:
        """Read `config.toml`."""
        path = self.path / "config.toml"
        return Config.from_dict(read_toml(path, within=self.path), str(path))

    def write_config(self, config: Config) -> None:
        """Write `config.toml`."""
        self._write("config.toml", tomli_w.dumps(config.to_dict()))

    def read_plan(self) -> Plan:
        """Read `plan.toml`."""
        path = self.path / "plan.toml"
        return Plan.from_dict(read_toml(path, within=self.path), str(path))

    def write_plan(self, plan: Plan) -> None:
        """Write `plan.toml`: always before a change of it takes effect, so that a killed run follows it too."""
        self._write("plan.toml", tomli_w.dumps(plan.to_dict()))

    def read_tokenizer(self) -> Tokenizer:
        """Read `tokenizer.json`; raise UserError where its size is not that of the model."""
        path, expected = self.path / "tokenizer.json", self.read_config().model.vocab_size
        tokenizer = parse_tokenizer(read_text(path, TOKENIZER_LIMIT, within=self.path), str(path))
        if tokenizer.vocab_size != expected:
            raise UserError(
                f"{path} has {tokenizer.vocab_size} tokens, but config.toml says vocab_size {expected}: restore the "
                f"tokenizer that the run was trained with"
            )
        return tokenizer

    def write_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Write `tokenizer.json`."""
        self._write("tokenizer.json", dump_tokenizer(tokenizer))

    def metrics(self) -> Iterator[dict[str, Any]]:
        """Yield the lines of `metrics.jsonl`, without a last one that a crash cut off; UserError for damage before."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return
        check_plain(path, within=self.path)
        with path.open("rb") as file:
            for number, raw in enumerate(iter(lambda: file.readline(LINE_LIMIT), b""), 1):
                try:
                    line = json.loads(raw)
                    numbers = [line["step"], *([line["loss"]] if line["event"] in ("step", "eval", "done") else [])]
                    whole = raw.endswith(b"\n") and all(isinstance(one, int | float) for one in numbers)
                except (ValueError, KeyError, TypeError, RecursionError):
                    whole = False
                if whole:
                    yield line
                elif file.read(1):  # not the last line
                    raise UserError(
                        f"{path}: line {number} is damaged: restore the file, or delete it; it holds the curves, and "
                        f"nothing that training needs"
                    )

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one line to `metrics.jsonl`."""
        path = self.path / "metrics.jsonl"
        with reported_write(path.name, self.path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def cut_metrics(self, step: int) -> None:
        """Delete what was logged after a step from which the run now continues."""
        lines = (line for line in self.metrics() if line["step"] <= step and line["event"] != "done")
        self._write("metrics.jsonl", "".join([json.dumps(line) + "\n" for line in lines]))

    def done(self) -> dict[str, Any] | None:
        """Return the line of metrics at the end of the training; None before."""
        return next((line for line in self.metrics() if line["event"] == "done"), None)

    def _write(self, name: str, text: str) -> None:
        with reported_write(name, self.path), atomic_path(self.path / name) as temporary:
            temporary.write_bytes(text.encode())
