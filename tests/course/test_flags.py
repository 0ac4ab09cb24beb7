import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from course import console, flags

ROOT = Path(__file__).parents[2]
# runpy says so of every section that another test has imported already; here that does no harm.
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")


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
        assert flags.read_options() == flags.Options()


def test_in_a_kernel_steps_seed_and_text_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    monkeypatch.setattr(flags, "_chosen", {})

    def function(steps: int = 3, seed: int = 5, report: console.Report = console.quiet) -> tuple[int, int]:
        return steps, seed

    flags.choose(steps=7)
    assert console.run(function) == (7, 5)
    flags.choose(seed=11)  # replaces the first choice
    assert console.run(function) == (3, 11)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["course", "course.s01_bigram"])
def test_help_has_an_example_and_a_failing_run_exits_with_2(module: str, tmp_path: Path) -> None:
    """In separate processes, as `-m` starts them."""
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
