"""Check the installation and suggest fixes: Python, packages, torch, threads, device, memory, disk, and optional parts.

A suggestion follows each problem. The exit code is 1 if something required is missing. The command changes nothing and
uses no network.

Examples:
  nanogpt doctor
"""

import json
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from nanogpt import __version__
from nanogpt.cli.arguments import parser_of

GIGABYTE = 10**9
NEEDED_DISK = 0.1
"""Gigabytes for a short training run and its text as token ids."""
NEEDED_MEMORY = 0.5
"""Gigabytes for torch and a small model."""
NO_EXTRAS = ("test", "docs", "mutants")
"""Extras for developers of this program."""
FOR = {
    "plot": "curves as pictures, `nanogpt plot --out`",
    "data": "texts in .zst and .parquet",
    "documents": "texts in .html, .epub, .docx, .rtf and .pdf, and mail in HTML",
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
    found: str
    remedy: str | None = None
    """what to do, if not ok"""
    required: bool = False

    @property
    def state(self) -> str:
        """`ok`; `could be` for what is optional or could be faster; `off` for what is required and missing."""
        return "ok" if self.remedy is None else "off" if self.required else "could be"


parser = partial(parser_of, Doctor, "doctor", __doc__)


def main(argv: Sequence[str]) -> None:
    """Run all checks and print the findings; exit with 1 if something required is missing."""
    options = Doctor(**parser().read(argv))
    findings: list[Finding] = []
    for check in CHECKS:
        if check not in NEED_TORCH or sys.modules.get("torch"):
            findings += check()
    if options.json:
        report = [{name: getattr(one, name) for name in ("name", "state", "found", "remedy")} for one in findings]
        print(json.dumps({"version": __version__, "findings": report}, indent=1))
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


def check_packages() -> Iterator[Finding]:
    """Check that the required packages are there and new enough, and that torch can be imported."""
    yield Finding("Python", f"{platform.python_version()}, {sys.executable}")
    if problems := problems_with(requirements()):
        remedy = "install them: pip install --upgrade nanogpt, or in a copy of its source pip install -e ."
        yield Finding("packages", "; ".join(problems), remedy, required=True)
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Finding("torch", f"cannot be imported: {error}", f"install PyTorch again, {PYTORCH}", required=True)
    else:
        yield Finding("torch", torch.__version__)


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


def problems_with(packages: Iterable[tuple[str, str]]) -> list[str]:
    """Return what is wrong with installed packages, named with their lowest versions.

    >>> problems_with([("torch", "2.0"), ("no-such-package", "1")])
    ['no-such-package is missing']
    """
    problems = []
    for name, lowest in packages:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            problems.append(f"{name} is missing")
        else:
            if numbers(version) < numbers(lowest):
                problems.append(f"{name} is {version}, older than {lowest}")
    return problems


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

    from nanogpt.text.chunks import usable_cores

    threads, cores, remedy = torch.get_num_threads(), usable_cores(), None
    found = f"{threads} of torch, {cores} {'core' if cores == 1 else 'cores'} for this process"
    if threads > cores:
        remedy = f"they wait for each other: train with --threads {cores}, or set OMP_NUM_THREADS={cores}"
    elif "OMP_NUM_THREADS" in os.environ and threads < cores:
        found += f" (OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']})"
        remedy = "cores are idle: unset OMP_NUM_THREADS"
    yield Finding("threads", found, remedy)


def check_device(driver: Path = Path("/proc/driver/nvidia")) -> Iterator[Finding]:
    """Report the device that training uses, and a GPU that this torch cannot use."""
    import torch

    from nanogpt.parallel.devices import pick_device, pick_precision

    device = pick_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    found, unused = f"{name}, matrix products in {pick_precision(device)}", device.type == "cpu" and driver.exists()
    if unused:
        found += "; there is a GPU that is not used"
    yield Finding("device", found, f"install PyTorch's CUDA build, {PYTORCH}" if unused else None)


def check_compiler() -> Iterator[Finding]:
    """Check for the C++ compiler that `torch.compile` calls on a CPU."""
    from nanogpt.planning.budget import has_compiler

    remedy = None if has_compiler() else "training works without it; on Debian and Ubuntu: apt install g++"
    yield Finding("compile", f"{'no' if remedy else 'a'} C++ compiler for torch.compile", remedy)


def check_memory() -> Iterator[Finding]:
    """Check the free memory, where the system reports it."""
    import torch

    from nanogpt.planning.memory import free_bytes

    free, remedy = free_bytes(torch.device("cpu")), None
    found = "this system does not report its free memory" if free is None else f"{free / GIGABYTE:.1f} GB free"
    if free is not None and free < NEEDED_MEMORY * GIGABYTE:
        remedy = "close other programs, or give this one more memory"
    yield Finding("memory", found, remedy, required=True)


def check_disk() -> Iterator[Finding]:
    """Check for space and write permission where runs and the cache are kept."""
    from nanogpt.files import cache_folder

    places = {"disk": (Path("runs"), "--out"), "cache": (cache_folder(), "the environment variable NANOGPT_CACHE")}
    for name, (folder, other) in places.items():
        existing = next(one for one in (folder, *folder.parents) if one.exists())
        free, remedy = shutil.disk_usage(existing).free / GIGABYTE, None
        found = f"{free:,.1f} GB free for {folder}"
        if not os.access(existing, os.W_OK):
            found, remedy = f"{existing.absolute()} cannot be written to", f"choose another place by {other}"
        elif free < NEEDED_DISK:
            remedy = f"free some space, or choose another place by {other}"
        yield Finding(name, found, remedy, required=True)


def check_starter() -> Iterator[Finding]:
    """Check the hashes of the model that comes with the package."""
    from nanogpt.errors import UserError
    from nanogpt.runs.find import STARTER
    from nanogpt.runs.folder import RunFolder

    problem: str | None = None
    try:
        if RunFolder.open(STARTER).checkpoints.find() is None:
            problem = "it has no checkpoint"
    except UserError as error:
        problem = str(error)
    found = problem or 'a small model comes with the package: nanogpt sample --prompt "ROMEO:"'
    yield Finding("starter", found, "install Nano-GPT again" if problem else None, required=True)


def check_extras() -> Iterator[Finding]:
    """Check the optional packages."""
    try:
        extras = metadata.metadata("nanogpt").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        remedy = "pip install -e . in the copy of its source"
        yield Finding("extras", "Nano-GPT is not installed, but run from its source", remedy)
        return
    for extra in extras:
        if extra not in NO_EXTRAS:
            purpose, problems = FOR.get(extra, "optional"), problems_with(requirements(extra))
            found = f"{purpose}: {', '.join(problems)}" if problems else purpose
            yield Finding(extra, found, f"pip install 'nanogpt[{extra}]'" if problems else None)


NEED_TORCH = (check_threads, check_device, check_compiler, check_memory, check_starter)
"""Skipped where torch cannot be imported, which `check_packages` reports."""
CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (check_packages, *NEED_TORCH, check_disk, check_extras)
