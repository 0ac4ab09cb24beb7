import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from course import check
from course.exercises.base import CheckResult, exercises_of
from course.exercises.runner import Report

ROOT = Path(str(importlib.util.find_spec("course").origin)).parents[1]
S04 = exercises_of("s04_self_attention")


def results(exercise, *states, message=""):
    return [CheckResult(check.name, state, message) for check, state in zip(exercise.checks, states)]


def test_a_stub_file_is_written_but_never_overwritten(tmp_path):
    path = tmp_path / "mine.py"
    assert check.main(["4", "--stub", str(path)]) == 0
    assert "class Head(nn.Module):" in path.read_text(encoding="utf-8")
    path.write_text("mine", encoding="utf-8")
    assert check.main(["4", "--stub", str(path)]) == 2
    assert path.read_text(encoding="utf-8") == "mine"
    assert check.main(["4", "--stub", str(tmp_path / "no" / "mine.py")]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["s11"], "'s11'"),
        (["s04", "nowhere.py"], "'nowhere.py'"),
        (["s04", "--stub", "random.py"], "'random'"),
        (["s04", "--stub", "torch.py"], "'torch'"),
        (["s04", "--stub", "my_head"], "ends in .py"),
        (["--stub", "x.py"], "needs a section"),
        (["s04", "x.py", "--stub", "y.py"], "not both"),
        (["s04", "--seconds", "-1"], "'-1'"),
        (["s04", "--seconds", "0"], "'0'"),
    ],
)
def test_a_wrong_command_gets_one_line(arguments, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        check.main(arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("head", "broken", "code"),
    [
        (None, "", 0),
        (CheckResult("a module", "failed", "no"), "", 1),
        (CheckResult("a module", "todo"), "", 0),
        (None, "stopped", 1),
    ],
)
def test_the_exit_code_is_0_if_something_is_done_and_nothing_wrong(head, broken, code):
    done = {"attention_weights": results(S04[0], *["passed"] * 6)} | ({"Head": [head]} if head else {})
    assert check.exit_code(S04, Report(done, broken=broken)) == code


def test_the_exit_code_is_1_if_nothing_is_done():
    assert check.exit_code(S04, Report()) == 1
    assert check.exit_code(S04, Report({"attention_weights": results(S04[0], "passed")})) == 1


@pytest.mark.slow
def test_from_the_command_line(tmp_path):
    """In another folder, with a mistake and a stub, on a terminal that has no tick."""
    (tmp_path / "mine.py").write_text(
        "def running_mean(x):\n    return x.mean(1, keepdim=True).expand_as(x)\n\n"
        "def masked_weights(scores):\n    raise NotImplementedError\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "course.check", "s02", "mine.py"]
    env = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "PATH": ""}
    run = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    assert "  no: the future stays hidden" in run.stdout
    assert "Position 5 changed when only position 6 did" in run.stdout
    assert "masked_weights\n  to do" in run.stdout
    assert run.stderr == ""
