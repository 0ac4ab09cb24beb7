"""Ours and a checkout of karpathy/nanoGPT in turn on this machine, pair by pair: time, loss and memory as ratios.

    python -m benchmarks.side_by_side --nanogpt PATH --pairs 5
    python -m benchmarks.side_by_side --nanogpt PATH --steps 40 --our-steps 40 --pairs 2 --trial
    python -m benchmarks.side_by_side --lecture PATH --steps 3 --pairs 2

nanoGPT trains by its README's recipe for a CPU; ours is one of `benchmarks.recipes`, or what `--ours` says. With
`--lecture`, a checkout of karpathy/ng-video-lecture, its `gpt.py` makes a few steps at its own size beside the preset
`lecture`: on a CPU more would take hours.

Every side of every pair is a fresh process with empty caches, and the order changes from pair to pair. The clock is
that of `benchmarks.peers.clock`: from Enter to the last training step, imports and data preparation counted,
evaluations left out. For "without imports" the time of a process that only imports the same modules, measured in the
same pair, is taken off. Losses are whole-split: `nanogpt eval`, and nanoGPT's checkpoint by its own model.py. Memory
is the largest resident set of the training's process. Each pair is kept as soon as it is measured: an interrupted
command goes on with the next one.
"""

import argparse
import shlex
from pathlib import Path
from typing import Any

from benchmarks.pairs import told
from benchmarks.peers.checkout import CPU_RECIPE
from benchmarks.recipes import GOALS
from benchmarks.record import Parts, add_part_options
from benchmarks.sides import lecture_side, measure_pairs, nanogpt_side, our_side, summary

LECTURE = ("--preset", "lecture", "--log-every", "1")


def main() -> None:
    """Measure what is missing, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", type=Path, help="a checkout of karpathy/nanoGPT")
    parser.add_argument("--lecture", type=Path, help="a checkout of karpathy/ng-video-lecture")
    parser.add_argument("--goal", choices=[goal.name for goal in GOALS], default="cpu-time", help="our training")
    parser.add_argument("--ours", type=shlex.split, help="the words of our training instead, without text and steps")
    parser.add_argument("--our-steps", type=int)
    parser.add_argument("--steps", type=int, help="of nanoGPT's recipe (all of it), and of the lecture's (3)")
    add_common(parser)
    options = parser.parse_args()
    if not options.nanogpt and not options.lecture:
        parser.error("name a checkout: --nanogpt PATH, --lecture PATH, or both")
    parts = Parts("side_by_side", keep=options.keep, trial=options.trial)
    result: dict[str, Any] = {}
    if options.nanogpt:
        result["nanogpt"] = beside_nanogpt(parts, options)
    if options.lecture:
        result["lecture"] = beside_the_lecture(parts, options)
    parts.write(result)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options of every comparison."""
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, help="CPU threads of both sides; as many as torch takes if left out")
    parser.add_argument("--device", default="cpu", help="of both sides")
    add_part_options(parser)


def beside_nanogpt(parts: Parts, options: argparse.Namespace) -> dict[str, Any]:
    """Our training beside nanoGPT's recipe for a CPU."""
    goal = next(goal for goal in GOALS if goal.name == options.goal)
    words, steps = options.ours or list(goal.words), options.our_steps or goal.steps
    their_steps = options.steps or CPU_RECIPE.steps
    where = {"threads": options.threads, "device": options.device}
    key = {"ours": words, "steps": steps, "theirs": CPU_RECIPE.words, "their_steps": their_steps, **where}
    ours = our_side(words, steps, **where)
    theirs = nanogpt_side(options.nanogpt, CPU_RECIPE, their_steps, **where)
    found = {"words": words, "steps": steps, "their_steps": their_steps, **where}
    found |= summary(measure_pairs(parts, key, options.pairs, ours, theirs))
    print_summary("nanoGPT, its recipe for a CPU", found)
    return found


def beside_the_lecture(parts: Parts, options: argparse.Namespace) -> dict[str, Any]:
    """A few steps of the preset `lecture` beside the lecture's own program."""
    steps, where = options.steps or 3, {"threads": options.threads, "device": options.device}
    key = {"ours": LECTURE, "steps": steps, "theirs": "gpt.py", **where}
    ours = our_side(LECTURE, steps, losses=False, **where)
    theirs = lecture_side(options.lecture, steps, **where)
    found = {"words": LECTURE, "steps": steps, **where}
    found |= summary(measure_pairs(parts, key, options.pairs, ours, theirs))
    print_summary("the lecture's gpt.py", found)
    return found


def print_summary(title: str, found: dict[str, Any]) -> None:
    """Both sides and their ratio, a line for each figure."""
    print(f"\n{title}: median (lowest–highest)")
    for name, ratio in found["ratios"].items():
        print(f"  {name:<16} ours {told(found['ours'][name])}, theirs {told(found['theirs'][name])}")
        print(f"  {'':<16} ours / theirs {told(ratio)}")
    for side in ("ours", "theirs"):
        if "loss" in found[side]:
            low, high = found[side]["loss_interval"] or (float("nan"), float("nan"))
            print(f"  {side + ' loss':<16} {told(found[side]['loss'], 4)}; 95 % over text {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    main()
