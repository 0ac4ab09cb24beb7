"""A training that keeps to its time, by a clock that only training moves."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from tiny import finish, start, write_text

from nanogpt.events import PlanEvent
from nanogpt.planning.pace import END_SECONDS, Pace


class Watch:
    """A clock that only training moves, and a trainer that it moves for."""

    def __init__(self, minutes, planned, per_step, evaluation=0.0):
        self.now, self.per_step, self.evaluation = 100.0, per_step, evaluation
        self.pace = Pace(100.0, minutes, clock=lambda: self.now)
        trainer = start("run", steps=planned, sample_tokens=0)
        self.trainer = SimpleNamespace(
            state=SimpleNamespace(step=0, seconds=0.0),
            plan=trainer.plan,
            data=trainer.data,
            config=trainer.config,
            pause_seconds=[],
        )

    def run(self):
        """Steps until the plan's end; the plan's changes."""
        state, changes = self.trainer.state, []
        while state.step < self.trainer.plan.total_steps:
            seconds = self.per_step(state.step)
            state.step += 1
            state.seconds += seconds
            self.now += seconds
            if self.evaluation and state.step % round(self.trainer.plan.steps / 10) == 0:
                self.evaluate()
            steps = self.pace(self.trainer)
            if steps is not None and steps != self.trainer.plan.total_steps:
                changes.append(steps)
                self.trainer.plan = self.trainer.plan.change(state.step, max(steps, state.step))
        return changes

    def evaluate(self):
        self.now += self.evaluation
        self.trainer.pause_seconds.append(self.evaluation)


def test_a_plan_that_holds_is_left_alone():
    planned = int((60 - END_SECONDS) / 0.1)
    assert Watch(1.0, planned, per_step=lambda step: 0.1).run() == []


@pytest.mark.parametrize(
    ("planned", "per_step"),
    [
        (1200, lambda step: 0.1),  # planned for a machine twice as fast
        (300, lambda step: 0.1),  # and half as fast
        (580, lambda step: 0.1 if step < 200 else 0.2),  # slows down on the way
        (580, lambda step: 0.1 if step < 200 else 0.05),
        (580, lambda step: 0.1 + 0.05 * (step % 2)),
        (10, lambda step: 9.0),
    ],
)
def test_the_time_is_kept(planned, per_step):
    watch = Watch(1.0, planned, per_step)
    changes = watch.run()
    assert changes
    assert len(changes) < 30
    assert 0.8 * 60 <= watch.now - 100.0 <= 60 + per_step(watch.trainer.state.step)


def test_the_end_of_the_time_ends_the_run():
    watch = Watch(0.1, planned=10**6, per_step=lambda step: 0.5 if step < 4 else 30.0)
    watch.run()
    assert watch.trainer.state.step == 5


@pytest.mark.parametrize("evaluation", [0.5, 2.0])
def test_evaluations_still_to_come_are_allowed_for(evaluation):
    watch = Watch(1.0, planned=580, per_step=lambda step: 0.1, evaluation=evaluation)
    watch.evaluate()  # before the first step
    watch.run()
    watch.evaluate()  # the last one
    assert 0.8 * 60 <= watch.now - 100.0 <= 60


def test_a_run_at_the_pace_of_a_clock_keeps_its_plan_and_its_progress():
    now = [0.0]
    trainer = start("run", steps=500, sample_tokens=0, eval_every=50)
    pace = Pace(0.0, 0.5, clock=lambda: now[0])

    def new_length(trainer):
        now[0] += 1.0
        trainer.state = trainer.state.__class__(**vars(trainer.state) | {"seconds": now[0]})
        return pace(trainer)

    trainer.new_length = new_length
    events = finish(trainer)
    assert 20 <= events[-1].step <= 31
    assert [event.steps for event in events if isinstance(event, PlanEvent)]
    assert trainer.plan == trainer.folder.read_plan()
    assert trainer.plan.progress(events[-1].step) == pytest.approx(1)


@pytest.mark.slow
def test_minutes_count_from_enter_to_the_last_line():
    write_text("tale.txt", 20_000)
    began = time.monotonic()
    command = [sys.executable, "-m", "nanogpt", "train", "tale.txt", "--minutes", "0.4"]
    subprocess.run(command, check=True, capture_output=True)
    assert 0.6 * 24 <= time.monotonic() - began <= 1.25 * 24
