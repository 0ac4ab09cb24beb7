"""Other processes: starting one that outlives this one, and telling it from a stranger with the same number.

A process id is used again after its process ended. What is kept beside it is when it started, which together with the
id names one process of one machine for good.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import nanogpt

PROC = Path("/proc")
ASK_SECONDS = 5


def command(*words: str) -> list[str]:
    """The command line of this installation's `nanogpt`, with its words."""
    # -P: the working folder is no place to import from, as it may hold anybody's files.
    return [sys.executable, "-P", "-m", "nanogpt", *words]


def environment(*importable: Path) -> dict[str, str]:
    """The variables for a command that is started here: it finds this package, and what else it is to import, and
    writes plain text in UTF-8.
    """
    places = [str(one) for one in (*importable, home())]
    places += [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    kept = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "CLICOLOR_FORCE")}
    plain = {"NO_COLOR": "1", "TERM": "dumb", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
    return kept | plain | {"PYTHONPATH": os.pathsep.join(places)}


def home() -> Path:
    """The folder that this package is imported from."""
    return Path(nanogpt.__file__).resolve().parent.parent


def start_detached(words: Sequence[str], log: Path, folder: Path) -> int:
    """Start a command that goes on when this process ends; what it says is added to `log`. Returns its id."""
    detached: dict[str, int | bool] = {"start_new_session": True}
    if sys.platform == "win32":
        detached = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
    with log.open("ab") as said:
        process = subprocess.Popen(  # type: ignore[call-overload]
            words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=folder, env=environment(), **detached
        )
    # An ended child stays in the table of processes until it is asked for; this thread asks.
    threading.Thread(target=process.wait, daemon=True).start()
    return int(process.pid)


def identity(pid: int) -> str | None:
    """When a running process started, as its system tells it; None where there is none, or it cannot be told."""
    if pid <= 0:
        return None
    if (PROC / "self" / "stat").exists():
        return _from_proc(pid)
    return None if sys.platform == "win32" else _from_ps(pid)


def _from_proc(pid: int) -> str | None:
    try:
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    fields = stat[stat.rindex(")") + 1 :].split()  # its name, in brackets, may hold blanks and brackets
    state, started = fields[0], fields[19]
    return None if state in "ZX" else f"{boot} {started}"


def _from_ps(pid: int) -> str | None:
    words = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]
    try:
        said = subprocess.run(words, capture_output=True, text=True, timeout=ASK_SECONDS, check=False).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return None if not said or said[0].startswith("Z") else " ".join(said[1:])


def interrupt(pid: int, known: str) -> bool:
    """Send Ctrl-C's signal to a process, where it is still the one that `known` names; whether it was sent."""
    handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") and identity(pid) == known else None
    try:
        # Asked again with the handle open, which stays with this process: nobody can take its number in between.
        if identity(pid) != known:
            return False
        if handle is not None:
            signal.pidfd_send_signal(handle, signal.SIGINT)
        else:
            os.kill(pid, signal.SIGINT)
        return True
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        if handle is not None:
            os.close(handle)
