"""The exercises as a whole: enough of them, each with a solution and a stub, and enough mistakes that are told apart."""

import importlib
import importlib.util
import re
from pathlib import Path

import pytest

from course.__main__ import SECTIONS
from course.exercises import exercises_of, section_named
from course.exercises.base import Check, Exercise, break_it, examine, stub_file
from course.exercises.worker import load_answer

HERE = Path(__file__).parent
COURSE = Path(str(importlib.import_module("course").__file__)).parent
ALL = [(section, exercise) for section in SECTIONS for exercise in exercises_of(section)]
PREDICTIONS = [(section, exercise) for section, exercise in ALL if exercise.checks[0].name == "an answer"]
TRAINED = {"LOSS_WHEN_PEEKING", "LOSS_WITH_DROPOUT_ON"}
"""Their experiments train a model, for a few seconds."""


def marked(pairs, trained=TRAINED):
    return [
        pytest.param(section, exercise, id=exercise.name, marks=[pytest.mark.slow] if exercise.name in trained else [])
        for section, exercise in pairs
    ]


def cases(section: str) -> dict[str, tuple]:
    """The wrong answers that are tested for a section."""
    path = HERE / f"test_e{section[1:]}.py"
    spec = importlib.util.spec_from_file_location(f"wrong_{section}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.WRONG


def finished(exercise: Exercise, thing, path: Path):
    return [finding for finding in examine(exercise, thing, path) if finding.state != "running"]


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_has_two_to_four(section):
    assert 2 <= len(exercises_of(section)) <= 4


def test_names_are_told_apart():
    names = [exercise.name for _, exercise in ALL]
    assert len(set(names)) == len(names)
    assert len(PREDICTIONS) >= 8


@pytest.mark.parametrize(("section", "exercise"), marked(ALL))
def test_the_solution_passes(section, exercise):
    solution = COURSE / "exercises" / "solutions" / f"{section}.py"
    found = finished(exercise, getattr(load_answer(solution), exercise.name), solution)
    assert [one.says for one in found if one.state == "failed"] == []
    assert [one.check for one in found] == [check.name for check in exercise.checks]


@pytest.mark.parametrize("section", SECTIONS)
def test_stubs_can_be_read_and_are_all_to_do(section, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(stub_file(section, exercises_of(section), "mine.py"), encoding="utf-8")
    answer = load_answer(path)
    for exercise in exercises_of(section):
        assert [one.state for one in finished(exercise, getattr(answer, exercise.name), path)] == ["todo"]


@pytest.mark.parametrize(("section", "exercise"), ALL, ids=[exercise.name for _, exercise in ALL])
def test_the_place_to_look_is_there(section, exercise):
    headings = re.findall(r"^# #+ (.+)$", (COURSE / f"{section}.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert exercise.look.lstrip("# ") in headings


@pytest.mark.parametrize(("section", "exercise"), marked(PREDICTIONS))
def test_a_wrong_prediction_is_shown_what_happened(section, exercise):
    solution = getattr(load_answer(COURSE / "exercises" / "solutions" / f"{section}.py"), exercise.name)
    if isinstance(solution, str):
        choices = re.findall(r"'([^']+)'", exercise.stub.replace("write ", "", 1))
        others = [choice for choice in choices if choice != solution]
        assert len(choices) - len(others) == 1
    else:
        others = [solution + 5]
    right = finished(exercise, solution, Path("answer.py"))
    for other in others:
        first, second = finished(exercise, other, Path("answer.py"))
        assert (first.state, second.state) == ("passed", "failed")
        assert second.says == f"You expected {other!r}, and it turned out otherwise. {right[1].says}"
    (only,) = finished(exercise, "no answer at all", Path("answer.py"))
    assert (only.check, only.state) == ("an answer", "failed")


def test_at_least_thirty_mistakes_each_with_words_of_its_own():
    """Within an exercise no two mistakes are told in the same words, unless it is one mistake in two places."""
    count = 0
    for section in SECTIONS:
        wrong = cases(section)
        count += len(wrong)
        told = [(name, check, words) for name, check, words, _ in wrong.values()]
        assert {name for name, *_ in told} == {e.name for s, e in ALL if s == section} - {
            e.name for _, e in PREDICTIONS
        }
        assert all(len(words) >= 3 for *_, words in told)
        assert len(set(told)) == len(told), [one for one in told if told.count(one) > 1]
    assert count >= 30


@pytest.mark.parametrize("section", SECTIONS)
def test_every_check_is_seen_to_fail(section):
    failing = {(name, check) for name, check, *_ in cases(section).values()}
    for exercise in exercises_of(section):
        if (section, exercise) not in PREDICTIONS:
            assert {(exercise.name, check.name) for check in exercise.checks} <= failing


def test_of_the_library_only_the_corpus_look_up_is_imported():
    for path in (COURSE / "exercises").rglob("*.py"):
        for name in re.findall(r"^\s*(?:from|import) (nanogpt[\w.]*)", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert name == "nanogpt.text.corpus", path


def test_sections_are_found_by_their_names():
    assert {section_named(name) for name in ("s04", "4", "04", "S04", "s04_self_attention")} == {"s04_self_attention"}
    assert [section_named(name) for name in ("", "s", "s00", "s11", "s04_", "s04_other", "four", "²")] == [None] * 8


def test_checks_after_the_first_that_fails_are_not_run():
    ran = []
    checks = tuple(
        Check(name, lambda thing, name=name: ran.append(name) or ("no" if name == "second" else None))
        for name in ("first", "second", "third")
    )
    exercise = Exercise(name="x", task="", stub="", look="", checks=checks)
    assert [one.state for one in finished(exercise, 1, Path("x.py"))] == ["passed", "failed"]
    assert ran == ["first", "second"]


def test_a_number_may_be_off_by_so_much():
    from course.exercises.base import Effect

    exercise = break_it(name="X", task="", look="", within=0.5, experiment=lambda: Effect(2.0, "It was 2."))
    assert [finished(exercise, guess, Path("x.py"))[-1].state for guess in (1.5, 2.5, 1.4, True, "2")] == [
        "passed",
        "passed",
        "failed",
        "failed",
        "failed",
    ]
