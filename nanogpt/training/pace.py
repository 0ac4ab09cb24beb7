"""Keeping a training to its minutes."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from nanogpt.planning.budget import final_tokens
from nanogpt.reporting.events import PlanEvent
from nanogpt.runs.plan import EVALUATIONS

if TYPE_CHECKING:
    from nanogpt.training.trainer import Trainer

CHECK_SECONDS, CHECK_SHARE, CHECK_PROGRESS = 2.0, 0.1, 0.05
TOLERANCE, TOLERANCE_LEFT = 0.01, 0.1
"""Differences that are ignored, as shares of the whole time and of the time left"""
EVALUATION_SHARE = 0.25
"""Share of the time left above which evaluations are left out"""
END_SECONDS = 1.0
"""Time reserved after the last evaluation, for the last lines and the interpreter's exit"""


class Pace:
    """Changes a run's length so that it ends in time, and leaves out evaluations that would take too long.

    One check removes at most half of the remaining steps: a machine that stalls for a moment should not end the run.
    """

    def __init__(self, started: float, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._seconds = clock, minutes * 60
        self._deadline = started + minutes * 60 - END_SECONDS
        self._step, self._spent = 0, 0.0  # at the last check

    def adjust_length(self, trainer: "Trainer") -> Iterator[PlanEvent]:
        """Change the run's length after a step, if it would not end in time."""
        steps = trainer.world.broadcast(self.new_length(trainer) if trainer.world.main else None)
        if steps is not None and steps != trainer.plan.total_steps:
            trainer.change_plan(trainer.plan.change(trainer.state.step, max(steps, trainer.state.step)))
            yield PlanEvent(step=trainer.state.step, steps=trainer.plan.total_steps)

    def new_length(self, trainer: "Trainer") -> int | None:
        """Return the length that fits the minutes; None to keep the present one."""
        state, plan = trainer.state, trainer.plan
        left = self._deadline - self._clock() - self.evaluation_seconds(trainer)
        if left > 0 and (state.step <= self._step or not self._step):
            # The first step includes loading; or the run went back to a checkpoint.
            self._step, self._spent = state.step, state.seconds
            return None
        spent = state.seconds - self._spent
        if state.step >= plan.total_steps and left > 0:
            return None  # the learning rate has reached its end: more steps would teach nothing
        advanced = plan.progress(state.step) - plan.progress(self._step)
        if spent < max(CHECK_SECONDS, CHECK_SHARE * left) and advanced < CHECK_PROGRESS and left > 0:
            return None
        per_step = spent / max(1, state.step - self._step)
        self._step, self._spent = state.step, state.seconds
        possible = state.step + max(0, round(left / per_step))
        if left > CHECK_SECONDS:
            possible = max(possible, state.step + (plan.total_steps - state.step + 1) // 2)
        if abs(possible - plan.total_steps) * per_step < max(TOLERANCE * self._seconds, TOLERANCE_LEFT * left):
            return None
        return possible

    def skips_evaluation(self, trainer: "Trainer") -> bool:
        """Return whether there is no time for the evaluation that is due; the plan remembers it for a resumed run."""
        skips = trainer.world.broadcast(self.has_no_time(trainer) if trainer.world.main else False)
        if skips:
            trainer.change_plan(replace(trainer.plan, left_out=(*trainer.plan.left_out, trainer.state.step)))
        return skips

    def has_no_time(self, trainer: "Trainer") -> bool:
        """Return whether the evaluations on the way would take too much of the time left; never for the first."""
        if not trainer.pause_seconds:
            return False
        left = self._deadline - self._clock() - self._seconds_at_end(trainer)
        return self._seconds_on_the_way(trainer) > EVALUATION_SHARE * left

    def evaluation_seconds(self, trainer: "Trainer") -> float:
        """Return the time that the evaluations to come will take, those left out excluded."""
        if not trainer.pause_seconds:
            return 0.0
        at_end = self._seconds_at_end(trainer)
        left = max(0.0, self._deadline - self._clock() - at_end)
        return at_end + min(self._seconds_on_the_way(trainer), EVALUATION_SHARE * left)

    @staticmethod
    def _seconds_on_the_way(trainer: "Trainer") -> float:
        """Return the time of all evaluations before the last step."""
        left = math.ceil((1 - trainer.plan.progress(trainer.state.step)) * EVALUATIONS)
        return max(0, left - 1) * statistics.median(trainer.pause_seconds)

    @staticmethod
    def _seconds_at_end(trainer: "Trainer") -> float:
        """Return the time of the evaluation at the last step and of the final one."""
        on_the_way = min(len(trainer.data.val), trainer.config.train.eval_tokens)
        share = final_tokens(trainer.config, trainer.data) / on_the_way
        return statistics.median(trainer.pause_seconds) + share * statistics.median(trainer.evaluation_seconds)
