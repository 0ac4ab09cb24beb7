"""Writes a figure down together with what it depends on: hardware, versions, commit, command.

A record is one file, written when all is measured. What takes long is kept in lines before that, each written as soon
as it was measured, so that an interrupted measurement goes on.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parent / "records"


def circumstances() -> dict[str, Any]:
    """Command, commit, machine and versions, taken before the measurement: the working tree may change during it."""
    import torch

    return {
        "command": " ".join(["python", "-m", _module_name(), *map(_without_folder, sys.argv[1:])]),
        "when": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "hardware": {"processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def write_record(name: str, measured_in: dict[str, Any], result: dict[str, Any]) -> Path:
    """Write `records/NAME.json`: the circumstances and the result; returns the path."""
    path = RECORDS / f"{name}.json"
    path.write_text(json.dumps(measured_in | result, indent=2) + "\n", encoding="utf-8")
    return path


class LineFile:
    """Results in a file, a line of JSON each, appended as soon as they are there: an interruption loses one at most."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict[str, Any]]:
        """All of them in the order of time; a line that was cut off by an interruption is left out."""
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one, on a line of its own also where the last one was cut off."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torn = self.path.exists() and not self.path.read_bytes().endswith(b"\n") and self.path.stat().st_size > 0
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps(row) + "\n")


class Parts:
    """The parts of a long measurement, each measured once for a version of the library, and kept.

    A part is known by its key, a dictionary of what it depends on, and by the library's code: after a change of
    `nanogpt/` it is measured anew, unless `keep` says that older parts count too. Each tells its own commit. In a
    `trial` nothing is kept or recorded.
    """

    def __init__(self, name: str, *, keep: bool = False, trial: bool = False) -> None:
        self.name, self.keep, self.trial = name, keep, trial
        self.file = LineFile(RECORDS / "parts" / f"{name}.jsonl")
        self.measured_in = circumstances()
        self.code = _code()

    def measure(self, key: Mapping[str, Any], measure: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The part's result: the newest that is kept, else measured now and kept, with how busy the machine was."""
        for row in reversed([] if self.trial else self.file.rows()):
            if row["key"] == json.loads(json.dumps(key)) and (self.keep or row["code"] == self.code):
                return row
        busy = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        row = {"key": dict(key), "load_before": busy, **measure(), "code": self.code, **self.measured_in}
        if not self.trial:
            self.file.append(row)
        return row

    def write(self, result: Mapping[str, Any]) -> None:
        """Write the record of all parts, and say so."""
        if self.trial:
            print("a trial: nothing is recorded")
        else:
            print(f"wrote {write_record(self.name, self.measured_in, dict(result))}")


def add_part_options(parser: argparse.ArgumentParser) -> None:
    """What a command that measures `Parts` can be told about them."""
    parser.add_argument("--keep", action="store_true", help="take what older versions of the library measured, too")
    parser.add_argument("--trial", action="store_true", help="measure, but keep and record nothing")


def _code() -> str:
    """The library's code: the hash that git gives the folder, with the edits that are not committed."""
    root = str(RECORDS.parent.parent)
    found = [
        subprocess.run(["git", "-C", root, *words], capture_output=True, check=False).stdout
        for words in (["rev-parse", "HEAD:nanogpt"], ["diff", "HEAD", "--", "nanogpt"])
    ]
    return hashlib.sha256(b"".join(found)).hexdigest()[:12]


def _module_name() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else Path(sys.argv[0]).stem


def _without_folder(argument: str) -> str:
    """Where somebody keeps a text or a checkout is nobody else's concern.

    >>> [_without_folder(word) for word in ("/home/ada/texts/book.txt", "learning_rate=0.01", "--out=/a/b")]
    ['book.txt', 'learning_rate=0.01', '--out=b']
    """
    name, equals, value = argument.rpartition("=")
    return name + equals + Path(value).name if Path(value).is_absolute() else argument


def _commit() -> str:
    """The commit measured, with `+` where the working tree differs from it."""
    root = Path(__file__).parent.parent
    git = ["git", "-C", str(root)]
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    # The records and README, which is made from them, change by being measured.
    measured = ["--", ".", ":!benchmarks/records", ":!README.md"]
    edits = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no", *measured], capture_output=True, text=True, check=False
    )
    return (head.stdout.strip() or "unknown") + ("+" if edits.stdout.strip() else "")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
