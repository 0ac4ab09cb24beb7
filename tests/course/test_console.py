import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from course import console
from course.__main__ import SECTIONS

# runpy says so of every section that another test has imported already; here that does no harm.
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")


def parsed(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize(
    "section", [pytest.param(s, marks=[pytest.mark.slow] if s != "s01_bigram" else ()) for s in SECTIONS]
)
def test_every_section_reports_its_work_as_json_lines(section: str, start) -> None:
    code, out, _ = start(f"course.{section}", "--steps", "3", "--seed", "5", "--events")
    events = parsed(out)  # every line is JSON: the demonstrations' output is in `demo` events
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


@pytest.mark.slow
def test_the_course_prints_its_table_and_draws_the_losses(start) -> None:
    code, out, _ = start("course", "--steps", "2", "--sections", "6-7")
    assert code == 0
    rows = [line for line in out.splitlines() if line.startswith(("s06", "s07"))]
    assert len(rows) == 2
    assert "3 blocks, no residual" in out
    assert "losses: mean nats per character over all" in out
    assert "picture: runs/course/ladder.png" in out
    assert Path("runs/course/ladder.png").is_file()


def test_the_course_reports_its_work_as_json_lines(start) -> None:
    code, out, _ = start("course", "--steps", "2", "--sections", "1-2", "--events")
    events = parsed(out)
    assert code == 0
    assert [event["section"] for event in events if event["event"] == "done"] == [*SECTIONS[:2], "course"]
    assert events[-1]["sections"] == list(SECTIONS[:2])


@pytest.mark.slow
def test_results_before_an_error_are_shown(start) -> None:
    """300 characters are enough for the toy's sequences of 8, but not for section 9's of 32."""
    Path("little.txt").write_text(Path("book.txt").read_text(encoding="utf-8")[:300], encoding="utf-8")
    code, out, err = start("course", "--sections", "8-9", "--steps", "1", "--text", "little.txt")
    assert code == 2
    assert "300 characters" in err
    assert "s08_layer_norm" in out.split("section ")[-1]


def test_in_a_kernel_errors_are_raised_and_main_gets_no_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))

    def failing(steps: int = 3, report: console.Report = console.quiet) -> None:
        raise console.InputError(f"{steps} steps")

    with pytest.raises(console.InputError, match="3 steps"):
        console.run(failing)


def test_without_matplotlib_a_note_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from course.s07_residual import draw_by_depth

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # an import of it now fails
    console.show(draw_by_depth, {"a": [1.0]}, "y", "title")
    assert "pip install matplotlib" in capsys.readouterr().out


def test_one_thread_restores_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = [2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    with pytest.raises(ZeroDivisionError), console.one_thread():
        raise ZeroDivisionError
    assert counts == [2, 1, 2]
