"""`nanogpt doctor`: whether all that is needed is here, what else there could be, and what to do where it is not.

Each check is a function that looks at one thing and returns findings; it changes nothing and asks no network.
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from nanogpt import __version__
from nanogpt.cli.arguments import Switch, parse

GIGABYTE = 10**9
NEEDED_DISK = 0.1
"""Gigabytes: a short training, and its text as token ids."""
NEEDED_MEMORY = 0.5
"""Gigabytes: torch and a small model."""
NO_EXTRAS = ("test", "docs")
"""Extras for who works on the program itself."""
FOR = {
    "plot": "curves as pictures, `nanogpt plot --out`",
    "data": "texts in .zst and .parquet",
    "track": "`nanogpt train --track`",
    "hf": "texts and models of the Hub; `nanogpt verify` in Transformers",
    "lora": "`nanogpt train --lora`",
    "gguf": "`nanogpt export --to gguf`",
    "llama": "`nanogpt verify` of .gguf files",
    "studio": "`nanogpt studio` and `nanogpt serve`",
    "browser": "`nanogpt verify` of .html files",
}
"""What each extra is for."""
SIGNS = {"ok": "ok", "could be": "-", "off": "OFF"}


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Look whether all that is needed is here: Python, torch, threads, device, disk, and what else there could be.

    Beside each thing that is off stands what to do. Exit code 1 where something that is needed is off. Nothing is
    changed, and no network is asked.

    example:
      nanogpt doctor
    """

    json: Switch = False
    """print JSON, for scripts"""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of one thing."""

    name: str
    state: Literal["ok", "could be", "off"]
    """`could be` is what works without, or could be faster; `off` what is needed"""
    found: str
    remedy: str | None = None
    """what to do, where it is not ok"""


def main(argv: Sequence[str]) -> None:
    """Parse, look, print; exit code 1 where something that is needed is off."""
    options = parse(Doctor, "doctor", argv)
    findings = [one for check in CHECKS for one in check()]
    if options.json:
        print(json.dumps({"version": __version__, "findings": [asdict(one) for one in findings]}, indent=1))
    else:
        print("\n".join(lines(findings)))
    if any(one.state == "off" for one in findings):
        raise SystemExit(1)


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """The findings for a reader, and what they come to."""
    width = max(len(one.name) for one in findings)
    for one in findings:
        yield f"{SIGNS[one.state]:<4}{one.name:<{width}}  {one.found}"
        if one.remedy is not None:
            yield f"{'':<{width + 6}}{one.remedy}"
    off = [one.name for one in findings if one.state == "off"]
    yield ""
    yield f"to mend: {', '.join(off)}" if off else "all that is needed is here"


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Iterator[Finding]:
    """3.11 or newer."""
    told = ".".join(map(str, version))
    if version < (3, 11):
        yield Finding(name="Python", state="off", found=told, remedy="install Python 3.11 or newer")
    else:
        yield Finding(name="Python", state="ok", found=f"{told}, {sys.executable}")


def check_packages() -> Iterator[Finding]:
    """All that is always needed, in the versions that it is needed in; of torch alone the version is told."""
    missing = [problem for one in requirements() if (problem := problem_with(*one)) is not None]
    if missing:
        remedy = "install them: pip install --upgrade nanogpt, or in a copy of its source pip install -e ."
        yield Finding(name="packages", state="off", found="; ".join(missing), remedy=remedy)
    try:
        import torch
    except (ImportError, OSError) as error:
        remedy = "install PyTorch again, by the command that https://pytorch.org/get-started/locally/ gives"
        yield Finding(name="torch", state="off", found=f"cannot be imported: {error}", remedy=remedy)
    else:
        yield Finding(name="torch", state="ok", found=torch.__version__)


def requirements(extra: str | None = None) -> list[tuple[str, str]]:
    """What this package asks for, always or with an extra: names and lowest versions; empty where it is not installed.

    >>> dict(requirements())["torch"]
    '2.8'
    """
    try:
        asked = metadata.requires("nanogpt") or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for one in asked:
        of_extra = re.search(r"""extra\s*==\s*['"]([\w-]+)""", one)
        read = re.match(r"([\w.-]+)(?:\[[^\]]*\])?\s*(?:>=\s*([\d.]+))?", one)
        if read is not None and (of_extra and of_extra[1]) == extra and read[1] != "nanogpt":
            found.append((read[1], read[2] or "0"))
    return found


def problem_with(name: str, lowest: str) -> str | None:
    """What is wrong with an installed package; None where it is there and new enough.

    >>> problem_with("torch", "2.0"), problem_with("no-such-package", "1")
    (None, 'no-such-package is missing')
    """
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is missing"
    return f"{name} is {version}, older than {lowest}" if numbers(version) < numbers(lowest) else None


def numbers(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with.

    >>> numbers("2.13.0+cpu"), numbers("4.51rc1")
    ((2, 13, 0), (4, 51))
    """
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(one) for one in found[0].split(".")) if found else ()


def check_threads() -> Iterator[Finding]:
    """As many as this process may use cores: more wait for each other, fewer leave some idle."""
    import torch

    threads, cores = torch.get_num_threads(), usable_cores()
    told = f"{threads} of torch, {cores} {'core' if cores == 1 else 'cores'} for this process"
    if threads > cores:
        yield Finding(
            name="threads", state="could be", found=told,
            remedy=f"they wait for each other: train with --threads {cores}, or set OMP_NUM_THREADS={cores}",
        )  # fmt: skip
    elif "OMP_NUM_THREADS" in os.environ and threads < cores:
        yield Finding(
            name="threads", state="could be", found=f"{told} (OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']})",
            remedy="cores are idle: unset OMP_NUM_THREADS",
        )  # fmt: skip
    else:
        yield Finding(name="threads", state="ok", found=told)


def usable_cores() -> int:
    """Processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_device(driver: Path = Path("/proc/driver/nvidia")) -> Iterator[Finding]:
    """Where training runs; a GPU that this torch cannot use is told."""
    import torch

    from nanogpt.parallel.devices import pick_device, pick_precision

    device = pick_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    told = f"{name}, matrix products in {pick_precision(device)}"
    if device.type == "cpu" and driver.exists():
        remedy = "install PyTorch's CUDA build, by the command that https://pytorch.org/get-started/locally/ gives"
        yield Finding(name="device", state="could be", found=f"{told}; there is a GPU that is not used", remedy=remedy)
    else:
        yield Finding(name="device", state="ok", found=told)


def check_compiler() -> Iterator[Finding]:
    """What `torch.compile` calls on a CPU."""
    from nanogpt.planning.compiling import has_compiler

    if has_compiler():
        yield Finding(name="compile", state="ok", found="a C++ compiler is here, for torch.compile")
    else:
        remedy = "training works without; on Debian and Ubuntu: apt install g++"
        yield Finding(name="compile", state="could be", found="no C++ compiler for torch.compile", remedy=remedy)


def check_memory() -> Iterator[Finding]:
    """What is free now, where the system tells."""
    import torch

    from nanogpt.planning.machine import free_bytes

    free = free_bytes(torch.device("cpu"))
    if free is None:
        yield Finding(name="memory", state="ok", found="this system does not tell how much is free")
    elif free < NEEDED_MEMORY * GIGABYTE:
        found = f"{free / GIGABYTE:.1f} GB free"
        yield Finding(name="memory", state="off", found=found, remedy="close other programs, or allow this one more")
    else:
        yield Finding(name="memory", state="ok", found=f"{free / GIGABYTE:.1f} GB free")


def check_disk() -> Iterator[Finding]:
    """Room, and the right to write, where runs and the cache are kept."""
    from nanogpt.files import cache_folder

    places = {"disk": (Path("runs"), "--out"), "cache": (cache_folder(), "the environment variable NANOGPT_CACHE")}
    for name, (folder, other) in places.items():
        there = first_there(folder)
        free = shutil.disk_usage(there).free / GIGABYTE
        found = f"{free:,.1f} GB free for {folder}"
        if not os.access(there, os.W_OK):
            remedy = f"choose another place by {other}, or allow writing there"
            yield Finding(name=name, state="off", found=f"{there.absolute()} cannot be written to", remedy=remedy)
        elif free < NEEDED_DISK:
            remedy = f"free some space, or choose another place by {other}"
            yield Finding(name=name, state="off", found=found, remedy=remedy)
        else:
            yield Finding(name=name, state="ok", found=found)


def first_there(folder: Path) -> Path:
    """The folder, or what exists of the way to it.

    >>> first_there(Path("no/such/place")).as_posix()
    '.'
    """
    return next(one for one in (folder, *folder.parents) if one.exists())


def check_starter() -> Iterator[Finding]:
    """Whether the model that comes with the package is whole, by its hashes."""
    from nanogpt.errors import UserError
    from nanogpt.runs.folder import RunFolder
    from nanogpt.runs.starter import STARTER

    try:
        whole = RunFolder.open(STARTER).checkpoints.find()
        problem = "it has no checkpoint" if whole is None else None
    except UserError as error:
        problem = str(error)
    if problem is None:
        yield Finding(
            name="starter", state="ok", found='the model that comes with it: nanogpt sample --prompt "ROMEO:"'
        )
    else:
        yield Finding(name="starter", state="off", found=problem, remedy="install Nano-GPT again")


def check_extras() -> Iterator[Finding]:
    """What is not always needed, each with what it is for."""
    try:
        extras = metadata.metadata("nanogpt").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        remedy = "pip install -e . in the copy of its source"
        yield Finding(name="extras", state="could be", found="not installed, run from its source", remedy=remedy)
        return
    for extra in extras:
        if extra not in NO_EXTRAS:
            problems = [problem for one in requirements(extra) if (problem := problem_with(*one)) is not None]
            told = FOR.get(extra, "optional")
            if problems:
                found, remedy = f"{told}: {', '.join(problems)}", f"pip install 'nanogpt[{extra}]'"
                yield Finding(name=extra, state="could be", found=found, remedy=remedy)
            else:
                yield Finding(name=extra, state="ok", found=told)


def guarded(check: Callable[[], Iterator[Finding]]) -> Callable[[], Iterator[Finding]]:
    """A check that needs torch, left out where torch cannot be imported: that was told already."""

    def checked() -> Iterator[Finding]:
        try:
            import torch  # noqa: F401
        except (ImportError, OSError):
            return
        yield from check()

    return checked


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_packages,
    *map(guarded, (check_threads, check_device, check_compiler, check_memory)),
    check_disk,
    guarded(check_starter),
    check_extras,
)
