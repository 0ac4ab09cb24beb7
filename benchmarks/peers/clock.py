"""From Enter to the last training step, by what a training prints.

Imports, compilation and the preparation of data are counted, evaluations are left out. Both sides run unmodified, by
their own command lines, and are told to evaluate as little as they can: before the first step and after the last one.
What comes after the last training step lies outside the clock. What is left is taken out so:

* nanoGPT prints `using fused AdamW`, evaluates two batches, and prints `step 0`: the time between the two lines is
  taken out, with its first training batch and, on a GPU, what compilation happens there: a little too much, in its
  favour. It prints a line after each step; the one of the last step ends the clock. Its README runs with a line a step.
* The lecture's gpt.py prints no line for a step; hooks in torch do it for it, and tell when a model is made ready for
  an evaluation. It evaluates before its first and its last step, and prints `step N` then: what lies between that line
  and the one before is taken out.
* Of ours nothing is taken out. It evaluates one window of the text before and one after the training; the line
  `step N` that is printed after the latter ends the clock.
"""

import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.processes import Failed, Line

WARM_STEPS = 5
"""At most so many steps at the beginning do not count towards the seconds of a step."""
THEIR_STEP = re.compile(r"iter (\d+): ")
OUR_EVALUATION = re.compile(r"step ([\d,]+): ")


@dataclass(frozen=True, kw_only=True)
class Clock:
    """What a training took."""

    seconds: float
    """from its start to its last training step, without evaluations"""
    evaluation_seconds: float
    """what was taken out of it"""
    first_step_seconds: float | None = None
    """from its start to the end of its first training step, likewise"""
    step_seconds: float | None = None
    """median of a step, once it is warm"""


def nanogpt_clock(lines: Sequence[Line], steps: int) -> Clock:
    """Read nanoGPT's output of `steps` steps and more, with a line a step. Raises Failed where that is not there."""
    before = next((line.seconds for line in lines if line.text.startswith("using fused AdamW")), None)
    after = next((line.seconds for line in lines if line.text.startswith("step 0: ")), None)
    ends = {int(found[1]): line.seconds for line in lines if (found := THEIR_STEP.match(line.text))}
    if before is None or after is None or not ends.keys() >= set(range(steps)):
        told = "\n".join(line.text for line in lines[-5:])
        raise Failed(f"this does not read like {steps} steps of nanoGPT with --log_interval=1:\n{told}")
    evaluation = after - before
    return Clock(
        seconds=ends[steps - 1] - evaluation,
        evaluation_seconds=evaluation,
        first_step_seconds=ends[0] - evaluation,
        step_seconds=middle_step([ends[step] for step in range(steps)]),
    )


def lecture_clock(lines: Sequence[Line], steps: int) -> Clock:
    """Read the lecture's output of exactly `steps` steps, with a line a step. Raises Failed where that is not there."""
    ends: dict[int, float] = {}
    evaluation, last = 0.0, 0.0
    for line in lines:
        if found := THEIR_STEP.match(line.text):
            ends[int(found[1])] = line.seconds - evaluation
        elif line.text.startswith("step "):
            evaluation += line.seconds - last
        last = line.seconds
    if ends.keys() != set(range(steps)) or not evaluation:
        raise Failed(f"this does not read like {steps} steps:\n" + "\n".join(line.text for line in lines[-5:]))
    return Clock(
        seconds=ends[steps - 1],
        evaluation_seconds=evaluation,
        first_step_seconds=ends[0],
        step_seconds=middle_step([ends[step] for step in range(steps)]),
    )


def our_clock(lines: Sequence[Line], steps: int) -> Clock:
    """Read the output of `nanogpt train` that is no terminal. Raises Failed where the training did not end."""
    found = {int(match[1].replace(",", "")): line for line in lines if (match := OUR_EVALUATION.match(line.text))}
    if steps not in found:
        raise Failed("no line tells of step " + f"{steps:,}:\n" + "\n".join(line.text for line in lines[-5:]))
    return Clock(seconds=found[steps].seconds, evaluation_seconds=0.0)


def middle_step(ends: Sequence[float]) -> float | None:
    """Median time between the ends of steps that follow each other, without the first few; None of a single step.

    >>> middle_step([10.0, 19.0, 20.0, 21.0, 22.0, 23.0, 24.5, 26.0])  # three of seven are left out
    1.25
    >>> middle_step([10.0, 12.0]), middle_step([10.0])
    (2.0, None)
    """
    took = [after - before for before, after in pairwise(ends)]
    warm = took[min(WARM_STEPS, len(took) // 2) :]
    return statistics.median(warm) if warm else None
