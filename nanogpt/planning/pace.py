"""Keeping a training to its time."""

import math
import time
from collections.abc import Callable

from nanogpt.planning.speed import final_tokens
from nanogpt.training import EVALUATIONS, Trainer

LOOK_SECONDS = 2.0
LOOK_PROGRESS = 0.05
TOLERANCE = 0.01
TOLERANCE_LEFT = 0.1
END_SECONDS = 1.0
"""Kept for what comes after the last evaluation: the last lines, and the interpreter's end."""


class Pace:
    """Keeps a training to its time: asked after each step whether the run's length has to change.

    Looks every two seconds of training, or every twentieth of the run where that is sooner: what is left of the
    time, less what evaluations still to come will take, over the seconds of a step since the last look. A
    difference under a tenth of what is left, or under 1 % of the whole time, is left alone.
    """

    def __init__(self, started: float, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._seconds = clock, minutes * 60
        self._deadline = started + minutes * 60 - END_SECONDS
        self._step, self._spent = 0, 0.0  # where training stood at the last look

    def __call__(self, trainer: Trainer) -> int | None:
        """The new length of the run, or None to leave it."""
        state, plan = trainer.state, trainer.plan
        if state.step <= self._step:  # the run went back to a checkpoint
            self._step, self._spent = state.step, state.seconds
            return None
        spent = state.seconds - self._spent
        left = self._deadline - self._clock() - self.seconds_beside(trainer)
        if state.step >= plan.total_steps and left > 0:
            return None  # the learning rate has come to its end: more steps would teach nothing
        advanced = plan.progress(state.step) - plan.progress(self._step)
        if spent < LOOK_SECONDS and advanced < LOOK_PROGRESS and left > 0:
            return None
        per_step = spent / (state.step - self._step)
        self._step, self._spent = state.step, state.seconds
        possible = state.step + max(0, int(left / per_step))
        if abs(possible - plan.total_steps) * per_step < max(TOLERANCE * self._seconds, TOLERANCE_LEFT * left):
            return None
        return possible

    @staticmethod
    def seconds_beside(trainer: Trainer) -> float:
        """Time for the evaluations still to come, the last of them of the whole validation part."""
        if not trainer.pause_seconds:
            return 0.0
        each = sum(trainer.pause_seconds) / len(trainer.pause_seconds)
        left = math.ceil((1 - trainer.plan.progress(trainer.state.step)) * EVALUATIONS)
        on_the_way = min(len(trainer.data.val), trainer.config.train.eval_tokens)
        return each * (left + final_tokens(trainer.config, trainer.data) / on_the_way)
