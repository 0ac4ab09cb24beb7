"""Judging answers in this process: fast, and safe for the answers that stand in these files."""

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from course.exercises import exercises_of, section_named
from course.exercises.base import Exercise, Finding, examine
from course.exercises.worker import load_answer

Edits = Sequence[tuple[str, str]] | str
Judge = Callable[[str, str, Edits], tuple[Exercise, list[Finding]]]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """What the checks find in an answer: a whole source, or the section's solution with some places changed."""

    def findings(section: str, name: str, edits: Edits) -> tuple[Exercise, list[Finding]]:
        whole = section_named(section)
        assert whole is not None
        if isinstance(edits, str):
            source = (
                f"import math\nimport torch\nfrom torch import Tensor, nn\nimport torch.nn.functional as F\n{edits}"
            )
        else:
            solution = importlib.import_module(f"course.exercises.solutions.{whole}").__file__
            source = Path(str(solution)).read_text(encoding="utf-8")
            for old, new in edits:
                assert source.count(old) == 1, f"{old!r} is {source.count(old)} times in the solution"
                source = source.replace(old, new)
        path = tmp_path / "answer.py"
        path.write_text(source, encoding="utf-8")
        exercise = next(one for one in exercises_of(whole) if one.name == name)
        found = examine(exercise, getattr(load_answer(path), name), path)
        return exercise, [finding for finding in found if finding.state != "running"]

    return findings


@pytest.fixture
def assert_caught(judge: Judge) -> Callable[..., None]:
    """The checks before this one pass, this one fails with these words, and those after it are not looked at."""

    def caught(section: str, name: str, check: str, words: str, edits: Edits) -> None:
        exercise, found = judge(section, name, edits)
        names = [one.name for one in exercise.checks]
        assert check in names
        *before, last = found
        assert (last.check, last.state) == (check, "failed"), last.says
        assert [one.check for one in before] == names[: names.index(check)]
        assert {one.state for one in before} <= {"passed"}
        assert words in last.says, last.says

    return caught


@pytest.fixture
def assert_right(judge: Judge) -> Callable[..., None]:
    """Every check passes."""

    def right(section: str, name: str, edits: Edits) -> None:
        exercise, found = judge(section, name, edits)
        assert [one.says for one in found if one.state == "failed"] == []
        assert [one.state for one in found] == ["passed"] * len(exercise.checks)

    return right
