import importlib.util
import re
from pathlib import Path

import pytest

from course.__main__ import SECTIONS
from course.exercises import base
from course.exercises.worker import load_answer

COURSE = Path(str(importlib.util.find_spec("course").origin)).parent
ALL = [(section, exercise) for section in SECTIONS for exercise in base.exercises_of(section)]
PREDICTIONS = [(section, exercise) for section, exercise in ALL if exercise.checks[0].name == "an answer"]
TRAINED = {"LOSS_WITH_A_LEAKING_MASK", "LOSS_WITH_DROPOUT_ON"}
"""exercises whose experiment trains a model for a few seconds"""


def params(pairs):
    marks = {name: [pytest.mark.slow] for name in TRAINED}
    return [pytest.param(*pair, id=pair[1].name, marks=marks.get(pair[1].name, ())) for pair in pairs]


def results_of(exercise, answer, path=Path("answer.py")):
    return [result for result in base.run_checks(exercise, answer, path) if result.state != "running"]


def solution(section, name):
    return getattr(load_answer(COURSE / "exercises" / "solutions" / f"{section}.py"), name)


@pytest.mark.parametrize(("section", "exercise"), params(ALL))
def test_the_solution_passes(section, exercise):
    found = results_of(exercise, solution(section, exercise.name))
    assert [(one.check, one.state) for one in found] == [(check.name, "passed") for check in exercise.checks]


@pytest.mark.parametrize("section", SECTIONS)
def test_stubs_are_all_to_do_and_headings_exist(section, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(base.stub_file(section, base.exercises_of(section), "mine.py"), encoding="utf-8")
    answer = load_answer(path)
    headings = re.findall(r"^# #+ (.+)$", (COURSE / f"{section}.py").read_text(encoding="utf-8"), re.MULTILINE)
    for exercise in base.exercises_of(section):
        assert [one.state for one in results_of(exercise, getattr(answer, exercise.name), path)] == ["todo"]
        assert exercise.heading.lstrip("# ") in headings


@pytest.mark.parametrize(("section", "exercise"), params(PREDICTIONS))
def test_a_wrong_prediction_gets_the_explanation(section, exercise):
    right = solution(section, exercise.name)
    choices = re.findall(r"'([^']+)'", exercise.stub)
    others = [one for one in choices if one != right] if choices else [right + 5]
    assert len(others) == max(1, len(choices) - 1)
    explanation = results_of(exercise, right)[1].message
    for other in others:
        first, second = results_of(exercise, other)
        assert (first.state, second.state) == ("passed", "failed")
        assert repr(other) in second.message
        assert explanation in second.message
    (only,) = results_of(exercise, "no answer at all")
    assert (only.check, only.state) == ("an answer", "failed")


def test_sections_are_found_by_their_names():
    for name in ("s04", "4", "04", "S04", "s04_self_attention"):
        assert base.section_named(name) == "s04_self_attention"
    for name in ("", "s", "s00", "s11", "s04_", "s04_other", "four", "²"):
        assert base.section_named(name) is None


def test_checks_after_the_first_failure_do_not_run():
    ran = []
    checks = tuple(
        base.Check(name, lambda answer, name=name: ran.append(name) or ("no" if name == "second" else None))
        for name in ("first", "second", "third")
    )
    exercise = base.Exercise(name="x", task="", stub="", heading="", checks=checks)
    assert [one.state for one in results_of(exercise, 1)] == ["passed", "failed"]
    assert ran == ["first", "second"]


@pytest.mark.parametrize(
    ("guess", "state"), [(1.5, "passed"), (2.5, "passed"), (1.4, "failed"), (True, "failed"), ("2", "failed")]
)
def test_a_number_may_be_off_by_the_tolerance(guess, state):
    exercise = base.prediction_exercise(
        name="X", task="", heading="", within=0.5, experiment=lambda: base.Outcome(2.0, "It is 2.")
    )
    assert results_of(exercise, guess)[-1].state == state
