"""Keeping a training to its time."""

import math
import statistics
import time
from collections.abc import Callable

from nanogpt.planning.budget import EVALUATIONS, final_tokens
from nanogpt.training.trainer import Trainer

LOOK_SECONDS, LOOK_SHARE = 2.0, 1 / 10
"""What is looked at: so much training, or such a share of the time that is left where that is longer. A machine is slow
for a second or two again and again, and over an hour that comes to nothing."""
LOOK_PROGRESS = 0.05
TOLERANCE = 0.01
TOLERANCE_LEFT = 0.1
PAUSES_SHARE = 0.25
"""Of what is left of the time: evaluations that would take more are left out."""
END_SECONDS = 1.0
"""Kept for what comes after the last evaluation: the last lines, and the interpreter's end."""


class Pace:
    """Asked after each step whether the run's length has to change, and before each evaluation whether to leave it out.

    Looks after a tenth of the time that is left, two seconds at least, or every twentieth of the run where that is
    sooner: what is left of the time, less what evaluations still to come will take, over the seconds of a step since
    the last look. A
    difference under a tenth of what is left, or under 1 % of the whole time, is left alone. One look takes at most half
    of the steps that are left: a machine that stood still for a moment should not end the run.
    """

    def __init__(self, started: float, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._seconds = clock, minutes * 60
        self._deadline = started + minutes * 60 - END_SECONDS
        self._step, self._spent = 0, 0.0  # where training stood at the last look

    def __call__(self, trainer: Trainer) -> int | None:
        """The new length of the run, or None to leave it."""
        state, plan = trainer.state, trainer.plan
        left = self._deadline - self._clock() - self.seconds_beside(trainer)
        if left > 0 and (state.step <= self._step or not self._step):
            # The first step also loads what it computes with; or the run went back to a checkpoint.
            self._step, self._spent = state.step, state.seconds
            return None
        spent = state.seconds - self._spent
        if state.step >= plan.total_steps and left > 0:
            return None  # the learning rate has come to its end: more steps would teach nothing
        advanced = plan.progress(state.step) - plan.progress(self._step)
        if spent < max(LOOK_SECONDS, LOOK_SHARE * left) and advanced < LOOK_PROGRESS and left > 0:
            return None
        per_step = spent / max(1, state.step - self._step)
        self._step, self._spent = state.step, state.seconds
        possible = state.step + max(0, round(left / per_step))
        if left > LOOK_SECONDS:
            possible = max(possible, state.step + (plan.total_steps - state.step + 1) // 2)
        if abs(possible - plan.total_steps) * per_step < max(TOLERANCE * self._seconds, TOLERANCE_LEFT * left):
            return None
        return possible

    def leaves_out(self, trainer: Trainer) -> bool:
        """Whether there is no time for the evaluation that is due now; there always is for the first and the last."""
        if not trainer.pause_seconds:
            return False
        left = self._deadline - self._clock() - self._seconds_at_end(trainer)
        return self._seconds_on_the_way(trainer) > PAUSES_SHARE * left

    def seconds_beside(self, trainer: Trainer) -> float:
        """Time for the evaluations still to come, as far as they will not be left out."""
        if not trainer.pause_seconds:
            return 0.0
        at_end = self._seconds_at_end(trainer)
        left = max(0.0, self._deadline - self._clock() - at_end)
        return at_end + min(self._seconds_on_the_way(trainer), PAUSES_SHARE * left)

    @staticmethod
    def _seconds_on_the_way(trainer: Trainer) -> float:
        """Of all evaluations still to come but those at the end."""
        left = math.ceil((1 - trainer.plan.progress(trainer.state.step)) * EVALUATIONS)
        return max(0, left - 1) * statistics.median(trainer.pause_seconds)

    @staticmethod
    def _seconds_at_end(trainer: Trainer) -> float:
        """Of the one at the last step, and of the last of all, of the whole validation part or a part of it."""
        on_the_way = min(len(trainer.data.val), trainer.config.train.eval_tokens)
        share = final_tokens(trainer.config, trainer.data) / on_the_way
        return statistics.median(trainer.pause_seconds) + share * statistics.median(trainer.evaluation_seconds)
