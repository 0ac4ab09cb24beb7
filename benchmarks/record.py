"""Records of measurements, with what they depend on: hardware, versions, commit, command.

A record is one file, `records/NAME.json`, written when everything is measured. A long measurement keeps each part in a
file of lines as soon as it is measured, so that an interrupted command continues.
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
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from nanogpt.parallel.process import prepare_process

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "benchmarks" / "records"

Name = TypeVar("Name")


def circumstances() -> dict[str, Any]:
    """Return command, commit, machine and versions; call it before measuring, because the working tree may change."""
    import torch

    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name if spec else Path(sys.argv[0]).stem
    return {
        "command": " ".join(["python", "-m", module, *map(_without_folder, sys.argv[1:])]),
        "when": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "hardware": {"processor": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }


def write_record(name: str, measured_in: dict[str, Any], result: dict[str, Any]) -> Path:
    """Write `records/NAME.json` from the circumstances and the result; return its path."""
    path = RECORDS / f"{name}.json"
    path.write_text(json.dumps(measured_in | result, indent=2) + "\n", encoding="utf-8")
    return path


def read_record(name: str) -> Any:
    """Return a record."""
    return json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))


class LineFile:
    """A file of results, one line of JSON each; an interruption loses one at most."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict[str, Any]]:
        """Return all results in the order of time, without a line that an interruption cut off."""
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else ():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a result, on a new line even if the last one was cut off."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torn = self.path.exists() and self.path.stat().st_size > 0 and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps(row) + "\n")


class Parts:
    """The parts of a long measurement, each measured once per version of the library and kept.

    A part is identified by its key, a dictionary of what it depends on, and by the library's code: after a change in
    `nanogpt/` it is measured again, unless `keep` accepts older parts. A `trial` keeps and records nothing.
    """

    def __init__(self, name: str, *, keep: bool = False, trial: bool = False) -> None:
        self.name, self.keep, self.trial = name, keep, trial
        self.file = LineFile(RECORDS / "parts" / f"{name}.jsonl")
        self.measured_in = circumstances()
        self.code = _code()

    def measure(self, key: Mapping[str, Any], measure: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Return the part's newest kept result, or measure and keep it, with the machine's load before."""
        for row in reversed([] if self.trial else self.file.rows()):
            if row["key"] == json.loads(json.dumps(key)) and (self.keep or row["code"] == self.code):
                return row
        load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        row = {"key": dict(key), "load_before": load, **measure(), "code": self.code, **self.measured_in}
        if not self.trial:
            self.file.append(row)
        print(f"measured {json.dumps(key)[:120]}", flush=True)
        return row

    def repeat(self, count: int, key: Mapping[str, Any], measure: Callable[[int], Mapping[str, Any]]) -> list[Any]:
        """Measure `count` times, by a function of the number; return the rows."""
        return [self.measure({**key, "number": number}, partial(measure, number)) for number in range(count)]

    def in_turn(
        self, count: int, keys: Mapping[Name, Mapping[str, Any]], measure: Callable[[Name], Mapping[str, Any]]
    ) -> dict[Name, list[dict[str, Any]]]:
        """Measure several things `count` times in turn, by a function of the name; return the rows by name."""
        found: dict[Name, list[dict[str, Any]]] = {name: [] for name in keys}
        for number in range(count):
            for name, key in keys.items():
                found[name].append(self.measure({**key, "number": number}, partial(measure, name)))
        return found

    def write(self, result: Mapping[str, Any], record: bool = True) -> None:
        """Print the result as its table, and write the record, unless this is a trial."""
        from benchmarks.tables import render

        print(render(self.name, {**self.measured_in, **result}))
        if self.trial or not record:
            print("nothing is recorded")
        else:
            print(f"wrote {write_record(self.name, self.measured_in, dict(result))}")


def new_parser(
    doc: str | None, threads: bool = False, prepare: bool = True, **defaults: Any
) -> argparse.ArgumentParser:
    """Return the parser of a command whose help is its module's docstring, with `--threads` if asked for.

    Simple options are given by their defaults: a list for any values of its type, a mapping or a tuple for a choice of
    its items. The process is prepared as by the command line, for which torch must not be imported before.
    """
    if prepare:
        prepare_process()
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if threads:
        parser.add_argument("--threads", type=int, help="CPU threads (default: torch's own choice)")
    for name, default in defaults.items():
        about: dict[str, Any] = {"type": type(default), "default": default, "help": "default: %(default)s"}
        if isinstance(default, list | tuple | Mapping):
            about |= {"type": type(next(iter(default))), "default": list(default), "nargs": "+"}
            about |= {} if isinstance(default, list) else {"choices": default}
        parser.add_argument(f"--{name.replace('_', '-')}", **about)
    return parser


def parse(parser: argparse.ArgumentParser, name: str, *, parts: bool = True) -> tuple[argparse.Namespace, Parts]:
    """Return the options of a command, and what it measures; without `parts` that is measured at once."""
    if parts:
        parser.add_argument("--keep", action="store_true", help="also accept parts that older versions measured")
    parser.add_argument("--trial", action="store_true", help="measure, but keep and record nothing")
    options = parser.parse_args()
    return options, Parts(name, keep=parts and options.keep, trial=options.trial)


def _git(*words: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False).stdout


def _code() -> str:
    """Return a hash of the library's code, uncommitted changes included."""
    found = _git("rev-parse", "HEAD:nanogpt") + _git("diff", "HEAD", "--", "nanogpt")
    return hashlib.sha256(found).hexdigest()[:12]


def _commit() -> str:
    """Return the commit, with `+` where the working tree differs from it."""
    # The records, and the pages that are made from them, change by measuring.
    measured = ["--", ".", ":!benchmarks/records", ":!README.md"]
    edits = _git("status", "--porcelain", "--untracked-files=no", *measured)
    return (_git("rev-parse", "--short=12", "HEAD").decode().strip() or "unknown") + ("+" if edits.strip() else "")


def _without_folder(argument: str) -> str:
    """Return an argument without the folder that somebody keeps a text or a checkout in.

    >>> [_without_folder(word) for word in ("/home/ada/texts/book.txt", "learning_rate=0.01", "--out=/a/b")]
    ['book.txt', 'learning_rate=0.01', '--out=b']
    """
    name, equals, value = argument.rpartition("=")
    return name + equals + Path(value).name if Path(value).is_absolute() else argument


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
