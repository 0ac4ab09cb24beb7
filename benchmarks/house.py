"""The size of the code: what a reader opens, loads and has to know. `make lint` runs it.

    python -m benchmarks.house
    python -m benchmarks.house --write    # update the lines in docs/architecture.md, as `make format` does

Each figure has a limit. The order of packages, and that imports run in no cycle, is import-linter's to check
(`[tool.importlinter]` in pyproject.toml).
"""

import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from nanogpt.training.options import TrainOptions

ROOT = Path(__file__).parents[1]
LIMITS = {
    ".py files directly in nanogpt/": 8,
    "modules loaded by `nanogpt train small.txt --steps 20`": 50,
    "lines loaded by it": 6_500,
    "lines of the core's reading list": 2_800,
    "hand-written lists of the training options": 1,
    "lines of nanogpt/": 23_625,
    "lines of tests/": 26_000,
    "lines of benchmarks/": 6_000,
    "lines of README.md": 170,
    "lines of `nanogpt train --help`": 45,
}
PAGE = ROOT / "docs" / "architecture.md"
ROW = r"\| (nanogpt/\S+\.py) \| \d+ \|"
"""A row of the reading list"""
COMMON_OPTIONS = 4
"""A function or class that names more of the training options than this lists them by hand."""
TRAIN = """
import sys
from nanogpt.cli.main import main
sizes = ["--n-layer", "1", "--n-head", "2", "--n-embd", "8", "--block-size", "8", "--sample-tokens", "1"]
assert main(["train", "small.txt", "--steps", "20", "--out", "run", *sizes]) == 0
files = {module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "nanogpt"}
print(*sorted(files), sep="\\n", end="")
"""


def main() -> None:
    """Print each figure and its limit; exit with 1 where one is exceeded."""
    if "--write" in sys.argv:
        PAGE.write_text(
            re.sub(ROW, lambda row: f"| {row[1]} | {count_lines(ROOT / row[1])} |", PAGE.read_text("utf-8")), "utf-8"
        )
        return
    found = dict(figures())
    for name, limit in LIMITS.items():
        print(f"{found[name]:>7,} of {limit:>6,}  {name}" + ("" if found[name] <= limit else "  TOO MANY"))
    sys.exit(any(found[name] > limit for name, limit in LIMITS.items()))


def figures() -> Iterator[tuple[str, int]]:
    """Yield the name and value of each figure."""
    yield ".py files directly in nanogpt/", len(list((ROOT / "nanogpt").glob("*.py")))
    loaded = loaded_files()
    yield "modules loaded by `nanogpt train small.txt --steps 20`", len(loaded)
    yield "lines loaded by it", sum(map(count_lines, loaded))
    listed = re.findall(ROW, PAGE.read_text(encoding="utf-8"))
    yield "lines of the core's reading list", sum(count_lines(ROOT / name) for name in listed)
    yield "hand-written lists of the training options", len(list(option_lists()))
    for folder in ("nanogpt", "tests", "benchmarks"):
        yield f"lines of {folder}/", sum(map(count_lines, (ROOT / folder).rglob("*.py")))
    yield "lines of README.md", count_lines(ROOT / "README.md")
    command = [sys.executable, "-m", "nanogpt", "train", "--help"]
    help_text = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    yield "lines of `nanogpt train --help`", len(help_text.splitlines())


def loaded_files() -> list[Path]:
    """Return the files of nanogpt that a short training loads."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "small.txt").write_text("the cat sat on the mat\n" * 50, encoding="utf-8")
        done = subprocess.run([sys.executable, "-c", TRAIN], capture_output=True, text=True, cwd=folder, check=True)
    return [Path(line) for line in done.stdout.splitlines() if line.endswith(".py")]


def option_lists() -> Iterator[str]:
    """Yield functions and classes in nanogpt that name several training options as parameters or fields."""
    names = {one.name for one in fields(TrainOptions)} - {"text"}
    for path in sorted((ROOT / "nanogpt").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.FunctionDef(args=arguments):
                    given = {one.arg for one in (*arguments.args, *arguments.kwonlyargs)}
                case ast.ClassDef(body=body):
                    given = {
                        one.target.id
                        for one in body
                        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
                    }
                case _:
                    continue
            if len(given & names) > COMMON_OPTIONS:
                yield f"{path.relative_to(ROOT)}: {node.name}"


def count_lines(path: Path) -> int:
    """Return the number of lines of a file."""
    return len(path.read_text(encoding="utf-8").splitlines())


if __name__ == "__main__":
    main()
