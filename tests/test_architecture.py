"""The reading list of the core in docs/architecture.md: its lines are right, and it is complete."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nanogpt"

# Not on the list, by its definition: what parses options and names of runs, reads text, or talks to the terminal.
OPTION_PARSING = ("cli/", "config.py", "training/options.py", "training/new_run.py", "runs/find.py", "__init__.py")
TEXT_READING = ("text/", "data/tokenize.py", "runs/texts.py")
TERMINAL = ("reporting/", "parallel/process.py", "errors.py")

SCRIPT = """
import json, sys
entered = set()
def note(frame, event, arg):
    if event == "call" and frame.f_code.co_name != "<module>":
        entered.add((frame.f_code.co_filename, frame.f_code.co_qualname))
from nanogpt.cli.main import main
sys.setprofile(note)
sizes = ["--n-layer", "2", "--n-head", "2", "--n-embd", "32", "--block-size", "16", "--precision", "float32"]
assert main(["train", "small.txt", "--steps", "20", "--out", "whole", *sizes]) == 0
assert main(["train", "small.txt", "--steps", "20", "--out", "stopped", *sizes, "--eval-every", "5"]) == 0
import shutil
from pathlib import Path
metrics = Path("stopped/metrics.jsonl")
metrics.write_text("".join(line for line in metrics.open() if '"event": "done"' not in line))
for name in ("step-20",):
    shutil.rmtree(Path("stopped/checkpoints", name))
Path("stopped/checkpoints/last").write_text("step-15\\n")
assert main(["train", "--resume", "stopped"]) == 0
assert main(["sample", "whole", "--prompt", "the", "--tokens", "20"]) == 0
sys.setprofile(None)
print("ENTERED" + json.dumps(sorted(entered)))
"""


def reading_list():
    """Return the lines of each file by the table in docs/architecture.md."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("<!-- reading list -->")[1].split("<!-- end -->")[0]
    return {name: int(lines) for name, lines in re.findall(r"\| (nanogpt/\S+\.py) \| (\d+) \|", table)}


def test_the_lines_of_the_reading_list_are_right():
    found = reading_list()
    assert len(found) > 10
    counted = {name: len((ROOT / name).read_text(encoding="utf-8").splitlines()) for name in found}
    assert found == counted


@pytest.mark.slow
def test_the_reading_list_is_complete(tmp_path):
    """A training, its resume and a sample enter no function outside the files of the list."""
    (tmp_path / "small.txt").write_text("the cat sat on the mat, and the dog saw that\n" * 100, encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    entered = json.loads(done.stdout.split("ENTERED")[1])
    listed = set(reading_list())
    missing = set()
    for file, function in entered:
        path = Path(file)
        if path.is_relative_to(PACKAGE):
            name = path.relative_to(PACKAGE).as_posix()
            is_class_body = "." not in function and function.lstrip("_")[0].isupper()
            beside = name.startswith((*OPTION_PARSING, *TEXT_READING, *TERMINAL))
            if not beside and not is_class_body and f"nanogpt/{name}" not in listed:
                missing.add(f"nanogpt/{name}: {function}")
    assert not missing
