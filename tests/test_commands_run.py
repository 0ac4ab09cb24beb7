"""The commands of README and docs/commands.md run one after the other, as a newcomer types them.

They run from top to bottom in one folder with a text in it. Minutes and steps are reduced, servers are stopped by Ctrl-C
once they print their address, and commands that install something or need a network are left out.
"""

import argparse
import contextlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from commands import typed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
ELSEWHERE = {
    r"^make |^python3 -m venv|pip install|^source ": "installs something; `make demo`'s job is tested in test_packaging",
    r"import openai-community/gpt2": "downloads a model",
    r"--track": "wandb needs an account",
    r"https://": "needs a network",
}
SOONER = (
    (r"(nanogpt train\b.*)--minutes \d+", r"\1--minutes 0.1"),
    (r"(nanogpt train)$", r"\1 --minutes 0.1"),
    (r"--steps \d+", "--steps 12"),
    # Without Tiny Shakespeare the course would read all of Python's standard library, for minutes.
    (r"(python -m course(?:\.s\d\d_\w+)?)$", r"\1 --text my_book.txt --steps 2"),
    (r"(nanogpt (?:studio|serve)\b.*)", r"\1 --port 0"),
    (r"(nanogpt studio\b.*)", r"\1 --no-browser"),
)
LISTENS = re.compile(r"http://127\.0\.0\.1:\d+")


def sooner(command: str) -> str:
    """Return the same command with less to do.

    >>> sooner("nanogpt train book.txt --minutes 5"), sooner("nanogpt plan book.txt --minutes 1 5")
    ('nanogpt train book.txt --minutes 0.1', 'nanogpt plan book.txt --minutes 1 5')
    """
    for pattern, replacement in SOONER:
        command = re.sub(pattern, replacement, command)
    return command


def words_of(command: str) -> list[str]:
    """Return the words of a command, its program the one of this environment."""
    program, *words = shlex.split(command)
    return [sys.executable, "-m", "nanogpt", *words] if program == "nanogpt" else [sys.executable, *words]


def carry_out(command: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a command to its end, or a server until it prints its address; then stop it as a user does."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", "COLUMNS": "120"}
    started = subprocess.Popen(
        words_of(command), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = ""
    if re.match(r"nanogpt (studio|serve)\b", command):
        for line in started.stdout:
            said += line
            if found := LISTENS.search(line):
                with contextlib.suppress(HTTPError):  # it prints its address just before it handles Ctrl-C
                    urlopen(found[0], timeout=60).close()
                started.send_signal(signal.SIGINT)
                break
    rest, _ = started.communicate(timeout=300)
    return subprocess.CompletedProcess(command, started.returncode, said + rest)


def write_texts(folder: Path) -> None:
    """Write the texts that the commands name, with one alphabet: parts of Python's standard library."""
    source = "\n".join(Path(module.__file__).read_text(encoding="utf-8") for module in (argparse, pathlib, tempfile))
    letters = set(source[:60_000])
    known = "".join(one for one in source if one in letters)
    for number, name in enumerate(("book.txt", "other.txt", "letters.txt", "my_book.txt")):
        (folder / name).write_text(known[20_000 * number :][:60_000], encoding="utf-8")
    (folder / "notes").mkdir()
    for name, text in {
        "notes/one.md": known[:9000],
        "names.txt": "Anna\nBela\n" * 400,
        "poem.txt": known[:900],
    }.items():
        (folder / name).write_text(text, encoding="utf-8")


def fill_in(command: str, folder: Path) -> None:
    """Fill in a file of stubs, as a reader does before the next command checks it."""
    if stubs := re.search(r"course\.check (s\d\d) --stub (\S+)", command):
        section, file = stubs.groups()
        (solution,) = (ROOT / "course/exercises/solutions").glob(f"{section}_*.py")
        shutil.copyfile(solution, folder / file)


@pytest.mark.parametrize("page", ["README.md", "docs/commands.md"])
def test_every_command_of_a_page_runs(page, tmp_path):
    write_texts(tmp_path)
    prepared = [
        "nanogpt train book.txt --steps 12",
        "nanogpt train book.txt --steps 12 --preset gpt2 --out runs/gpt2",
        "nanogpt train book.txt --steps 12 --seeds 5 --n-layer 2 --out runs/other-five",
    ]
    for command in prepared:
        assert carry_out(command, tmp_path).returncode == 0, command
    lines = typed((ROOT / page).read_text(encoding="utf-8"))
    found = [line for line in lines if not any(re.search(pattern, line) for pattern in ELSEWHERE)]
    assert len(found) >= 8
    failed = []
    for command in found:
        done = carry_out(sooner(command), tmp_path)
        if done.returncode != 0 or "Traceback" in done.stdout:
            failed.append(f"$ {sooner(command)}\n{done.stdout[-1500:]}\nexit {done.returncode}")
        fill_in(command, tmp_path)
    assert not failed, "\n\n".join(failed)
