"""Check the installation and suggest fixes: Python, packages, torch, threads, device, memory, disk, and optional parts.

Below each problem stands what to do about it. Exit code 1 if something required is missing. Nothing is changed, and
no network is used.

Examples:
  nanogpt doctor
"""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal

from nanogpt import __version__
from nanogpt.cli.arguments import parser_of

GIGABYTE = 10**9
NEEDED_DISK = 0.1
"""Gigabytes for a short training run and its text as token ids."""
NEEDED_MEMORY = 0.5
"""Gigabytes for torch and a small model."""
NO_EXTRAS = ("test", "docs")
"""Extras for developers of this program."""
FOR = {
    "plot": "curves as pictures, `nanogpt plot --out`",
    "data": "texts in .zst and .parquet",
    "track": "`nanogpt train --track`",
    "hf": "texts and models of the Hugging Face Hub; `nanogpt verify` in Transformers",
    "lora": "`nanogpt train --lora`",
    "gguf": "`nanogpt export --to gguf`",
    "llama": "`nanogpt verify` of .gguf files",
    "studio": "`nanogpt studio` and `nanogpt serve`",
    "browser": "`nanogpt verify` of .html files",
}
"""What each extra is for."""
SIGNS = {"ok": "ok", "could be": "-", "off": "OFF"}
PYTORCH = "by the command that https://pytorch.org/get-started/locally/ gives"


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Options of `nanogpt doctor`."""

    json: bool = False
    """print JSON, for scripts"""


@dataclass(frozen=True)
class Finding:
    """The result of a check."""

    name: str
    state: Literal["ok", "could be", "off"]
    """`could be`: optional, or could be faster; `off`: required and missing"""
    found: str
    remedy: str | None = None
    """what to do, if not ok"""


parser = partial(parser_of, Doctor, "doctor", __doc__)


def main(argv: Sequence[str]) -> None:
    """Run all checks and print the findings; exit with 1 if something required is missing."""
    options = Doctor(**parser().read(argv))
    findings = [one for check in CHECKS for one in check()]
    if options.json:
        print(json.dumps({"version": __version__, "findings": [asdict(one) for one in findings]}, indent=1))
    else:
        print("\n".join(lines(findings)))
    if any(one.state == "off" for one in findings):
        raise SystemExit(1)


def lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a report for the terminal."""
    width = max(len(one.name) for one in findings)
    for one in findings:
        yield f"{SIGNS[one.state]:<4}{one.name:<{width}}  {one.found}"
        if one.remedy is not None:
            yield f"{'':<{width + 6}}{one.remedy}"
    off = [one.name for one in findings if one.state == "off"]
    yield ""
    yield f"to fix: {', '.join(off)}" if off else "everything required is installed"


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> Iterator[Finding]:
    """Check for Python 3.11 or newer."""
    found = ".".join(map(str, version))
    if version < (3, 11):
        yield Finding("Python", "off", found, "install Python 3.11 or newer")
    else:
        yield Finding("Python", "ok", f"{found}, {sys.executable}")


def check_packages() -> Iterator[Finding]:
    """Check that the required packages are there and new enough, and that torch can be imported."""
    problems = [problem for one in requirements() if (problem := problem_with(*one)) is not None]
    if problems:
        remedy = "install them: pip install --upgrade nanogpt, or in a copy of its source pip install -e ."
        yield Finding("packages", "off", "; ".join(problems), remedy)
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", "off", f"cannot be imported: {error}", f"install PyTorch again, {PYTORCH}")
    else:
        yield Finding("torch", "ok", torch.__version__)


def requirements(extra: str | None = None) -> list[tuple[str, str]]:
    """Return the packages that are required, always or by an extra, and their lowest versions.

    Empty where Nano-GPT is not installed.

    >>> dict(requirements())["torch"]
    '2.8'
    """
    try:
        required = metadata.requires("nanogpt") or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for one in required:
        of_extra = re.search(r"""extra\s*==\s*['"]([\w-]+)""", one)
        read = re.match(r"([\w.-]+)(?:\[[^\]]*\])?\s*(?:>=\s*([\d.]+))?", one)
        if read is not None and (of_extra and of_extra[1]) == extra and read[1] != "nanogpt":
            found.append((read[1], read[2] or "0"))
    return found


def problem_with(name: str, lowest: str) -> str | None:
    """Return what is wrong with an installed package, or None.

    >>> problem_with("torch", "2.0"), problem_with("no-such-package", "1")
    (None, 'no-such-package is missing')
    """
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is missing"
    return f"{name} is {version}, older than {lowest}" if numbers(version) < numbers(lowest) else None


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers at the start of a version.

    >>> numbers("2.13.0+cpu"), numbers("4.51rc1")
    ((2, 13, 0), (4, 51))
    """
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(one) for one in found[0].split(".")) if found else ()


def check_threads() -> Iterator[Finding]:
    """Check that torch uses one thread per core: more wait for each other, fewer leave cores idle."""
    import torch

    threads, cores = torch.get_num_threads(), usable_cores()
    variable = os.environ.get("OMP_NUM_THREADS")
    found = f"{threads} of torch, {cores} {'core' if cores == 1 else 'cores'} for this process"
    if threads > cores:
        remedy = f"they wait for each other: train with --threads {cores}, or set OMP_NUM_THREADS={cores}"
        yield Finding("threads", "could be", found, remedy)
    elif variable is not None and threads < cores:
        remedy = "cores are idle: unset OMP_NUM_THREADS"
        yield Finding("threads", "could be", f"{found} (OMP_NUM_THREADS={variable})", remedy)
    else:
        yield Finding("threads", "ok", found)


def usable_cores() -> int:
    """Return the number of processors that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_device(driver: Path = Path("/proc/driver/nvidia")) -> Iterator[Finding]:
    """Report the device that training uses, and a GPU that this torch cannot use."""
    import torch

    from nanogpt.parallel.devices import pick_device, pick_precision

    device = pick_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    found = f"{name}, matrix products in {pick_precision(device)}"
    if device.type == "cpu" and driver.exists():
        remedy = f"install PyTorch's CUDA build, {PYTORCH}"
        yield Finding("device", "could be", f"{found}; there is a GPU that is not used", remedy)
    else:
        yield Finding("device", "ok", found)


def check_compiler() -> Iterator[Finding]:
    """Check for the C++ compiler that `torch.compile` calls on a CPU."""
    from nanogpt.planning.budget import has_compiler

    if has_compiler():
        yield Finding("compile", "ok", "a C++ compiler for torch.compile")
    else:
        remedy = "training works without it; on Debian and Ubuntu: apt install g++"
        yield Finding("compile", "could be", "no C++ compiler for torch.compile", remedy)


def check_memory() -> Iterator[Finding]:
    """Check the free memory, where the system reports it."""
    import torch

    from nanogpt.planning.memory import free_bytes

    free = free_bytes(torch.device("cpu"))
    if free is None:
        yield Finding("memory", "ok", "this system does not report its free memory")
    elif free < NEEDED_MEMORY * GIGABYTE:
        remedy = "close other programs, or give this one more memory"
        yield Finding("memory", "off", f"{free / GIGABYTE:.1f} GB free", remedy)
    else:
        yield Finding("memory", "ok", f"{free / GIGABYTE:.1f} GB free")


def check_disk() -> Iterator[Finding]:
    """Check for space and write permission where runs and the cache are kept."""
    from nanogpt.files import cache_folder

    places = {"disk": (Path("runs"), "--out"), "cache": (cache_folder(), "the environment variable NANOGPT_CACHE")}
    for name, (folder, other) in places.items():
        existing = next(one for one in (folder, *folder.parents) if one.exists())
        free = shutil.disk_usage(existing).free / GIGABYTE
        found = f"{free:,.1f} GB free for {folder}"
        if not os.access(existing, os.W_OK):
            remedy = f"choose another place by {other}, or allow writing there"
            yield Finding(name, "off", f"{existing.absolute()} cannot be written to", remedy)
        elif free < NEEDED_DISK:
            yield Finding(name, "off", found, f"free some space, or choose another place by {other}")
        else:
            yield Finding(name, "ok", found)


def check_starter() -> Iterator[Finding]:
    """Check the hashes of the model that comes with the package."""
    from nanogpt.errors import UserError
    from nanogpt.runs.folder import STARTER, RunFolder

    try:
        problem = "it has no checkpoint" if RunFolder.open(STARTER).checkpoints.find() is None else None
    except UserError as error:
        problem = str(error)
    if problem is None:
        yield Finding("starter", "ok", 'a small model comes with the package: nanogpt sample --prompt "ROMEO:"')
    else:
        yield Finding("starter", "off", problem, "install Nano-GPT again")


def check_extras() -> Iterator[Finding]:
    """Check the optional packages."""
    try:
        extras = metadata.metadata("nanogpt").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        remedy = "pip install -e . in the copy of its source"
        yield Finding("extras", "could be", "Nano-GPT is not installed, but run from its source", remedy)
        return
    for extra in extras:
        if extra not in NO_EXTRAS:
            problems = [problem for one in requirements(extra) if (problem := problem_with(*one)) is not None]
            purpose = FOR.get(extra, "optional")
            if problems:
                found, remedy = f"{purpose}: {', '.join(problems)}", f"pip install 'nanogpt[{extra}]'"
                yield Finding(extra, "could be", found, remedy)
            else:
                yield Finding(extra, "ok", purpose)


def with_torch(check: Callable[[], Iterator[Finding]]) -> Callable[[], Iterator[Finding]]:
    """Return the check, skipped where torch cannot be imported: `check_packages` reports that."""

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
    *map(with_torch, (check_threads, check_device, check_compiler, check_memory)),
    check_disk,
    with_torch(check_starter),
    check_extras,
)
