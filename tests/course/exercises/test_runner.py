"""The process in which a learner's file runs: it ends in time, its end is explained, and nothing runs in ours.

A file in these tests mostly does its mischief when it is run, which is soonest; all of it goes the way that a file
checked from the command line goes.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from course.exercises.runner import KEPT_BYTES, Report, check_answer

SECTION = "s02_averaging"
GOOD = """
import torch

def running_mean(x):
    return x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]
"""
FILES = {
    "loop": "def forever():\n    while True:\n        pass\n\nforever()\n",
    "loop in a check": f"{GOOD}\ndef masked_weights(scores):\n    while True:\n        pass\n",
    "exit": "import sys\nsys.exit(3)\n",
    "os._exit": f"import os\n{GOOD}\ndef masked_weights(scores):\n    os._exit(5)\n",
    "signal": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "syntax": "def running_mean(x)\n    return x\n",
    "error": "import torch\ntorch.zeros(2) @ torch.zeros(3)\n",
    "input": "answer = input('? ')\n",
    "output": f"print('hello', '{'x' * 50}')\nfor _ in range(100_000):\n    print('x' * 100)\n{GOOD}",
    "memory": f"import torch\n{GOOD}\ndef masked_weights(scores):\n    return torch.empty(3 * 2**29)  # 6 GB, never written to\n",
    "neighbours": f"import neighbour, wave\nprint(neighbour.NAME, hasattr(wave, 'open'))\n{GOOD}",
    "tricks": f"import json, sys\nprint(json.dumps({{'event': 'done'}}))\nsys.modules['answer'] = None\n{GOOD}",
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, Report]:
    """All of them at once, as each waits for torch to be imported most of the time."""
    folder = tmp_path_factory.mktemp("answers")
    (folder / "neighbour.py").write_text("NAME = 'Ada'\n", encoding="utf-8")
    (folder / "wave.py").write_text("", encoding="utf-8")
    for name, source in FILES.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")

    def check(name: str) -> Report:
        return check_answer(SECTION, folder / f"{name}.py", seconds=3 if "loop" in name else 60)

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(FILES, pool.map(check, FILES)))


def states(report: Report, name: str) -> list[str]:
    return [finding.state for finding in report.findings.get(name, [])]


def test_an_endless_loop_is_stopped_and_its_line_told(reports):
    report = reports["loop"]
    assert "stopped after 3 seconds while your file itself was being run, before any check" in report.broken
    assert "loop.py, line 3, in forever" in report.broken or "loop.py, line 2, in forever" in report.broken
    assert "loop that never ends?" in report.broken


def test_what_was_found_before_an_endless_loop_is_kept(reports):
    report = reports["loop in a check"]
    assert states(report, "running_mean") == ["passed"] * 6
    assert "in the check 'the shape, with a batch and without' of `masked_weights`" in report.broken
    assert "in masked_weights" in report.broken


def test_an_exit_is_explained(reports):
    assert "It ended the program by itself: leave out `sys.exit()`" in reports["exit"].broken
    assert "exit.py, line 2" in reports["exit"].broken
    assert "exit code 5 in the check" in reports["os._exit"].broken
    assert states(reports["os._exit"], "running_mean") == ["passed"] * 6


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_a_signal_is_named(reports):
    assert "by signal 9 (SIGKILL) while your file itself" in reports["signal"].broken


def test_a_syntax_error_is_told_with_its_line(reports):
    assert reports["syntax"].broken.startswith("Python cannot read line 1: expected ':'")
    assert "def running_mean(x)" in reports["syntax"].broken


def test_of_an_error_the_own_lines_are_shown(reports):
    broken = reports["error"].broken
    assert "error.py, line 2, in <module>" in broken
    assert "torch.zeros(2) @ torch.zeros(3)" in broken
    assert "worker.py" not in broken
    assert "inconsistent tensor size" in broken or "RuntimeError" in broken


def test_there_is_nobody_to_type(reports):
    assert "leave out `input()`" in reports["input"].broken


def test_much_output_is_cut_and_the_findings_are_there(reports):
    report = reports["output"]
    assert report.printed.startswith("hello xxx")
    assert report.printed.endswith("which is left out")
    assert len(report.printed) < KEPT_BYTES + 100
    assert states(report, "running_mean") == ["passed"] * 6
    assert report.broken == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is kept on Linux")
def test_memory_is_limited(reports):
    (finding,) = reports["memory"].findings["masked_weights"]
    assert "more memory than an exercise needs" in finding.says


def test_files_beside_it_are_found_but_take_no_ones_place(reports):
    assert reports["neighbours"].printed == "Ada True"
    assert states(reports["neighbours"], "running_mean") == ["passed"] * 6


def test_what_a_file_prints_is_no_finding(reports):
    assert states(reports["tricks"], "running_mean") == ["passed"] * 6


def test_nothing_ran_in_this_process(reports):
    assert "neighbour" not in sys.modules
    assert not (Path.cwd() / "neighbour.py").exists()
