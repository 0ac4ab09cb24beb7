"""What of a training's time goes to updates, and what to looking at it on the way."""

from collections.abc import Collection

from nanogpt.config import Config
from nanogpt.data.dataset import Dataset
from nanogpt.planning.speed import Speed

EVALUATIONS = 10
"""Evaluations on the way, where `eval_every` does not say otherwise."""
ON_THE_WAY_SHARE = 0.06
"""Of the time, for all evaluations on the way."""
SAMPLES_SHARE = 0.03
FINAL_SHARE = 0.05
FEWEST_STEPS = 10
"""Also on a machine that seems slower: `nanogpt.training.pace` needs some steps to see how fast it really is."""
FEWEST_TOKENS = 2048
"""That an evaluation on the way reads."""


def with_evaluations(config: Config, data: Dataset, seconds: float, speed: Speed, named: Collection[str]) -> Config:
    """Evaluations and samples that leave the time to the training, unless they were named."""
    on_the_way = int(ON_THE_WAY_SHARE * seconds / (EVALUATIONS + 1) / speed.read)
    written = max(0, int(SAMPLES_SHARE * seconds / EVALUATIONS / speed.written))  # the text may have taken all the time
    wanted = {
        "eval_tokens": min(config.train.eval_tokens, max(FEWEST_TOKENS, on_the_way)),
        "sample_tokens": min(config.train.sample_tokens, written),
    }
    fitted = config.override(**{name: value for name, value in wanted.items() if name not in named})
    final = max(fitted.train.eval_tokens, int(FINAL_SHARE * seconds / speed.read))
    if "final_eval_tokens" in named or final >= final_tokens(config, data):
        return fitted
    return fitted.override(final_eval_tokens=final)


def steps_within(config: Config, data: Dataset, seconds: float, speed: Speed) -> int:
    """How many steps fit, beside the evaluations on the way and the last one; at least `FEWEST_STEPS`."""
    read = (EVALUATIONS + 1) * min(len(data.val), config.train.eval_tokens) + final_tokens(config, data)
    beside = read * speed.read + EVALUATIONS * config.train.sample_tokens * speed.written
    return max(FEWEST_STEPS, int((seconds - beside) / speed.step))


def final_tokens(config: Config, data: Dataset) -> int:
    """Validation tokens that the last evaluation reads."""
    return min(len(data.val), config.train.final_eval_tokens or len(data.val))
