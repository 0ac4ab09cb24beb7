"""A run's length, its changes, its file."""

import tomllib

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from nanogpt.errors import UserError
from nanogpt.files import FORMAT
from nanogpt.runs.plan import Plan


def plan(steps=10, **settings):
    return Plan(**{"text": "t", "source": "/t.txt", "data_key": "k", "steps": steps} | settings)


def test_progress_is_a_line():
    assert [plan().progress(step) for step in (0, 3, 10)] == pytest.approx([0, 0.3, 1])


def test_a_change_keeps_what_is_done_and_stretches_the_rest():
    changed = plan().change(4, 16)
    assert changed.total_steps == 16
    assert [changed.progress(step) for step in (0, 4, 10, 16)] == pytest.approx([0, 0.4, 0.7, 1])
    again = changed.change(10, 13)
    assert again.total_steps == 13
    assert [again.progress(step) for step in (4, 10, 11, 13)] == pytest.approx([0.4, 0.7, 0.8, 1])


def test_a_change_to_its_own_step_ends_the_run():
    ended = plan().change(4, 4)
    assert ended.total_steps == 4
    assert ended.progress(3) == pytest.approx(0.3)


@given(st.integers(1, 50), st.lists(st.tuples(st.integers(1, 30), st.integers(1, 60)), max_size=4))
def test_progress_never_falls_and_ends_at_one(steps, changes):
    found, at = plan(steps), 0
    for later, more in changes:
        at += later
        if at >= found.total_steps:
            break
        found = found.change(at, at + more)
    progress = [found.progress(step) for step in range(found.total_steps + 1)]
    assert progress[0] == 0
    assert progress[-1] == pytest.approx(1)
    assert progress == sorted(progress)


def test_a_change_leaves_progress_before_it_as_it_was():
    before, after = plan(100), plan(100).change(40, 70)
    assert [before.progress(step) for step in range(41)] == [after.progress(step) for step in range(41)]


@pytest.mark.parametrize(
    "made", [plan(), plan(minutes=0.5, val_source="/v.txt").change(4, 7).change(6, 9), plan(text='"ქ\\\n')]
)
def test_a_plan_survives_toml(made):
    assert Plan.from_dict(tomllib.loads(tomli_w.dumps(made.to_dict())), "there") == made


@pytest.mark.parametrize(
    "change",
    [
        {"steps": "ten"},
        {"steps": 0},
        {"source": None},
        {"data_key": None},
        {"changes": [{"step": 4}]},
        {"changes": [{"step": "x", "steps": 3}]},
        {"changes": [5]},
        {"changes": 5},
    ],
)
def test_a_damaged_plan_names_its_file(change):
    tables = {key: value for key, value in (plan().to_dict() | change).items() if value is not None}
    with pytest.raises(UserError, match="there is not a plan"):
        Plan.from_dict(tables, "there")


def test_a_plan_from_a_newer_version():
    with pytest.raises(UserError, match=f"newer nanogpt .format {FORMAT + 1}"):
        Plan.from_dict(plan().to_dict() | {"format": FORMAT + 1}, "there")


def test_several_sources_are_kept():
    several = plan(source=("a.txt", "b.txt"), val_source="c.txt")
    written = tomllib.loads(tomli_w.dumps(several.to_dict()))
    assert written["source"] == ["a.txt", "b.txt"]
    assert Plan.from_dict(written, "plan.toml") == several
    for wrong in (["a.txt", 3], [["a"]], 3, {"a": "b"}):
        with pytest.raises(UserError):
            Plan.from_dict(written | {"source": wrong}, "plan.toml")


def test_a_model_that_was_not_trained_here_has_neither_text_nor_steps():
    imported = Plan(text="gpt2", steps=0)
    assert imported.imported
    assert not plan().imported
    assert Plan.from_dict(tomllib.loads(tomli_w.dumps(imported.to_dict())), "plan.toml") == imported
    for wrong in ({"steps": 3}, {"left_out": [1]}, {"changes": [{"step": 0, "steps": 3}]}):
        with pytest.raises(UserError, match="not a plan"):
            Plan.from_dict(imported.to_dict() | wrong, "plan.toml")
