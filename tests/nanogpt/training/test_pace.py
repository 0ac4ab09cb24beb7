"""A training that keeps to its time, by a clock that only training moves."""

import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from tiny import finish, start, write_text

from nanogpt.reporting.events import PlanEvent
from nanogpt.training.pace import END_SECONDS, Pace


class Watch:
    """A clock that only training moves, and a trainer that it moves for."""

    def __init__(self, minutes, planned, per_step, evaluation=0.0):
        self.now, self.per_step, self.evaluation = 100.0, per_step, evaluation
        self.pace = Pace(100.0, minutes, clock=lambda: self.now)
        trainer = start(f"run-{minutes}-{evaluation}", steps=planned, sample_tokens=0)
        self.trainer = SimpleNamespace(
            state=SimpleNamespace(step=0, seconds=0.0),
            plan=trainer.plan,
            data=trainer.data,
            config=trainer.config,
            pause_seconds=[],
            evaluation_seconds=[],
        )
        self.left_out = 0

    def run(self):
        """Steps until the plan's end, with evaluations on the way and two at the end; the plan's changes."""
        state, changes = self.trainer.state, []
        self.evaluate()
        while state.step < self.trainer.plan.total_steps:
            seconds = self.per_step(state.step)
            state.step += 1
            state.seconds += seconds
            self.now += seconds
            steps = self.pace(self.trainer)
            if steps is not None and steps != self.trainer.plan.total_steps:
                changes.append(steps)
                self.trainer.plan = self.trainer.plan.change(state.step, max(steps, state.step))
            progress = [int(10 * self.trainer.plan.progress(step)) for step in (state.step - 1, state.step)]
            if state.step == self.trainer.plan.total_steps:
                self.evaluate()
            elif progress[1] > progress[0]:
                if self.pace.leaves_out(self.trainer):
                    self.left_out += 1
                else:
                    self.evaluate()
        self.evaluate()
        return changes

    def evaluate(self):
        if self.evaluation:
            self.now += self.evaluation
            self.trainer.pause_seconds.append(self.evaluation)
            self.trainer.evaluation_seconds.append(self.evaluation)

    @property
    def used(self):
        """Seconds since the beginning, with what comes after the last line."""
        return self.now - 100.0 + END_SECONDS


def test_a_plan_that_holds_is_left_alone():
    planned = int((60 - END_SECONDS) / 0.1)
    assert Watch(1.0, planned, per_step=lambda step: 0.1).run() == []


SLOWER = 580, lambda step: 0.1 if step < 200 else 0.2
SPEEDS = {
    "planned for a machine twice as fast": (1200, lambda step: 0.1),
    "and half as fast": (300, lambda step: 0.1),
    "a hundred times slower": (60_000, lambda step: 0.1),
    "slows down on the way": SLOWER,
    "to a fifth": (580, lambda step: 0.1 if step < 300 else 0.5),
    "gets faster": (580, lambda step: 0.1 if step < 200 else 0.05),
    "unsteady": (580, lambda step: 0.1 + 0.05 * (step % 2)),
    "stands still for a moment": (580, lambda step: 9.0 if step == 250 else 0.1),
    "stands still at once": (580, lambda step: 9.0 if step == 1 else 0.1),
    "the first step is slow": (580, lambda step: 6.0 if step == 0 else 0.1),
    "steps of several seconds": (10, lambda step: 9.0),
}


@pytest.mark.parametrize("evaluation", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("speed", SPEEDS)
def test_the_time_is_kept(speed, evaluation):
    planned, per_step = SPEEDS[speed]
    watch = Watch(1.0, planned, per_step, evaluation)
    assert len(watch.run()) < 40
    assert 0.9 * 60 <= watch.used <= 1.1 * 60
    assert watch.trainer.state.step > 1


def test_a_machine_that_is_slow_for_moments_hardly_changes_a_long_run():
    watch = Watch(60.0, planned=4800, per_step=lambda step: 1.4 if step % 40 < 3 else 0.7)
    assert len(watch.run()) <= 3
    assert 0.98 * 3600 <= watch.used <= 1.01 * 3600


@pytest.mark.parametrize("seconds", [2.0, 5.0, 12.0])
def test_large_steps_and_few_looks(seconds):
    for minutes in (1.0, 2.5, 7.0):
        watch = Watch(minutes, planned=30, per_step=lambda step: seconds, evaluation=seconds / 4)
        watch.run()
        assert 0.9 * 60 * minutes <= watch.used <= 1.1 * 60 * minutes


def test_the_end_of_the_time_ends_the_run():
    watch = Watch(0.1, planned=10**6, per_step=lambda step: 0.5 if step < 4 else 30.0)
    watch.run()
    assert watch.trainer.state.step == 5


def test_evaluations_that_would_take_the_time_are_left_out():
    watch = Watch(1.0, planned=580, per_step=lambda step: 0.1, evaluation=5.0)
    watch.run()
    assert 0.9 * 60 <= watch.used <= 1.1 * 60
    assert watch.left_out >= 5
    watch = Watch(1.0, planned=580, per_step=lambda step: 0.1, evaluation=0.5)
    watch.run()
    assert watch.left_out == 0


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
