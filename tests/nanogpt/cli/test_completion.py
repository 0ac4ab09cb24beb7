"""`nanogpt completion`: the shell's own script, asked as the shell would."""

import shlex
import shutil
import subprocess

import pytest

from nanogpt.cli import COMMANDS
from nanogpt.cli.completion import script


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
    if shutil.which("bash") is None or shutil.which("python3") is None:
        pytest.skip("bash and python3 are needed")
    file = tmp_path_factory.mktemp("completion") / "nanogpt.bash"
    file.write_text(script("bash"), encoding="utf-8")
    return file


def test_bash_completes_commands(bash):
    assert set(COMMANDS) <= completed(bash, "nanogpt", "")
    assert completed(bash, "nanogpt", "tr") == {"train"}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["train", "--n-"], ["--n-layer", "--n-head", "--n-embd", "--n-kv-head"]),
        (["sample", "--temp"], ["--temperature"]),
        (["export", "--to", ""], ["hf", "gguf", "html"]),
        (["train", "--optimizer", ""], ["muon", "adamw"]),
        (["data", ""], ["check"]),
        (["data", "check", "--enc"], ["--encoding"]),
    ],
    ids=" ".join,
)
def test_bash_completes_options_and_values(bash, words, offered):
    assert set(offered) <= completed(bash, "nanogpt", *words)


def test_bash_completes_files_where_nothing_else_fits(bash):
    how = subprocess.run(
        ["bash", "-c", f"source {shlex.quote(str(bash))}; complete -p nanogpt"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-o default" in how.stdout
    assert completed(bash, "nanogpt", "train", "boo") == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_command_prints_the_script(nanogpt, shell):
    found = nanogpt("completion", shell)
    assert (found.code, found.err) == (0, "")
    assert found.out.strip() == script(shell).strip()
    for command in COMMANDS:
        assert f"'{command}': {{" in found.out


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_can_read_it(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not here")
    subprocess.run([shell, "-n", "/dev/stdin"], input=script(shell), text=True, check=True)


def test_an_unknown_shell(refuses):
    refuses("completion", "tsch", saying=["tsch", "bash"])
