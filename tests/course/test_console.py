"""Flags, events and errors, through the same door a reader uses: `python -m course...`."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from course import console
from course.__main__ import SECTIONS

ROOT = Path(__file__).parents[2]
# runpy says so of every section that another test has imported already; here that does no harm.
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")


@pytest.fixture
def start(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run `python -m MODULE ARGUMENTS` in this process, in an empty folder; returns (exit code, stdout, stderr)."""
    (tmp_path / "book.txt").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def run(module: str, *arguments: str, corpus: str = "book.txt") -> tuple[int, str, str]:
        console._parse.cache_clear()
        monkeypatch.setattr(sys, "argv", [module, "--text", corpus, *arguments])
        code = 0
        try:
            runpy.run_module("course.__main__" if module == "course" else module, run_name="__main__", alter_sys=True)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return run


def parsed(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_tells_its_work_as_json_lines(section: str, start) -> None:
    code, out, _ = start(f"course.{section}", "--steps", "3", "--seed", "5", "--events")
    events = parsed(out)  # every line is JSON: what the demonstrations print is inside of `demo` events
    assert code == 0
    assert {event["section"] for event in events} == {section}
    kinds = [event["event"] for event in events]
    assert {"demo", "step", "loss", "sample", "done"} <= set(kinds)
    assert kinds[-2:] == ["sample", "done"]
    assert kinds.count("done") == 1
    done, losses = events[-1], [event for event in events if event["event"] == "loss"]
    assert done["steps"] == 3
    assert done["val_loss"] == losses[-1]["val"]
    assert all(event["steps"] == 3 for event in events if event["event"] == "step")
    for picture in (event["path"] for event in events if event["event"] == "picture"):
        assert Path(picture).stat().st_size > 1000


def test_a_section_prints_for_people(start) -> None:
    code, out, err = start("course.s04_self_attention", "--steps", "10")
    assert code == 0
    assert "one head, step 10: train" in out
    assert "step 10 of 10, loss" in err  # no terminal here: lines, not a bar
    assert "picture: runs/course/s04_self_attention-draw-attention.png" in out
    assert "It writes:" in out


def test_the_climb_prints_its_table_and_draws_the_ladder(start) -> None:
    code, out, _ = start("course", "--steps", "2", "--sections", "6-7")
    assert code == 0
    rows = [line for line in out.splitlines() if line.startswith(("s06", "s07"))]
    assert len(rows) == 2
    assert "3 blocks, no residual" in out
    assert "losses: mean nats per character over all" in out
    assert "picture: runs/course/ladder.png" in out
    assert Path("runs/course/ladder.png").is_file()


def test_the_climb_tells_its_work_as_json_lines(start) -> None:
    code, out, _ = start("course", "--steps", "2", "--sections", "1-2", "--events")
    events = parsed(out)
    assert code == 0
    assert [event["section"] for event in events if event["event"] == "done"] == [*SECTIONS[:2], "course"]
    assert events[-1]["sections"] == list(SECTIONS[:2])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--steps", "0"], "'0'"),
        (["--steps", "-5"], "'-5'"),
        (["--steps", "many"], "'many'"),
        (["--seed", "-1"], "'-1'"),
        (["--seed", str(2**63)], str(2**63)),
        (["--stepz", "5"], "--stepz"),
        (["--text", "nowhere.txt"], "'nowhere.txt'"),
        (["--text", "short.txt"], "18 characters"),
        (["--text", "empty.txt"], "empty.txt"),
        (["--text", "binary.bin"], "binary.bin"),
    ],
    ids=lambda value: " ".join(value)[:20] if isinstance(value, list) else "",
)
@pytest.mark.parametrize("module", ["course.s01_bigram", "course"])
def test_bad_input_is_one_line_that_names_the_value(module: str, arguments: list[str], named: str, start) -> None:
    Path("short.txt").write_text("too short to learn", encoding="utf-8")
    Path("empty.txt").write_text("", encoding="utf-8")
    Path("binary.bin").write_bytes(b"\0\1\2")
    code, _, err = start(module, *arguments)
    assert code == 2
    assert err.count("\n") == 1
    assert named in err
    assert err.startswith(f"python -m {module}: ")


def test_a_climb_that_ends_early_shows_what_was_reached(start) -> None:
    """300 characters are enough for the toy's pieces of 8, and not for section 9's of 32."""
    Path("little.txt").write_text(Path("book.txt").read_text(encoding="utf-8")[:300], encoding="utf-8")
    code, out, err = start("course", "--sections", "8-9", "--steps", "1", "--text", "little.txt")
    assert code == 2
    assert "300 characters" in err
    assert "s08_layer_norm" in out.split("section ")[-1]


@pytest.mark.parametrize("value", ["0", "11", "8-4", "a", "1-", ""])
def test_sections_that_are_none_are_refused(value: str, start) -> None:
    code, _, err = start("course", "--sections", value)
    assert code == 2
    assert repr(value) in err


def test_flags_are_not_read_in_a_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """There `__main__` is the notebook, and the arguments are the kernel's."""
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json", "--steps", "0"])
    for name, spec in (("no spec", None), ("ipykernel_launcher", "ipykernel_launcher"), ("course.console", "x")):
        main = ModuleType("__main__")
        if spec:
            main.__spec__ = type("Spec", (), {"name": name})()
        monkeypatch.setitem(sys.modules, "__main__", main)
        assert console.read_options() == console.Options()


def test_in_a_kernel_steps_seed_and_text_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    monkeypatch.setattr(console, "_chosen", {})

    def told(steps: int = 3, seed: int = 5, report: console.Report = console.quiet) -> tuple[int, int]:
        return steps, seed

    console.choose(steps=7)
    assert console.run(told) == (7, 5)
    console.choose(seed=11)  # anew, and the steps are the section's own again
    assert console.run(told) == (3, 11)


def test_in_a_notebook_a_picture_is_displayed_as_a_png(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from course.s07_residual import depth_picture

    displayed: list[bytes] = []
    ipython = ModuleType("IPython")
    ipython.version_info = (9, 0)  # type: ignore[attr-defined]  # matplotlib's first figure of a process asks for it
    ipython.get_ipython = object  # type: ignore[attr-defined]
    ipython.display = SimpleNamespace(display=displayed.append, Image=lambda data: data)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    console.show(depth_picture, {"a": [1.0]}, "y", "title")
    assert [data[:4] for data in displayed] == [b"\x89PNG"]
    assert not (tmp_path / console.PICTURES).exists()


def test_in_a_kernel_errors_are_raised_and_main_gets_no_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))

    def failing(steps: int = 3, report: console.Report = console.quiet) -> None:
        raise console.InputError(f"{steps} steps")

    with pytest.raises(console.InputError, match="3 steps"):
        console.run(failing)


def test_without_matplotlib_a_line_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from course.s07_residual import depth_picture

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # an import of it now fails
    console.show(depth_picture, {"a": [1.0]}, "y", "title")
    assert "pip install matplotlib" in capsys.readouterr().out


def test_another_missing_module_is_not_taken_for_matplotlib() -> None:
    def broken() -> None:
        raise ModuleNotFoundError("No module named 'nothing'", name="nothing")

    with pytest.raises(ModuleNotFoundError):
        console.show(broken)


def test_training_takes_one_thread_and_gives_the_others_back() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), console.one_thread():
        raise ZeroDivisionError(_expect_one_thread())
    assert torch.get_num_threads() == before


def _expect_one_thread() -> str:
    assert torch.get_num_threads() == 1
    return "an error inside"


def test_the_bar_draws_on_a_terminal_and_clears_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    terminal = console.Terminal("here  ")
    terminal("step", label="x", step=1, steps=2, loss=3.5)
    terminal("step", label="x", step=2, steps=2, loss=3.0)
    err = capsys.readouterr().err
    assert "here  " + "█" * 15 + "░" * 15 + " 1/2  loss 3.500" in err
    assert err.endswith("\r\033[K")


@pytest.mark.parametrize("module", ["course", "course.s01_bigram"])
def test_help_has_an_example_and_a_failing_run_exits_with_2(module: str, tmp_path: Path) -> None:
    """In processes of their own: what `-m` really does."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module]
    options: dict[str, Any] = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    helped = subprocess.run([*command, "--help"], check=False, **options)
    assert helped.returncode == 0
    assert f"example:\n  python -m {module} --steps 500" in helped.stdout
    failed = subprocess.run([*command, "--text", "nowhere.txt"], check=False, **options)
    assert failed.returncode == 2
    assert failed.stdout == ""
    assert "'nowhere.txt'" in failed.stderr
    assert "Traceback" not in failed.stderr
