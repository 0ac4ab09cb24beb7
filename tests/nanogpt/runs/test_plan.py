"""A run's length, its changes, and its file."""

import tomllib
from dataclasses import replace

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from tiny import refuses

from nanogpt.files import FORMAT
from nanogpt.runs.plan import MicroBatch, Plan, Rollback

PLAN = Plan(text="t", source="/t.txt", data_key="k", steps=10)
IMPORTED = Plan(text="gpt2", steps=0)


def progress(plan, *steps):
    return pytest.approx([plan.progress(step) for step in steps])


def test_a_change_keeps_what_is_done_and_stretches_the_rest():
    assert progress(PLAN, 0, 3, 10) == [0, 0.3, 1]
    changed = PLAN.change(4, 16)
    assert progress(changed, 0, 3, 4, 10, 16) == [0, 0.3, 0.4, 0.7, 1]
    again = changed.change(10, 13)
    assert progress(again, 4, 10, 11, 13) == [0.4, 0.7, 0.8, 1]
    ended = PLAN.change(4, 4)
    assert progress(ended, 3) == [0.3]
    assert [plan.total_steps for plan in (PLAN, changed, again, ended)] == [10, 16, 13, 4]


@given(st.integers(1, 50), st.lists(st.tuples(st.integers(1, 30), st.integers(1, 60)), max_size=4))
def test_progress_rises_to_one_and_a_change_leaves_what_was_before(steps, changes):
    plan, at = replace(PLAN, steps=steps), 0
    for later, more in changes:
        at += later
        if at >= plan.total_steps:
            break
        before, plan = plan, plan.change(at, at + more)
        assert [plan.progress(step) for step in range(at + 1)] == [before.progress(step) for step in range(at + 1)]
    found = [plan.progress(step) for step in range(plan.total_steps + 1)]
    assert found[0] == 0
    assert found[-1] == pytest.approx(1)
    assert found == sorted(found)


def test_learning_rate_and_micro_batch_after_a_recovery():
    plan = replace(
        PLAN,
        rollbacks=tuple(Rollback(step=step, failed=9, factor=0.5) for step in (4, 6)),
        micro_batches=(MicroBatch(step=3, size=8), MicroBatch(step=5, size=2)),
    )
    assert [plan.lr_factor(step) for step in (3, 4, 5, 6)] == [1, 0.5, 0.5, 0.25]
    assert [plan.micro_batch(step, 16) for step in (2, 3, 4, 5)] == [16, 8, 8, 2]
    assert plan.micro_batch(4, 4) == 4
    assert read(plan.to_dict()) == plan


def read(tables):
    return Plan.from_dict(tomllib.loads(tomli_w.dumps(tables)), "there")


@pytest.mark.parametrize(
    "plan",
    [
        *(PLAN, IMPORTED, replace(PLAN, text='"ქ\\\n'), replace(PLAN, source=("a.txt", "b.txt"), left_out=(3, 5))),
        replace(PLAN, minutes=0.5, val_source="/v.txt").change(4, 7).change(6, 9),
    ],
)
def test_a_plan_survives_toml(plan):
    assert read(plan.to_dict()) == plan
    assert read(plan.to_dict() | {"job": "none:host:7"}) == plan  # of an earlier version
    assert plan.imported is (plan is IMPORTED)


@pytest.mark.parametrize(
    ("plan", "change", "words"),
    [
        *((PLAN, {"steps": steps}, "not a plan") for steps in ("ten", 0, 1.5)),
        *((PLAN, {"source": source}, "not a plan") for source in ("", ["a.txt", 3], [["a"]], 3, {"a": "b"})),
        *((PLAN, {"data_key": key}, "not a plan") for key in ("../k", "", 3)),
        *((PLAN, {"changes": one}, "not a plan") for one in ([{"step": 4}], [{"step": "x", "steps": 3}], [5], 5)),
        (PLAN, {"changes": [{"step": -1, "steps": 3}]}, "not a plan"),
        (PLAN, {"precision": "float16"}, "not a plan"),
        (PLAN, {"stepz": 3}, "'stepz'; did you mean 'steps'?"),
        (PLAN, {"format": FORMAT + 1}, f"format {FORMAT + 1}"),
        *((IMPORTED, one, "not a plan") for one in ({"steps": 3}, {"left_out": [1]})),
        (IMPORTED, {"changes": [{"step": 0, "steps": 3}]}, "not a plan"),
    ],
    ids=str,
)
def test_a_damaged_plan_names_its_file(plan, change, words):
    refuses(lambda: read(plan.to_dict() | change), "there", words)
