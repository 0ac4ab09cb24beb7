"""Writes a figure down together with what it depends on: hardware, versions, commit, command."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RECORDS = Path(__file__).parent / "records"


def circumstances() -> dict[str, Any]:
    """Command, commit, machine and versions, taken before the measurement: the working tree may change during it."""
    import torch

    return {
        "command": " ".join(["python", "-m", _module_name(), *sys.argv[1:]]),
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


def _module_name() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if spec else Path(sys.argv[0]).stem


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
