"""A training that keeps its time, by a clock that only training moves."""

import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import finish, of_kind, start, tiny_config, write_text

from nanogpt.data.tokenize import Dataset
from nanogpt.reporting.events import PlanEvent
from nanogpt.runs.plan import Plan
from nanogpt.training.pace import END_SECONDS, Pace

IDS = np.zeros(1000, np.uint16)


class Simulation:
    """A trainer that only counts steps, and the clock that it moves."""

    def __init__(self, minutes, planned, per_step, evaluation=0.0):
        self.now, self.per_step, self.evaluation = 100.0, per_step, evaluation
        self.pace = Pace(100.0, minutes, clock=lambda: self.now)
        self.trainer = SimpleNamespace(
            state=SimpleNamespace(step=0, seconds=0.0),
            plan=Plan(text="t", source="t", data_key="k", steps=planned),
            data=Dataset(train=IDS[:900], val=IDS[900:], key="k"),
            config=tiny_config(),
            pause_seconds=[],
            evaluation_seconds=[],
        )
        self.skipped, self.changes = 0, 0

    def run(self):
        """Make steps to the plan's end, with evaluations on the way and two at the end; return the seconds used."""
        trainer, state = self.trainer, self.trainer.state
        self.evaluate()
        while state.step < trainer.plan.total_steps:
            seconds = self.per_step(state.step)
            state.step += 1
            state.seconds += seconds
            self.now += seconds
            steps = self.pace.new_length(trainer)
            if steps is not None and steps != trainer.plan.total_steps:
                self.changes += 1
                trainer.plan = trainer.plan.change(state.step, max(steps, state.step))
            before, now = (int(10 * trainer.plan.progress(step)) for step in (state.step - 1, state.step))
            if state.step == trainer.plan.total_steps:
                self.evaluate()
            elif now > before:
                if self.pace.has_no_time(trainer):
                    self.skipped += 1
                else:
                    self.evaluate()
        self.evaluate()
        return self.now - 100.0 + END_SECONDS

    def evaluate(self):
        if self.evaluation:
            self.now += self.evaluation
            self.trainer.pause_seconds.append(self.evaluation)
            self.trainer.evaluation_seconds.append(self.evaluation)


SPEEDS = {
    "planned for a machine twice as fast": (1200, lambda step: 0.1),
    "and half as fast": (300, lambda step: 0.1),
    "a hundred times slower": (60_000, lambda step: 0.1),
    "slows down on the way": (580, lambda step: 0.1 if step < 200 else 0.2),
    "to a fifth": (580, lambda step: 0.1 if step < 300 else 0.5),
    "gets faster": (580, lambda step: 0.1 if step < 200 else 0.05),
    "unsteady": (580, lambda step: 0.1 + 0.05 * (step % 2)),
    "stalls for a moment": (580, lambda step: 9.0 if step == 250 else 0.1),
    "stalls at once": (580, lambda step: 9.0 if step == 1 else 0.1),
    "a slow first step": (580, lambda step: 6.0 if step == 0 else 0.1),
    "steps of several seconds": (10, lambda step: 9.0),
}


@pytest.mark.parametrize("evaluation", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("speed", SPEEDS)
def test_the_time_is_kept(speed, evaluation):
    training = Simulation(1.0, *SPEEDS[speed], evaluation)
    assert 0.9 * 60 <= training.run() <= 1.1 * 60
    assert training.changes < 40
    assert training.trainer.state.step > 1


@pytest.mark.parametrize("minutes", [1.0, 2.5, 7.0])
@pytest.mark.parametrize("seconds", [2.0, 5.0, 12.0])
def test_the_time_is_kept_with_few_large_steps(seconds, minutes):
    training = Simulation(minutes, 30, lambda step: seconds, evaluation=seconds / 4)
    assert 0.9 * 60 * minutes <= training.run() <= 1.1 * 60 * minutes


def test_a_right_plan_is_not_changed():
    training = Simulation(1.0, int((60 - END_SECONDS) / 0.1), lambda step: 0.1)
    training.run()
    assert training.changes == 0


def test_slow_moments_hardly_change_a_long_run():
    training = Simulation(60.0, 4800, lambda step: 1.4 if step % 40 < 3 else 0.7)
    assert 0.98 * 3600 <= training.run() <= 1.01 * 3600
    assert training.changes <= 3


def test_the_end_of_the_time_ends_the_run():
    training = Simulation(0.1, 10**6, lambda step: 0.5 if step < 4 else 30.0)
    training.run()
    assert training.trainer.state.step == 5


@pytest.mark.parametrize(("evaluation", "skipped"), [(5.0, range(5, 11)), (0.5, [0])])
def test_evaluations_that_would_take_the_time_are_skipped(evaluation, skipped):
    training = Simulation(1.0, 580, lambda step: 0.1, evaluation)
    assert 0.9 * 60 <= training.run() <= 1.1 * 60
    assert training.skipped in skipped


def test_a_run_records_its_new_length(monkeypatch):
    now, new_length = [0.0], Pace.new_length

    def step(self, trainer):
        now[0] += 1.0
        trainer.state = replace(trainer.state, seconds=now[0])
        return new_length(self, trainer)

    monkeypatch.setattr(Pace, "new_length", step)
    trainer = start("run", steps=500, sample_tokens=0, eval_every=50)
    trainer.pace = Pace(0.0, 0.5, clock=lambda: now[0])
    events = finish(trainer)
    assert 20 <= events[-1].step <= 31
    assert of_kind(events, PlanEvent)
    assert trainer.plan == trainer.folder.read_plan()
    assert trainer.plan.progress(events[-1].step) == pytest.approx(1)


@pytest.mark.slow
def test_minutes_count_from_enter_to_the_last_line():
    write_text("tale.txt", 20_000)
    started = time.monotonic()
    command = [sys.executable, "-m", "nanogpt", "train", "tale.txt", "--minutes", "0.4"]
    subprocess.run(command, check=True, capture_output=True)
    assert 0.6 * 24 <= time.monotonic() - started <= 1.25 * 24
