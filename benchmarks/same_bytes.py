"""Train and sample with an older version and with this one, and compare every byte that they write.

    python -m benchmarks.same_bytes --old v0.1.0
    python -m benchmarks.same_bytes --old ../nano-gpt-before --only modern resumed --keep compared

A case is one command, run by both versions at the same time, with one thread per process. Old runs are also resumed,
sampled, evaluated and fine-tuned by the new version. A case is `same` if both sides wrote the same files: the weights,
optimizer state and tokenizer byte by byte, the metrics without times, the plan key by key, the settings that both have,
and what `sample` and `eval` print, without lines between samples. The exit status is 1 if any case differs or fails.
"""

import io
import json
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import own_environment
from benchmarks.record import ROOT, new_parser

CLOCKS = ("seconds", "tokens_per_second")
"""Fields of metrics, checkpoint states and evaluations that are times."""
PLAN_MAY_DIFFER = ("job", "memory_bytes", "request")
"""Keys of .toml files that may differ: a process id, estimates that small runs no longer have, the words typed"""
SECONDS = 600
"""Time limit of one command."""
STARTER = "starter"
WORDS = "the a cat dog été sat saw ran to on “mat” tree red — and it was 7 cats, dogs; there again"
SIZES = ("--n-layer", "2", "--n-head", "3", "--n-embd", "30", "--block-size", "16", "--precision", "float32")
PACE = (
    *("--steps", "20", "--batch-size", "4", "--log-every", "3"),
    *("--eval-every", "8", "--eval-tokens", "500", "--sample-tokens", "20"),
)
STOPPING = """
import os, runpy, sys
seen = 0
def watch(event, arguments):
    global seen
    if event == "os.rename" and os.fsdecode(arguments[1]).endswith({file!r}):
        seen += 1
        if seen == {times}:
            os.kill(os.getpid(), {number})
sys.addaudithook(watch)
runpy.run_module("nanogpt", run_name="__main__", alter_sys=True)
"""
"""A program that runs nanogpt and sends itself a signal, just before a file is renamed to its final name."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command to run with both versions; its files go to out/NAME."""

    name: str
    words: tuple[str, ...]
    """the command line after `nanogpt`"""
    needs: tuple[str, ...] = ()
    """cases that run before it"""
    copies: str | None = None
    """the case whose files are copied to out/NAME first, or `starter` for the weights of the starter model"""
    of_old: bool = False
    """both sides copy the old version's files"""
    processes: int = 1
    """more than one are started by torchrun"""
    stop: tuple[signal.Signals, str, int] | None = None
    """signal, file and N: send the signal at the Nth rename to the file"""
    statuses: tuple[int, ...] = (0,)
    """exit statuses that are expected"""
    shows: tuple[str, str] | None = None
    """file and text: proof in a file of the result that the case tested what it is for"""


def train(name: str, *words: str, text: str = "book.txt", **fields: Any) -> Case:
    """Return the case of a new training."""
    return Case(name=name, words=("train", text, *SIZES, *PACE, *words, "--out", f"out/{name}"), **fields)


def tune(name: str, start: str, *words: str) -> Case:
    """Return the case of a training that begins with another run's weights."""
    words = ("train", "letters.txt", "--from", f"out/{start}", *PACE, *words, "--out", f"out/{name}")
    return Case(name=name, words=words, needs=(start,))


def resume(name: str, copies: str, *words: str, **fields: Any) -> Case:
    """Return the case of an interrupted run that goes on, in a copy of its folder."""
    return Case(name=name, words=("train", "--resume", f"out/{name}", *words), copies=copies, **fields)


def read(name: str, run: str, *words: str, of_old: bool = False) -> Case:
    """Return the case of a command that only reads a run, or a copy of the old version's run."""
    where = STARTER if run == STARTER else f"out/{name if of_old else run}"
    copies = run if of_old else None
    return Case(name=name, words=(words[0], where, *words[1:]), needs=(run,), copies=copies, of_old=of_old)


LONG = ("sample", "--tokens", "100", "--prompt", "the cat ")
EVAL = ("eval", "--json")
CASES = (
    train("lecture", "--preset", "lecture"),
    train("gpt2", "--preset", "gpt2"),
    train("modern"),
    train("paper", *("--preset", "gpt2", "--norm-position", "post", "--position", "sinusoidal", "--head-size", "8")),
    Case(name="defaults", words=("train", "book.txt", "--steps", "3", "--out", "out/defaults")),
    train("byte", "--tokenizer", "byte", "--val", "letters.txt", text="poems"),
    train("bpe", "--tokenizer", "bpe", "--vocab-size", "300"),
    train("dropout", "--dropout", "0.2", "--attention-dropout", "0.1", "--embedding-dropout", "0.05"),
    train("accumulation", "--accumulation", "3", "--optimizer", "adamw", "--learning-rate", "0.003"),
    train("grouped", "--n-kv-head", "1"),
    train("tied", "--tie-embeddings", "True", "--seed", "7", "--history", "off"),
    train("documents", "--mask-documents", "True", text="tales.jsonl"),
    train("bfloat16", "--precision", "bfloat16"),
    train(
        "patience",
        *("--preset", "lecture", "--learning-rate", "1", "--eval-every", "2", "--patience", "1"),
        shows=("metrics.jsonl", '"early": true'),
    ),
    train(
        "rollback",
        *("--preset", "lecture", "--learning-rate", "1000", "--warmup", "0.4", "--decay", "0.6"),
        *("--on-divergence", "rollback", "--steps", "16", "--eval-every", "4"),
        statuses=(0, 2),
        shows=("plan.toml", "failed = "),
    ),
    train("seeds", "--seeds", "2"),
    tune("fine-tuned", "gpt2"),
    tune("lora", "modern", "--lora", "2"),
    train("stopped", stop=(signal.SIGINT, "history/step-4.safetensors", 1), statuses=(130,)),
    train("killed", "--dropout", "0.1", stop=(signal.SIGKILL, "checkpoints/last", 3), statuses=(-signal.SIGKILL,)),
    resume("resumed", "stopped"),
    resume("resumed-after-kill", "killed"),
    train("ddp", processes=2),
    train("fsdp", "--parallel", "fsdp", "--dropout", "0.1", processes=2),
    resume("resumed-by-fsdp", "stopped", "--parallel", "fsdp", processes=2),
    read("sample-batch", "modern", "sample", "--tokens", "40", "--samples", "3"),
    read("sample-long", "lecture", *LONG),
    read("sample-long-rope", "modern", *LONG),
    read("sample-bpe", "bpe", *LONG),
    read("sample-documents", "documents", "sample", "--tokens", "100", "--samples", "2", "--checkpoint", "8"),
    read("sample-greedy", "lecture", *LONG, "--temperature", "0", "--repetition-penalty", "1.3"),
    read("sample-filters", "byte", *LONG, "--top-k", "9", "--top-p", "0.9", "--min-p", "0.02", "--stop", "zz"),
    read("sample-int8", "modern", *LONG, "--precision", "int8"),
    read("sample-bfloat16", "grouped", *LONG, "--precision", "bfloat16"),
    read("sample-lora", "lora", *LONG),
    read("eval", "modern", *EVAL),
    read("eval-text", "bpe", *EVAL, "--text", "letters.txt"),
    read("eval-batches", "gpt2", *EVAL, "--protocol", "nanogpt"),
    Case(name=STARTER, words=("sample", STARTER, "--prompt", "ROMEO:", "--tokens", "200"), copies=STARTER),
    read("eval-starter", STARTER, *EVAL, "--text", "letters.txt", "--unknown", "skip"),
    resume("old-resumed", "stopped", of_old=True),
    resume("old-resumed-after-kill", "killed", of_old=True),
    read("old-sample", "lecture", *LONG, of_old=True),
    read("old-sample-bpe", "bpe", *LONG, of_old=True),
    read("old-eval", "modern", *EVAL, of_old=True),
    tune("old-fine-tuned", "old-eval"),
)


class Tree:
    """A version's source tree, and the folder that its commands run in."""

    def __init__(self, source: Path, work: Path, words: Sequence[str] = ()) -> None:
        self.source, self.work, self.words = source.resolve(), work.resolve(), words
        self.work.mkdir(parents=True)
        write_texts(self.work)
        self.environment = own_environment(self.work, 1, self.source) | {"CUDA_VISIBLE_DEVICES": ""}

    def check(self) -> None:
        """Exit if Python imports nanogpt from elsewhere."""
        done = self._python("-c", "import nanogpt; print(nanogpt.__file__)")
        if not Path(done.stdout.strip() or "/").is_relative_to(self.source):
            sys.exit(f"Python does not import nanogpt from {self.source}: {done.stdout or done.stderr}")

    def has_formats(self) -> bool:
        """Return whether the version knows run formats; one from before trains in format 1."""
        return "--format" in self._python("-m", "nanogpt", "train", "--help-all").stdout

    def run(self, case: Case, old: "Tree") -> tuple[int, str]:
        """Run a case; return its exit status and the last line of its errors."""
        out = self.work / "out" / case.name
        if case.copies == STARTER:
            copy_starter(self.source, out)
        elif case.copies is not None:
            source = (old if case.of_old else self).work / "out" / case.copies
            if not source.is_dir():
                return 1, f"{source} is missing"
            shutil.copytree(source, out)
        program = ["-m", "nanogpt"]
        if case.stop is not None:
            number, file, times = case.stop
            program = ["-c", STOPPING.format(number=int(number), file=file, times=times)]
        if case.processes > 1:
            program = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={case.processes}", *program]
        words = self.words if case.words[0] == "train" and "--resume" not in case.words else ()
        done = self._python(*program, *case.words, *words)
        if case.words[0] != "train":
            out.mkdir(parents=True, exist_ok=True)
            name = "output.json" if "--json" in case.words else "output.txt"
            (out / name).write_text(done.stdout, "utf-8", "surrogateescape")
        return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]

    def _python(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, *words]
        text: dict[str, Any] = {"capture_output": True, "encoding": "utf-8", "errors": "surrogateescape"}
        try:
            return subprocess.run(command, cwd=self.work, env=self.environment, timeout=SECONDS, check=False, **text)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, 124, "", f"not finished after {SECONDS} s")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cases, print a line for each, and exit with status 1 if any is not the same."""
    parser = new_parser(__doc__)
    parser.add_argument("--old", required=True, help="the older version: a commit of this repository, or a folder")
    parser.add_argument("--new", type=Path, default=ROOT, help="the newer version's folder (default: this one)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run only these cases, and those that they need")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep all files in this new folder")
    options = parser.parse_args(arguments)
    unknown = set(options.only or ()) - {case.name for case in CASES}
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}; choose from {', '.join(case.name for case in CASES)}")
    if options.keep is not None and options.keep.exists():
        parser.error(f"{options.keep} exists: choose another folder for --keep")
    with tempfile.TemporaryDirectory() as folder:
        keep = Path(folder) if options.keep is None else options.keep
        old = Tree(check_out(options.old, keep / "checkout"), keep / "old")
        words = () if old.has_formats() else ("--format", "1")
        bad = compare(old, Tree(options.new, keep / "new", words), chosen(options.only))
    sys.exit(1 if bad else 0)


def compare(old: Tree, new: Tree, cases: Sequence[Case]) -> list[str]:
    """Run cases with both versions, print a table, and return the names of those that are not the same."""
    trees, bad, began = (old, new), [], time.monotonic()
    for tree in trees:
        tree.check()
    for number, case in enumerate(cases, 1):
        start = time.monotonic()
        with ThreadPoolExecutor(len(trees)) as pool:
            ends = list(pool.map(lambda tree, case=case: tree.run(case, old), trees))
        found = verdict(case, trees, ends)
        print(f"{number:>2}/{len(cases)}  {case.name:<24}{time.monotonic() - start:>6.1f} s  {found}", flush=True)
        if found != "same":
            bad.append(case.name)
    outcome = f"not the same: {', '.join(bad)}" if bad else "all the same"
    print(f"{len(cases)} cases in {time.monotonic() - began:.0f} s, {outcome}")
    return bad


def verdict(case: Case, trees: Sequence[Tree], ends: Sequence[tuple[int, str]]) -> str:
    """Return `same`, or what is different or failed."""
    for side, (status, error) in zip(("old", "new"), ends):
        if status not in case.statuses:
            return f"FAILED: the {side} version exits with status {status}: {error}"
    if ends[0][0] != ends[1][0]:
        return f"DIFFERENT: exit status {ends[0][0]} and {ends[1][0]}"
    old, new = (tree.work / "out" / case.name for tree in trees)
    if case.shows is not None and case.shows[1] not in (old / case.shows[0]).read_text(encoding="utf-8"):
        return f"FAILED: the old version's {case.shows[0]} does not contain {case.shows[1]!r}"
    found = differences(old, new, [tree.work for tree in trees])
    return f"DIFFERENT: {', '.join(found)}" if found else "same"


def differences(old: Path, new: Path, roots: Iterable[Path] = ()) -> list[str]:
    """Return the files of two folders that differ, with the keys where it is plan.toml.

    A path below one of the `roots` counts as equal to the same path below another one.
    """
    sides = [
        {path.relative_to(side).as_posix(): path for path in side.rglob("*") if path.is_file()} for side in (old, new)
    ]
    if not sides[0]:
        return [f"{old} has no files"]
    found = []
    for name in sorted(sides[0].keys() | sides[1].keys()):
        if any(part.startswith(".") for part in name.split("/")):
            continue  # the lock, and what a killed process left half-written
        if any(name not in side for side in sides):
            found.append(f"{name} (only in the {'old' if name in sides[0] else 'new'})")
            continue
        one, other = (comparable(side[name], roots) for side in sides)
        if Path(name).name == "config.toml" and isinstance(one, dict) and isinstance(other, dict):
            other = {key: value for key, value in other.items() if key in one}  # newer settings are at their default
        if one != other:
            plans = isinstance(one, dict) and isinstance(other, dict)
            keys = [key for key in sorted(one | other) if one.get(key) != other.get(key)] if plans else []
            found.append(f"{name} ({', '.join(keys)})" if keys else name)
    return found


def comparable(path: Path, roots: Iterable[Path]) -> Any:
    """Return the content of a file without times and without the folder that it was written in.

    Of .toml files it is a table, of metrics and other JSON with times a list of lines, else bytes.
    """
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        return content
    for root in roots:
        content = content.replace(str(root).encode(), b"WORK")
    text = content.decode("utf-8", "surrogateescape")
    try:
        if path.suffix == ".toml":
            parts = [(k, v if isinstance(v, dict) else {"": v}) for k, v in tomllib.loads(text).items()]
            flat = {f"{part} {key}".strip(): repr(value) for part, table in parts for key, value in table.items()}
            return {key: value for key, value in flat.items() if key not in PLAN_MAY_DIFFER}
        if path.name in ("metrics.jsonl", "state.json", "output.json"):
            lines = text.split("\n") if path.suffix == ".jsonl" else [text]
            return [without_times(line) if line else "" for line in lines]
    except ValueError:  # damaged: compare it as it is
        return content
    if path.name in ("SHA256SUMS", "output.txt"):  # the state contains a time
        return [line for line in text.splitlines() if not line.endswith("state.json") and line[:4] != "--- "]
    return content


def without_times(line: str) -> str:
    """Return a JSON object without the fields that are times.

    >>> without_times('{"step": 3, "loss": 2.5, "seconds": 0.1}')
    '{"step": 3, "loss": 2.5}'
    """
    return json.dumps({key: value for key, value in json.loads(line).items() if key not in CLOCKS})


def chosen(only: Sequence[str] | None) -> list[Case]:
    """Return the cases with these names and those that they need, in their order; all by default."""
    if only is None:
        return list(CASES)
    names = set(only)
    for case in reversed(CASES):  # a case needs only those before it
        if case.name in names:
            names |= {*case.needs, case.copies or case.name}
    return [case for case in CASES if case.name in names]


def check_out(old: str, place: Path) -> Path:
    """Return the folder of the old version; a commit's files are written to `place`."""
    if Path(old).is_dir():
        return Path(old)
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", "--format=tar", old], capture_output=True, check=False)
    if archive.returncode:
        sys.exit(f"{old} is neither a folder nor a commit here: {archive.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(place, filter="data")
    return place


def copy_starter(source: Path, out: Path) -> None:
    """Copy the weights of a version's starter model, wherever its package has them."""
    for settings in (source / "nanogpt").rglob(f"{STARTER}/config.toml"):
        for path in settings.parent.rglob("*.safetensors"):
            place = out / path.relative_to(settings.parent)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def write_texts(work: Path) -> None:
    """Write the texts to train on, the same ones each time."""
    draw = random.Random(7)

    def text(count: int) -> str:
        return "".join(draw.choice(WORDS.split()) + draw.choice("      ,\n") for _ in range(count))

    (work / "poems").mkdir()
    contents = {"book.txt": text(3000), "letters.txt": text(1500)}
    contents |= {f"poems/{number}.txt": text(600) + "🐈" * number for number in range(4)}
    contents["tales.jsonl"] = "".join(json.dumps({"text": text(20)}) + "\n" for _ in range(120))
    for name, content in contents.items():
        (work / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
