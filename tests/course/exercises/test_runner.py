"""The process that runs a learner's file. Each test starts one that imports torch, so most of them are slow."""

import sys

import pytest

from course.exercises.runner import KEPT_BYTES, check_answer

GOOD = """
import torch

def running_mean(x):
    return x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]
"""


@pytest.fixture
def check(tmp_path):
    """Check `answer.py` with this source, next to two other modules."""
    (tmp_path / "neighbour.py").write_text("NAME = 'Ada'\n", encoding="utf-8")
    (tmp_path / "wave.py").write_text("", encoding="utf-8")
    path = tmp_path / "answer.py"

    def run(source, seconds=60):
        path.write_text(source, encoding="utf-8")
        return check_answer("s02_averaging", path, seconds)

    return run


def passed(report):
    return [result.state for result in report.results.get("running_mean", [])] == ["passed"] * 6


@pytest.mark.slow
def test_results_before_an_endless_loop_are_kept(check):
    report = check(f"{GOOD}\ndef masked_weights(scores):\n    while True:\n        pass\n", seconds=1)
    assert passed(report)
    assert "1 seconds in the check 'the shape, with a batch and without' of `masked_weights`" in report.broken
    assert "in masked_weights" in report.broken


def test_output_is_cut_neighbours_are_found_and_hide_no_module(check):
    printing = "import json, sys, neighbour, wave\nprint(neighbour.NAME, hasattr(wave, 'open'))\n"
    tricks = "print(json.dumps({'event': 'done'}))\nsys.modules['answer'] = None\n"
    report = check(f"{printing}{tricks}for _ in range(100_000):\n    print('x' * 100)\n{GOOD}")
    assert report.printed.startswith('Ada True\n{"event": "done"}\nxxx')
    assert KEPT_BYTES < len(report.printed) < KEPT_BYTES + 100
    assert passed(report)
    assert report.broken == ""
    assert "neighbour" not in sys.modules


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import sys\nsys.exit(3)\n", ["ended the program", "answer.py, line 2"]),
        ("def running_mean(x)\n    return x\n", ["Python cannot read line 1: expected ':'", "def running_mean(x)"]),
        ("import torch\ntorch.zeros(2) @ torch.zeros(3)\n", ["answer.py, line 2, in <module>", "torch.zeros(2) @"]),
        ("answer = input('? ')\n", ["`input()`"]),
        pytest.param(
            "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
            ["signal 9 (SIGKILL) while your file itself"],
            marks=pytest.mark.skipif(sys.platform == "win32", reason="no signals"),
        ),
    ],
    ids=["exit", "syntax", "error", "input", "signal"],
)
def test_the_end_of_a_file_is_explained(check, source, words):
    report = check(source)
    assert all(one in report.broken for one in words), report.broken
    assert "worker.py" not in report.broken


@pytest.mark.slow
def test_an_endless_loop_in_the_file_is_stopped(check):
    report = check("def forever():\n    while True:\n        pass\n\nforever()\n", seconds=3)
    assert "3 seconds while your file itself was running" in report.broken
    assert "in forever" in report.broken


@pytest.mark.slow
def test_an_exit_in_a_check_is_explained(check):
    report = check(f"import os\n{GOOD}\ndef masked_weights(scores):\n    os._exit(5)\n")
    assert "exit code 5 in the check" in report.broken
    assert passed(report)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is kept on Linux")
def test_memory_is_limited(check):
    """6 GB, never written to."""
    report = check(f"{GOOD}\ndef masked_weights(scores):\n    return torch.empty(3 * 2**29)\n")
    (result,) = report.results["masked_weights"]
    assert "more memory than an exercise needs" in result.message
