"""`nanogpt completion`: the shell's own script, asked as the shell would."""

import os
import re
import select
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from nanogpt.cli.completion import script
from nanogpt.cli.main import COMMANDS


def completed(file, *words):
    """What bash would offer for the last of the words."""
    line = shlex.join(words)
    code = (
        f"source {shlex.quote(str(file))}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; COMP_LINE={shlex.quote(line)}; "
        f"COMP_POINT=${{#COMP_LINE}}; "
        "how=$(complete -p nanogpt); how=${how##*-F }; ${how%% *} || true; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    found = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True)
    return set(found.stdout.split())


@pytest.fixture(scope="module")
def bash(tmp_path_factory):
    if shutil.which("bash") is None:
        pytest.skip("bash is needed")
    file = tmp_path_factory.mktemp("completion") / "nanogpt.bash"
    file.write_text(script("bash"), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ([""], list(COMMANDS)),
        (["train", "--n-"], ["--n-layer", "--n-head", "--n-embd", "--n-kv-head"]),
        (["sample", "--temp"], ["--temperature"]),
        (["export", "--to", ""], ["hf", "gguf", "html"]),
        (["train", "--optimizer", ""], ["muon", "adamw"]),
        (["data", ""], ["check"]),
        (["data", "check", "--enc"], ["--encoding"]),
    ],
    ids=" ".join,
)
def test_bash_completes(bash, words, offered):
    assert set(offered) <= completed(bash, "nanogpt", *words)


ONE_WAY_ON = [
    ("nanogpt tr", "train"),
    ("nanogpt train --n-lay", "--n-layer"),
    ("nanogpt train --optimizer mu", "muon"),
    ("nanogpt data ch", "check"),
    ("nanogpt train boo", "book.txt"),
    ("nanogpt train --steps 3 --val boo", "book.txt"),
    ("nanogpt train my", "my\\ texts/"),
    ("nanogpt data check book.txt my\\ texts/", "my\\ texts/one.txt"),
    ("nanogpt sample my\\ texts/ --out my\\ texts/o", "my\\ texts/one.txt"),
]
"""Lines, and the one thing that their last word can become."""


@pytest.fixture
def files():
    Path("book.txt").write_text("text")
    Path("my texts").mkdir()
    Path("my texts/one.txt").write_text("text")


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not here")
@pytest.mark.parametrize(("line", "word"), ONE_WAY_ON)
def test_fish_completes(line, word, files):
    Path("nanogpt.fish").write_text(script("fish"), encoding="utf-8")
    code = f"source nanogpt.fish; complete --do-complete {shlex.quote(line)}"
    found = subprocess.run(["fish", "--no-config", "-c", code], capture_output=True, text=True, check=True)
    assert [one.split("\t")[0] for one in found.stdout.splitlines()] == [word.replace("\\", "")]


SETUPS = {
    "bash": "source ./_nanogpt",
    "zsh": "fpath=($PWD $fpath); autoload -U compinit; compinit -u -D",
    "zsh eval": 'autoload -U compinit; compinit -u -D; eval "$(<_nanogpt)"',
}
PLAIN = {"bash": ["--norc", "--noprofile"], "zsh": ["-f"]}


@pytest.mark.parametrize("way", SETUPS)
@pytest.mark.parametrize(("line", "word"), ONE_WAY_ON)
def test_a_terminal_completes(line, word, way, files):
    shell = way.split()[0]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    Path("_nanogpt").write_text(script(shell), encoding="utf-8")
    typed = re.sub(r"(\\ |\S)*$", "", line)
    completed = typed + word + ("" if word.endswith("/") else " ")
    assert completed in type_into([shell, *PLAIN[shell], "-i"], SETUPS[way], f"{line}\t", completed)


def type_into(shell, setup, keys, awaited, seconds=20):
    """What a shell shows of the keys: it completes at a terminal alone."""
    ours, its = os.openpty()
    environment = os.environ | {"TERM": "dumb", "COLUMNS": "200"}
    with subprocess.Popen(shell, stdin=its, stdout=its, stderr=its, env=environment, start_new_session=True) as process:
        try:
            os.write(ours, f"{setup}; echo rea''dy\n".encode())
            read_until(ours, "ready", seconds)
            os.write(ours, keys.encode())
            return read_until(ours, awaited, seconds)
        finally:
            process.kill()
            os.close(ours)
            os.close(its)


def read_until(terminal, awaited, seconds):
    """What it shows until then, or until the time is up."""
    shown, end = "", time.monotonic() + seconds
    while awaited not in shown and (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            shown += os.read(terminal, 1 << 16).decode(errors="replace")
    return shown
