"""How long our stated trainings take to a loss that nanoGPT's recipes reach, beside those recipes on this machine.

    python -m benchmarks.time_to_loss --nanogpt PATH
    python -m benchmarks.time_to_loss --nanogpt PATH --goals cpu-loss --pairs 1 --short 20 --trial

The goals and our commands are in `benchmarks.recipes`; clock, losses and pairs are those of `benchmarks.side_by_side`,
and each of our pairs has a seed of its own. A goal counts as reached by the runs whose last checkpoint has the loss or
a lower one, and how many these are is told. nanoGPT's recipe for a GPU would take hours on a CPU: so many of its steps
are measured as `recipes` says, what is left of its 5,000 is reckoned at the median of its warm steps, and the record
says that this was extrapolated. Its loss then is the published one.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.pairs import told
from benchmarks.peers.checkout import Recipe
from benchmarks.recipes import GOALS, Goal
from benchmarks.record import Parts
from benchmarks.side_by_side import add_common, print_summary
from benchmarks.sides import Row, Side, measure_pairs, nanogpt_side, our_side, summary


def main() -> None:
    """Measure what is missing, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--goals", nargs="+", choices=[goal.name for goal in GOALS], help="all of them if left out")
    parser.add_argument("--short", type=int, metavar="STEPS", help="so many steps on both sides, for a trial")
    add_common(parser)
    parser.set_defaults(pairs=None)
    options = parser.parse_args()
    parts = Parts("time_to_loss", keep=options.keep, trial=options.trial)
    goals = [goal for goal in GOALS if options.goals is None or goal.name in options.goals]
    found = {goal.name: measure(parts, goal, options) for goal in goals}
    parts.write({"goals": found})


def measure(parts: Parts, goal: Goal, options: argparse.Namespace) -> dict[str, Any]:
    """All pairs of one goal."""
    if options.short is not None:
        goal = replace(goal, steps=options.short, their_steps=min(options.short, goal.their_steps or options.short))
    where = {"threads": options.threads, "device": options.device}
    measured_steps = goal.their_steps or goal.theirs.steps
    key = {"ours": goal.words, "steps": goal.steps, "theirs": goal.theirs.words, "their_steps": measured_steps, **where}
    theirs = nanogpt_side(options.nanogpt, goal.theirs, measured_steps, losses=not goal.extrapolated, **where)
    if goal.extrapolated:
        theirs = reckoned(theirs, goal.theirs, measured_steps)
    rows = measure_pairs(parts, key, options.pairs or goal.pairs, our_side(goal.words, goal.steps, **where), theirs)
    reached = sum(row["ours"]["loss"] <= goal.loss for row in rows)
    found: dict[str, Any] = {"words": goal.words, "steps": goal.steps, "their_steps": measured_steps, **where}
    found |= {"title": goal.title, "loss": goal.loss, "share": goal.share, "extrapolated": goal.extrapolated}
    found |= {"reached": reached, "their_loss": goal.their_loss} | summary(rows)
    print_summary(goal.title + (" (nanoGPT's time extrapolated)" if goal.extrapolated else ""), found)
    print(f"  {reached} of {len(rows)} runs reached {goal.loss}; goal: {goal.share:.3f} of nanoGPT's time")
    print(f"  measured: {told(found['ratios']['seconds'])}", flush=True)
    return found


def reckoned(side: Side, recipe: Recipe, measured_steps: int) -> Side:
    """A side that measures a few steps and reckons the time of them all."""

    def measure(place: Path, number: int) -> Row:
        row = side(place, number)
        rest = (recipe.steps - measured_steps) * row["step_seconds"]
        return row | {
            "seconds": row["seconds"] + rest,
            "measured_seconds": row["seconds"],
            "measured_steps": measured_steps,
            "extrapolated": True,
        }

    return measure


if __name__ == "__main__":
    main()
