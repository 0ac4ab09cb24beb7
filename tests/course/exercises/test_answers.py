"""Answers to the exercises: each mistake fails its check with its own message, and each right answer passes.

`answers/sNN.py` holds the answers of a section: `WRONG[exercise, check][mistake] = (words of the message, *changes)` and
`RIGHT[exercise][variant] = changes`. Changes are a whole source, or alternately old and new parts of the solution.
"""

import importlib.util
from pathlib import Path

import pytest

from course.check import format_report
from course.exercises.base import exercises_of, run_checks, section_named
from course.exercises.runner import Report
from course.exercises.worker import load_answer

SOLUTIONS = Path(str(importlib.util.find_spec("course.exercises.solutions").origin)).parent
IMPORTS = "import math\nimport torch\nfrom torch import Tensor, nn\nimport torch.nn.functional as F\n"


def load(path):
    spec = importlib.util.spec_from_file_location(f"answers_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ANSWERS = {section_named(path.stem): load(path) for path in sorted((Path(__file__).parent / "answers").glob("s*.py"))}
WRONG = [
    pytest.param(section, name, check, case, id=f"{section[:3]} {name}: {mistake}")
    for section, module in ANSWERS.items()
    for (name, check), mistakes in module.WRONG.items()
    for mistake, case in mistakes.items()
]
RIGHT = [
    pytest.param(
        section, name, [changes] if isinstance(changes, str) else changes, id=f"{section[:3]} {name}: {variant}"
    )
    for section, module in ANSWERS.items()
    for name, variants in module.RIGHT.items()
    for variant, changes in variants.items()
]


def judge(section, name, changes, folder):
    if len(changes) == 1:
        source = IMPORTS + changes[0]
    else:
        source = (SOLUTIONS / f"{section}.py").read_text(encoding="utf-8")
        for old, new in zip(changes[::2], changes[1::2]):
            assert source.count(old) == 1, f"{old!r} is {source.count(old)} times in the solution"
            source = source.replace(old, new)
    path = folder / "answer.py"
    path.write_text(source, encoding="utf-8")
    exercise = next(one for one in exercises_of(section) if one.name == name)
    results = run_checks(exercise, getattr(load_answer(path), name), path)
    return exercise, [result for result in results if result.state != "running"]


@pytest.mark.parametrize(("section", "name", "check", "case"), WRONG)
def test_a_mistake_fails_its_check(section, name, check, case, tmp_path):
    words, *changes = case
    exercise, (*before, last) = judge(section, name, changes, tmp_path)
    names = [one.name for one in exercise.checks]
    assert (last.check, last.state) == (check, "failed"), last.message
    assert [(one.check, one.state) for one in before] == [(one, "passed") for one in names[: names.index(check)]]
    assert words in last.message


@pytest.mark.parametrize(("section", "name", "changes"), RIGHT)
def test_a_right_answer_passes(section, name, changes, tmp_path):
    exercise, results = judge(section, name, changes, tmp_path)
    assert [one.message for one in results if one.state == "failed"] == []
    assert [one.state for one in results] == ["passed"] * len(exercise.checks)


@pytest.mark.parametrize(("section", "module"), ANSWERS.items(), ids=ANSWERS)
def test_every_check_has_a_mistake_and_every_mistake_its_own_message(section, module):
    """Prediction exercises need no answers: test_exercises runs them."""
    exercises = [exercise for exercise in exercises_of(section) if exercise.checks[0].name != "an answer"]
    assert set(module.WRONG) == {(exercise.name, check.name) for exercise in exercises for check in exercise.checks}
    for mistakes in module.WRONG.values():
        words = [one for one, *_ in mistakes.values()]
        assert len(set(words)) == len(words)


def test_the_page_shows_a_real_report(tmp_path):
    _, results = judge("s04_self_attention", "Head", ["triu(1)", "triu(2)"], tmp_path)
    exercises = exercises_of("s04_self_attention")
    lines = format_report("s04_self_attention", exercises, Report({"Head": results})).split("\n\n")[0]
    page = SOLUTIONS.parents[2] / "docs" / "exercises.md"
    assert f"```\n{lines}\n```" in page.read_text(encoding="utf-8"), lines
