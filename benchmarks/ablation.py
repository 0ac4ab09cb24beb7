"""What each part of the recipe is worth at equal time: exchanged for another, one by one, over several seeds.

    python -m benchmarks.ablation --steps 400 --seeds 1337 1338 1339 --threads 1
    python -m benchmarks.ablation --variants "tied embeddings" --steps 10 --seeds 1 2 --rounds 2 --trial

The base makes `--steps` steps. A variant makes as many as fit into the same time: its step is measured against the
base's in one process, by turns, and the median of the rounds' ratios decides. So a part that costs time has to pay for
it, and what else runs on the machine meets both. All learn from and are measured on the training part of the text
alone (`benchmarks.trials`). The effect is the variant's loss less the base's, positive where the part helps: over
seeds the mean of the paired differences with Student's 95 % interval, and over text a block bootstrap of the
differences in a hundred stretches of the measured text, averaged over seeds. What was measured is kept part by part.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.record import Parts, add_part_options
from benchmarks.trials import HeldOut, hold_out, open_trial, resolve, run_trial
from benchmarks.variants import BASE, VARIANTS
from nanogpt.evaluation.significance import spread
from nanogpt.parallel.process import prepare_process

if TYPE_CHECKING:
    from nanogpt.training.trainer import Trainer

STRETCHES = 100
STEPS_IN_TURN = 5
FREE = {
    *("learning_rate", "embedding_rate", "head_rate", "vector_rate", "warmup", "decay", "final_lr"),
    *("weight_decay", "momentum", "beta1", "beta2", "grad_clip", "init"),
}
"""Settings that change no step's time: their variants make the base's steps, and no noise of a clock is in them."""


def main() -> None:
    """Measure what is missing, print and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    parser.add_argument("--texts", nargs="+", default=["shakespeare"])
    parser.add_argument("--steps", type=int, default=400, help="of the base")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337, 1338, 1339])
    parser.add_argument("--rounds", type=int, default=7, help="of the steps that are timed")
    parser.add_argument("--threads", type=int, help="CPU threads; as many as torch takes if left out")
    add_part_options(parser)
    options = parser.parse_args()
    prepare_process()
    parts = Parts("ablation", keep=options.keep, trial=options.trial)
    base = BASE | {"steps": options.steps} | ({"threads": options.threads} if options.threads else {})
    for name in options.variants:
        resolve(base | VARIANTS[name])  # what cannot be had is said before anything is trained
    found = {}
    with tempfile.TemporaryDirectory(prefix="ablation-") as folder:
        for source in options.texts:
            text = hold_out(source, Path(folder))
            found[text.name] = measure(parts, text, base, options.variants, seeds=options.seeds, rounds=options.rounds)
            print("\n".join(table(text.name, found[text.name])), flush=True)
    parts.write({"base": base, "seeds": options.seeds, "texts": found})


def measure(
    parts: Parts, text: HeldOut, base: dict[str, Any], names: Sequence[str], *, seeds: Sequence[int], rounds: int
) -> list[dict[str, Any]]:
    """All variants on one text, the largest effect first."""
    reference = [_trial(parts, text, base | {"seed": seed}) for seed in seeds]
    rows = [
        _row({"name": "the recipe", "settings": {}, "step_cost": 1.0, "steps": base["steps"]}, reference, reference)
    ]
    for name in names:
        cost = _cost(parts, text, base, VARIANTS[name], rounds)
        steps = equal_steps(base["steps"], cost)
        trials = [_trial(parts, text, base | VARIANTS[name] | {"steps": steps, "seed": seed}) for seed in seeds]
        variant = {"name": name, "settings": VARIANTS[name], "step_cost": cost, "steps": steps}
        rows.append(_row(variant, trials, reference))
        print(f"{text.name}: {name}: {rows[-1]['effect']}", flush=True)
    return sorted(rows, key=lambda row: -(float("inf") if row["effect"] is None else row["effect"]))


def _trial(parts: Parts, text: HeldOut, named: dict[str, Any]) -> dict[str, Any]:
    return parts.measure({"text": text.name, "settings": named}, lambda: run_trial(text, named, stretches=STRETCHES))


def _cost(parts: Parts, text: HeldOut, base: dict[str, Any], changes: dict[str, Any], rounds: int) -> float:
    """How many times the base's a variant's step costs."""
    if changes.keys() <= FREE:
        return 1.0
    key = {"cost of": changes, "base": base, "text": text.name, "rounds": rounds}
    ratio: float = parts.measure(key, lambda: step_costs(text, base, base | changes, rounds))["ratio"]
    return ratio


def equal_steps(steps: int, cost: float) -> int:
    """Steps in the same time, where one costs so many times the base's.

    >>> equal_steps(400, 1.25), equal_steps(400, 0.8), equal_steps(1, 9.0)
    (320, 500, 1)
    """
    return max(1, round(steps / cost))


def step_costs(
    text: HeldOut,
    base: dict[str, Any],
    variant: dict[str, Any],
    rounds: int,
    change: "Callable[[Trainer], None] | None" = None,
) -> dict[str, Any]:
    """Seconds of a variant's step over the base's, measured by turns: the median, and every round's.

    A turn's steps are spread over the run, as a variant may do more in one part of it than in another.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(base.get("threads") or before)
    steps = [base["steps"] * (2 * turn + 1) // (2 * STEPS_IN_TURN) for turn in range(STEPS_IN_TURN)]
    try:
        with tempfile.TemporaryDirectory(prefix="costs-") as folder:
            both = [
                open_trial(text, base, Path(folder) / "base").stepper,
                open_trial(text, variant, Path(folder) / "variant", change).stepper,
            ]
            found = [tuple(_seconds(stepper, steps) for stepper in both) for _ in range(rounds + 1)]
    finally:
        torch.set_num_threads(before)
    ratios = [one / other for other, one in found[1:]]  # the first round warms both
    return {"ratio": statistics.median(ratios), "ratios": ratios, "base_seconds": found[-1][0] / STEPS_IN_TURN}


def _seconds(stepper: Any, steps: Sequence[int]) -> float:
    """Of some steps in turn."""
    began = time.perf_counter()
    for step in steps:
        stepper.step(step, 1e-4).tolist()
    return time.perf_counter() - began


def _row(
    variant: dict[str, Any], trials: Sequence[dict[str, Any]], reference: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """A variant beside the base, seed by seed; no effect where one of its trainings diverged."""
    row = variant | {"parameters": trials[0]["parameters"], "seconds": [trial["seconds"] for trial in trials]}
    row |= {"losses": [trial["loss"] for trial in trials], "effect": None, "seeds": None, "text": None}
    if any(trial["loss"] is None for trial in [*trials, *reference]):
        return row
    differences = [trial["loss"] - other["loss"] for trial, other in zip(trials, reference)]
    row["effect"] = statistics.fmean(differences)
    if len(differences) > 1:
        over_seeds = spread(differences)
        row["seeds"] = [over_seeds.low, over_seeds.high]
    row["text"] = text_interval(trials, reference)
    return row


def text_interval(trials: Sequence[dict[str, Any]], reference: Sequence[dict[str, Any]]) -> list[float] | None:
    """The 95 % interval of the mean difference over stretches of the text, averaged over seeds.

    None where the stretches are not the same, as with another block, or too few.
    """
    import numpy as np

    from nanogpt.evaluation.intervals import ratio_interval

    tokens = [trial["stretches"][1] for trial in [*trials, *reference]]
    if any(one != tokens[0] for one in tokens):
        return None
    nats = [
        np.array(trial["stretches"][0]) - np.array(other["stretches"][0]) for trial, other in zip(trials, reference)
    ]
    interval = ratio_interval(np.mean(nats, axis=0), np.array(tokens[0]))
    return None if interval is None else [interval.low, interval.high]


def table(name: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    """A text's rows, the largest effect first."""
    lines = [
        f"\n{name}: loss above the recipe's at equal time, largest first",
        f"{'':<42}{'effect':>9}  {'95 % over seeds':<20}{'95 % over text':<20}{'cost':>6}{'steps':>7}{'loss':>9}",
    ]
    for row in rows:
        effect = "diverged" if row["effect"] is None else f"{row['effect']:+.4f}"
        losses = [loss for loss in row["losses"] if loss is not None]
        mean = f"{statistics.fmean(losses):.4f}" if losses else "–"
        between = "".join(f"{_between(row[over]):<20}" for over in ("seeds", "text"))
        lines.append(f"{row['name']:<42}{effect:>9}  {between}{row['step_cost']:>6.2f}{row['steps']:>7,}{mean:>9}")
    return lines


def _between(ends: Sequence[float] | None) -> str:
    return "–" if ends is None else f"{ends[0]:+.4f} to {ends[1]:+.4f}"


if __name__ == "__main__":
    main()
