"""What each part of the recipe is worth at equal time: exchanged for another, one at a time, with several seeds.

    python -m benchmarks.ablation --steps 400 --seeds 1337 1338 1339 --threads 1

The base trains for `--steps` steps, a variant for as many as fit into the same time, by the median ratio of their step
times, measured in turn in one process. All learn from and are measured on the training part alone
(`benchmarks.trials`). The effect is the variant's loss minus the base's, positive where the part helps: over seeds with
Student's 95 % interval, over text with a block bootstrap of a hundred stretches of the measured text.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.record import Parts, new_parser, parse
from benchmarks.trials import HeldOut, hold_out, open_trial, resolve, run_trial
from nanogpt.evaluation.significance import spread

if TYPE_CHECKING:
    from benchmarks.trials import Change
    from nanogpt.training.trainer import TrainStep

BASE: dict[str, Any] = {"preset": "modern"}
"""The recipe."""
VARIANTS: dict[str, dict[str, Any]] = {
    "AdamW for everything": {
        **{"optimizer": "adamw", "learning_rate": 3e-3, "beta1": 0.9, "beta2": 0.99, "batch_size": 12},
        **{"embedding_rate": 1.0, "head_rate": 1.0, "vector_rate": 1.0, "decay": 0.95},
    },
    "GELU for SwiGLU": {"activation": "gelu"},
    "LayerNorm for RMSNorm": {"norm": "layer"},
    "learned positions for RoPE": {"position": "learned"},
    "no normalised queries and keys": {"qk_norm": False},
    "tied embeddings": {"tie_embeddings": True},
    "first weights scaled by depth for zeros": {"init": "scaled"},
    "half the heads for keys and values": {"n_kv_head": 2},
    "no weight decay": {"weight_decay": 0.0},
    "no warm-up": {"warmup": 0.0},
    "decay all the way": {"decay": 0.95},
    "decay to a tenth": {"final_lr": 0.1},
}
"""Settings that differ from the base, by the name in the table. A part that needs another learning rate to do its best
has it: no part should win by a learning rate that was chosen for it."""
STRETCHES = 100
STEPS_PER_TURN = 5
FREE = {
    *("learning_rate", "embedding_rate", "head_rate", "vector_rate", "warmup", "decay", "final_lr"),
    *("weight_decay", "momentum", "beta1", "beta2", "grad_clip", "init"),
}
"""Settings that do not change the time of a step: their variants make the base's steps, and need no timing."""


def main() -> None:
    """Measure what is missing, print and record."""
    parser = new_parser(__doc__, threads=True, texts=["shakespeare"], steps=400, seeds=[1337, 1338, 1339], rounds=7)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="VARIANT")
    options, parts = parse(parser, "ablation")
    base = BASE | {"steps": options.steps} | ({"threads": options.threads} if options.threads else {})
    for name in options.variants:
        resolve(base | VARIANTS[name])  # raises before anything is trained
    found = {}
    with tempfile.TemporaryDirectory(prefix="ablation-") as folder:
        for source in options.texts:
            text = hold_out(source, Path(folder))
            found[text.name] = measure(parts, text, base, options.variants, seeds=options.seeds, rounds=options.rounds)
    parts.write({"base": base, "seeds": options.seeds, "texts": found})


def measure(
    parts: Parts, text: HeldOut, base: dict[str, Any], names: Sequence[str], *, seeds: Sequence[int], rounds: int
) -> list[dict[str, Any]]:
    """Measure variants on one text; return their rows, the largest effect first."""

    def trials(named: dict[str, Any]) -> list[dict[str, Any]]:
        each = [named | {"seed": seed} for seed in seeds]
        train = partial(run_trial, text, stretches=STRETCHES)
        return [parts.measure({"text": text.name, "settings": one}, partial(train, one)) for one in each]

    reference = trials(base)
    recipe = {"name": "the recipe", "settings": {}, "step_cost": 1.0, "steps": base["steps"]}
    rows = [_row(recipe, reference, reference)]
    for name in names:
        changes, cost = VARIANTS[name], 1.0
        if not changes.keys() <= FREE:
            key = {"cost of": changes, "base": base, "text": text.name, "rounds": rounds}
            cost = parts.measure(key, partial(step_costs, text, base, base | changes, rounds))["ratio"]
        steps = equal_steps(base["steps"], cost)
        variant = {"name": name, "settings": changes, "step_cost": cost, "steps": steps}
        rows.append(_row(variant, trials(base | changes | {"steps": steps}), reference))
    return sorted(rows, key=lambda row: -(float("inf") if row["effect"] is None else row["effect"]))


def equal_steps(steps: int, cost: float) -> int:
    """Return the steps in the same time, where one costs `cost` times the base's."""
    return max(1, round(steps / cost))


def step_costs(
    text: HeldOut, base: dict[str, Any], variant: dict[str, Any], rounds: int, change: "Change | None" = None
) -> dict[str, Any]:
    """Return the ratio of a variant's step time to the base's, measured in turn: the median, and every round's.

    A turn's steps are spread over the run, because a variant may do more in one part of it than in another.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(base.get("threads") or before)
    steps = [base["steps"] * (2 * turn + 1) // (2 * STEPS_PER_TURN) for turn in range(STEPS_PER_TURN)]
    try:
        with tempfile.TemporaryDirectory(prefix="costs-") as folder:
            both = [
                open_trial(text, base, Path(folder) / "base").train_step,
                open_trial(text, variant, Path(folder) / "variant", change).train_step,
            ]
            found = [tuple(_seconds(train_step, steps) for train_step in both) for _ in range(rounds + 1)]
    finally:
        torch.set_num_threads(before)
    ratios = [one / other for other, one in found[1:]]  # the first round warms up both
    return {"ratio": statistics.median(ratios), "ratios": ratios, "base_seconds": found[-1][0] / STEPS_PER_TURN}


def _seconds(train_step: "TrainStep", steps: Sequence[int]) -> float:
    began = time.perf_counter()
    for step in steps:
        train_step(step, 1e-4).tolist()
    return time.perf_counter() - began


def _row(
    variant: dict[str, Any], trials: Sequence[dict[str, Any]], reference: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Compare a variant with the base, seed by seed; without effect where one of the trainings diverged."""
    row = variant | {"parameters": trials[0]["parameters"], "seconds": [trial["seconds"] for trial in trials]}
    pairs = [(trial["loss"], other["loss"]) for trial, other in zip(trials, reference)]
    over_seeds = effect(pairs)
    row |= {"losses": [loss for loss, _ in pairs], "effect": over_seeds["mean"], "seeds": over_seeds["interval"]}
    return row | {"text": None if over_seeds["mean"] is None else text_interval(trials, reference)}


def effect(losses: Sequence[tuple[float | None, float | None]]) -> dict[str, Any]:
    """Return the mean of paired differences and its interval; neither where a training diverged."""
    found: dict[str, Any] = {"pairs": len(losses), "differences": None, "mean": None, "interval": None}
    differences = [one - other for one, other in losses if one is not None and other is not None]
    if not losses or len(differences) < len(losses):
        return found
    found |= {"differences": differences, "mean": round(statistics.fmean(differences), 6)}
    if len(differences) > 1:
        over_pairs = spread(differences)
        found["interval"] = [over_pairs.low, over_pairs.high]
    return found


def text_interval(trials: Sequence[dict[str, Any]], reference: Sequence[dict[str, Any]]) -> list[float] | None:
    """Return the 95 % interval of the mean difference over stretches of the text, averaged over seeds.

    None where the stretches differ, as with another block, or are too few.
    """
    import numpy as np

    from nanogpt.evaluation.intervals import ratio_interval

    tokens = [trial["stretches"][1] for trial in [*trials, *reference]]
    if any(one != tokens[0] for one in tokens):
        return None
    nats = [np.subtract(trial["stretches"][0], other["stretches"][0]) for trial, other in zip(trials, reference)]
    interval = ratio_interval(np.mean(nats, axis=0), np.array(tokens[0]))
    return None if interval is None else [interval.low, interval.high]


if __name__ == "__main__":
    main()
