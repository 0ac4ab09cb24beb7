"""`python -m course.check`: what it prints, where it writes, and with which code it ends."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from course import check
from course.__main__ import SECTIONS
from course.exercises import exercises_of
from course.exercises.base import Finding
from course.exercises.runner import Report

ROOT = Path(str(importlib.import_module("course").__file__)).parents[1]
NAMES = [exercise.name for section in SECTIONS for exercise in exercises_of(section)]
HEAD = exercises_of("s04_self_attention")


def findings(*states: str, says: str = "") -> list[Finding]:
    checks = HEAD[0].checks
    return [Finding(one.name, state, says if state == "failed" else "") for one, state in zip(checks, states)]


def test_without_arguments_all_are_listed(capsys):
    assert check.main([]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in NAMES)
    assert "--stub" in out


def test_a_section_is_shown_with_its_tasks(capsys):
    assert check.main(["s04"]) == 0
    out = capsys.readouterr().out
    assert "query, key and value" in out
    assert "get_batch" not in out
    assert "course.check s04 --stub" in out
    assert (ROOT / re.findall(r"course/exercises/solutions/\S+", out)[0]).is_file()


def test_a_stub_is_written_and_never_over_another_file(tmp_path, capsys):
    path = tmp_path / "mine.py"
    assert check.main(["4", "--stub", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    assert "class Head(nn.Module):" in text
    path.write_text("mine", encoding="utf-8")
    assert check.main(["4", "--stub", str(path)]) == 2
    assert path.read_text(encoding="utf-8") == "mine"
    assert "stays as it is" in capsys.readouterr().err
    assert check.main(["4", "--stub", str(tmp_path / "no" / "mine.py")]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["s11"], "'s11' is no section; the sections are s01 to s10"),
        (["s04", "nowhere.py"], "no such file: 'nowhere.py'"),
        (["s04", "--stub", "random.py"], "would hide the module 'random'"),
        (["s04", "--stub", "torch.py"], "give another, such as my.py"),
        (["s04", "--stub", "my_head"], "give one that ends in .py"),
        (["--stub", "x.py"], "name the section"),
        (["s04", "x.py", "--stub", "y.py"], "one of the two"),
        (["s04", "--seconds", "-1"], "no time"),
        (["s04", "--seconds", "0"], "no time"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(arguments, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        check.main(arguments)
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_a_report_for_a_person():
    report = Report(
        {"attention_weights": findings("passed", "failed", says="Row 0 sums to 2.\n  line 7")}, printed="hi"
    )
    assert check.told("s04_self_attention", HEAD, report).splitlines() == [
        "attention_weights",
        "  ✓ the shape",
        "  ✗ each row sums to 1",
        "      Row 0 sums to 2.",
        "        line 7",
        "      Look under '4. Choosing whom to listen to: self-attention' in course/s04_self_attention.py.",
        "  - not looked at yet: the future stays hidden; the scale, and the right numbers; the input is left",
        "    alone; gradients pass through",
        "",
        "Your file printed:",
        "  | hi",
        "",
        "still to do: Head, LOSS_WHEN_PEEKING",
        "0 of 3 exercises of s04 done",
    ]


def test_the_exit_code_says_whether_something_is_wrong_or_done():
    done = {"attention_weights": findings(*["passed"] * 6)}
    assert check.exit_code(HEAD, Report(done)) == 0
    assert check.exit_code(HEAD, Report(done | {"Head": [Finding("a module", "failed", "no")]})) == 1
    assert check.exit_code(HEAD, Report(done | {"Head": [Finding("a module", "todo")]})) == 0
    assert check.exit_code(HEAD, Report(done, broken="stopped")) == 1
    assert check.exit_code(HEAD, Report()) == 1
    assert check.exit_code(HEAD, Report({"attention_weights": findings("passed")})) == 1


def test_from_the_command_line(tmp_path):
    """A folder that is not the project's, a file with a mistake and a stub, and a terminal without a tick."""
    (tmp_path / "mine.py").write_text(
        "def running_mean(x):\n    return x.mean(1, keepdim=True).expand_as(x)\n\n"
        "def masked_weights(scores):\n    raise NotImplementedError\n",
        encoding="utf-8",
    )
    run = subprocess.run(
        [sys.executable, "-m", "course.check", "s02", "mine.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    assert "  no: the future stays hidden" in run.stdout
    assert "Position 5 changed when only position 6 did" in run.stdout
    assert "masked_weights\n  still to do" in run.stdout
    assert run.stderr == ""


def test_the_page_lists_all_and_shows_what_is_said():
    page = (ROOT / "docs" / "exercises.md").read_text(encoding="utf-8")
    for section in SECTIONS:
        assert f"`{section}`" in page
    for name in NAMES:
        assert f"`{name}`" in page, name
    for command in re.findall(r"^python -m course\.check(.*?)(?:  #.*)?$", page, re.MULTILINE):
        assert set(command.split()) <= {"s04", "--stub", "my_head.py"}
