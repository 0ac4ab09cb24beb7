"""Time of our trainings to a loss that nanoGPT's recipes reach, compared with those recipes on this machine.

    python -m benchmarks.time_to_loss --nanogpt PATH
    python -m benchmarks.time_to_loss --nanogpt PATH --goals cpu-loss --pairs 1 --short 20 --trial

Clock, losses and pairs are described in `benchmarks.karpathy_nanogpt`. A run reaches a goal if its last checkpoint has
that loss or a lower one; the number of such runs is recorded. nanoGPT's recipe for a GPU would take hours on a CPU:
some of its steps are measured, the rest of its 5,000 is extrapolated from the median of a step, and the record says so.
Its loss is then the published one.

Our sizes, batches and learning rates were chosen on a held-out part of the training text (`benchmarks.sweep`), never on
the validation part; lengths between those tried there, or as many steps as fit into the time.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.karpathy_nanogpt import (
    CPU_RECIPE,
    GPU_RECIPE,
    Recipe,
    Row,
    Side,
    comparison_parser,
    measure_pairs,
    our_side,
    summary,
    their_side,
)
from benchmarks.record import Parts, parse


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A published figure: `nanogpt train shakespeare WORDS --steps STEPS` compared with a recipe of nanoGPT."""

    name: str
    title: str
    words: tuple[str, ...]
    steps: int
    theirs: Recipe
    their_steps: int | None = None
    """steps that are measured, from which the whole time is extrapolated (default: all)"""
    their_loss: float | None = None
    """the published loss, where its training is too long to be measured"""
    loss: float
    """the whole-split loss that ours should reach"""
    share: float
    """the share of nanoGPT's time that ours should take"""
    pairs: int = 5

    @property
    def extrapolated(self) -> bool:
        """Whether nanoGPT's time is extrapolated."""
        return self.their_steps is not None


# Held out of the training part (`records/sweeps/`: `reference`, `goals` and `full`): nanoGPT's network by the
# preset `gpt2` reaches 1.855 in 2,000 steps, `cpu-loss` 1.802 in 180, `cpu-time` 1.520 in 600, and `gpu-loss` 1.388 in
# 1,400 steps with a weight decay of 0.2, or 1.409 in 600 without dropout.
GOALS = (
    Goal(
        name="cpu-loss",
        title="time to 1.898, block 64",
        words=("--block-size", "64", "--n-layer", "3", "--n-embd", "128", "--batch-size", "16"),
        steps=170,
        theirs=CPU_RECIPE,
        loss=1.898,
        share=1 / 8,
    ),
    Goal(
        name="cpu-time",
        title="loss after the time of nanoGPT's CPU recipe",
        words=("--block-size", "64", "--n-layer", "4", "--n-head", "6", "--n-embd", "192", "--batch-size", "32"),
        steps=780,
        theirs=CPU_RECIPE,
        loss=1.62,
        share=1.0,
    ),
    Goal(
        name="gpu-loss",
        title="time to 1.4697, block 256 at most",
        words=(
            *("--block-size", "256", "--n-layer", "5", "--n-head", "8", "--n-embd", "256"),
            *("--batch-size", "16", "--dropout", "0.1"),
        ),
        steps=1000,
        theirs=GPU_RECIPE,
        their_steps=8,
        their_loss=1.4697,
        loss=1.4697,
        share=8 / 240,
        pairs=3,
    ),
)


def main() -> None:
    """Measure what is missing, print and record."""
    parser = comparison_parser(__doc__)
    parser.add_argument("--goals", nargs="+", choices=[goal.name for goal in GOALS], help="default: all")
    parser.add_argument("--short", type=int, metavar="STEPS", help="steps of both sides, for a trial")
    parser.set_defaults(pairs=None)
    options, parts = parse(parser, "time_to_loss")
    goals = [goal for goal in GOALS if options.goals is None or goal.name in options.goals]
    parts.write({"goals": {goal.name: measure(parts, goal, options) for goal in goals}})


def measure(parts: Parts, goal: Goal, options: argparse.Namespace) -> dict[str, Any]:
    """Measure all pairs of one goal."""
    if options.short is not None:
        goal = replace(goal, steps=options.short, their_steps=min(options.short, goal.their_steps or options.short))
    where = {"threads": options.threads, "device": options.device}
    measured_steps = goal.their_steps or goal.theirs.steps
    key = {"ours": goal.words, "steps": goal.steps, "theirs": goal.theirs.words, "their_steps": measured_steps, **where}
    theirs = their_side(options.nanogpt, goal.theirs, measured_steps, losses=not goal.extrapolated, **where)
    if goal.extrapolated:
        theirs = extrapolated(theirs, goal.theirs, measured_steps)
    rows = measure_pairs(parts, key, options.pairs or goal.pairs, our_side(goal.words, goal.steps, **where), theirs)
    reached = sum(row["ours"]["loss"] <= goal.loss for row in rows)
    found: dict[str, Any] = {"words": goal.words, "steps": goal.steps, "their_steps": measured_steps, **where}
    found |= {"title": goal.title, "loss": goal.loss, "share": goal.share, "extrapolated": goal.extrapolated}
    return found | {"reached": reached, "their_loss": goal.their_loss} | summary(rows)


def extrapolated(side: Side, recipe: Recipe, measured_steps: int) -> Side:
    """Return a side that measures a few steps and extrapolates the time of them all."""

    def measure(folder: Path, number: int) -> Row:
        row = side(folder, number)
        rest = (recipe.steps - measured_steps) * row["step_seconds"]
        about = {"measured_seconds": row["seconds"], "measured_steps": measured_steps, "extrapolated": True}
        return row | about | {"seconds": row["seconds"] + rest}

    return measure


if __name__ == "__main__":
    main()
