"""Ideas that are not in the recipe, each put into it alone: at equal steps, and in the same time.

    python -m benchmarks.tried --texts shakespeare python book.txt --steps 200 --seeds 1337 1338 --threads 1
    python -m benchmarks.tried "z-loss" "value embeddings" --size middle --steps 400
    python -m benchmarks.tried --size repeated --texts shakespeare@200000 --steps 800
    python -m benchmarks.tried --show

An idea (`benchmarks.ideas`) trains on the same texts, from the same seeds as the recipe: with as many steps, and with
as many as fit into the recipe's time, by the ratio of their steps measured in turn (`benchmarks.ablation`). All learn
from and are measured on the training part of the text alone (`benchmarks.trials`). A difference is the idea's loss less
the recipe's, negative where it helps; its 95 % interval is Student's, over the pairs of text and seed. Every training
is kept as soon as it ends, and what is there is not run again.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.ablation import FREE, equal_steps, step_costs
from benchmarks.record import Parts
from benchmarks.trials import HeldOut, hold_out, resolve, run_trial
from benchmarks.variants import BASE
from nanogpt.evaluation.significance import spread
from nanogpt.parallel.process import prepare_process

if TYPE_CHECKING:
    from benchmarks.ideas.idea import Idea

RECIPE = "the recipe"
SIZES: dict[str, dict[str, Any]] = {
    "small": {},
    "middle": {"n_layer": 5, "n_head": 6, "n_embd": 192, "block_size": 128, "batch_size": 32, "dropout": 0.1},
    "repeated": {
        **{"n_layer": 4, "n_head": 6, "n_embd": 192, "block_size": 128, "batch_size": 16},
        **{"dropout": 0.2, "weight_decay": 0.35},
    },
}
"""The preset's own, one that takes minutes to learn a megabyte, and one that could learn a short text by heart."""

Key = dict[str, Any]


def main() -> None:
    """Measure what is missing, record and print all there is."""
    prepare_process()  # before torch, which the ideas import
    from benchmarks.ideas.all_ideas import IDEAS

    options = _options(list(IDEAS))
    parts = Parts("tried", keep=True, trial=options.trial)
    ideas = [IDEAS[name] for name in options.names or IDEAS]
    base = BASE | SIZES[options.size] | {"steps": options.steps}
    base |= {"threads": options.threads} if options.threads else {}
    rows = parts.file.rows()
    if not options.show:
        for idea in ideas:
            resolve(base | idea.settings)  # what cannot be had is said before anything is trained
        with tempfile.TemporaryDirectory(prefix="tried-") as folder:
            for source in options.texts:
                text = hold_out(source, Path(folder))
                rows.extend(measure(parts, text, base, ideas, options))
    groups = sum_up(rows, IDEAS)
    print("\n".join(line for group in groups for line in table(group)))
    if groups and not options.show:
        parts.write({"groups": groups})


def _options(names: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = "all if left out: " + ", ".join(name.replace("%", "%%") for name in names)
    parser.add_argument("names", nargs="*", metavar="NAME", help=known)
    parser.add_argument("--texts", nargs="+", default=["shakespeare", "python"])
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--steps", type=int, default=200, help="of the recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337, 1338])
    parser.add_argument("--rounds", type=int, default=7, help="of the steps that are timed")
    parser.add_argument("--threads", type=int, help="CPU threads; as many as torch takes if left out")
    parser.add_argument("--equal-steps-only", action="store_true", help="time nothing, and train nothing at equal time")
    parser.add_argument("--trial", action="store_true", help="measure, but keep and record nothing")
    parser.add_argument("--show", action="store_true", help="the table of what there is, without training")
    options = parser.parse_args()
    for name in options.names:
        if name not in names:
            parser.error(f"{name!r} is no idea here; there are {', '.join(map(repr, names))}")
    return options


def measure(
    parts: Parts, text: HeldOut, base: dict[str, Any], ideas: Sequence["Idea"], options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """All there is to know of one text, seed by seed, the recipe first."""
    size, ratios = options.size, {idea.name: 1.0 for idea in ideas if is_free(idea)}
    for seed in options.seeds:
        named = base | {"seed": seed}
        yield parts.measure(trial_key(RECIPE, text.name, size, named), partial(run_trial, text, named))
        for idea in ideas:
            if is_recipe(idea, base):
                continue
            yield _trial(parts, text, size, named, idea)
            if options.equal_steps_only:
                continue
            if idea.name not in ratios:
                cost = partial(step_costs, text, base, base | idea.settings, options.rounds, idea.change)
                yield (row := parts.measure(cost_key(idea.name, text.name, size, base | idea.settings), cost))
                ratios[idea.name] = row["ratio"]
            steps = equal_steps(base["steps"], ratios[idea.name])
            yield (row := _trial(parts, text, size, named | {"steps": steps}, idea))
            loss = "diverged" if row["loss"] is None else f"{row['loss']:.4f}"
            print(f"{text.name}, seed {seed}: {idea.name}: {loss} in {steps} steps", flush=True)


def _trial(parts: Parts, text: HeldOut, size: str, named: dict[str, Any], idea: "Idea") -> dict[str, Any]:
    named = named | idea.settings
    train = partial(run_trial, text, named, change=idea.change)
    return parts.measure(trial_key(idea.name, text.name, size, named), train)


def is_free(idea: "Idea") -> bool:
    """Whether its steps cost what the recipe's do, without measuring them."""
    return idea.change is None and idea.settings.keys() <= FREE


def is_recipe(idea: "Idea", base: Mapping[str, Any]) -> bool:
    """Whether it changes nothing of this base."""
    return idea.change is None and resolve({**base, **idea.settings}) == resolve(base)


def trial_key(name: str, text: str, size: str, named: Mapping[str, Any]) -> Key:
    """What a training is known by: with every setting, so that another default makes another one."""
    return {"trial of": name, "text": text, "size": size, "seed": named["seed"], "settings": resolve(named)}


def cost_key(name: str, text: str, size: str, named: Mapping[str, Any]) -> Key:
    """What a ratio of steps is known by."""
    return {"cost of": name, "text": text, "size": size, "settings": resolve(named)}


def sum_up(rows: Sequence[dict[str, Any]], ideas: Mapping[str, "Idea"]) -> list[dict[str, Any]]:
    """For each size and length of the recipe its ideas, from what was measured with the settings of today."""
    found = {json.dumps(row["key"], sort_keys=True): row for row in rows}
    pairs: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for row in found.values():
        key = row["key"]
        if key.get("trial of") == RECIPE and key["size"] in SIZES:
            named = BASE | SIZES[key["size"]] | {"steps": key["settings"]["steps"], "seed": key["seed"]}
            if resolve(named) == key["settings"]:
                pairs.setdefault((key["size"], named["steps"]), []).append(row)
    groups = []
    for (size, steps), recipe in pairs.items():
        one = [_sum_up_idea(found, idea, size, recipe) for idea in ideas.values()]
        groups.append(
            {
                "size": size,
                "steps": steps,
                "texts": sorted({row["key"]["text"] for row in recipe}),
                "seeds": sorted({row["key"]["seed"] for row in recipe}),
                "rows": [row for row in one if row["equal_steps"]["pairs"]],
            }
        )
    return groups


def _sum_up_idea(
    found: Mapping[str, dict[str, Any]], idea: "Idea", size: str, recipe: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Its differences from the recipe's trainings, at equal steps and at equal time."""
    ratios: dict[str, float] = {}
    losses: dict[str, list[tuple[float | None, float | None]]] = {"equal_steps": [], "equal_time": []}
    for row in recipe:
        text, steps = row["key"]["text"], row["key"]["settings"]["steps"]
        named = {**BASE, **SIZES[size], **idea.settings, "steps": steps, "seed": row["key"]["seed"]}

        def look(key: Key) -> dict[str, Any] | None:
            return found.get(json.dumps(key, sort_keys=True))

        unseeded = {name: value for name, value in named.items() if name != "seed"}
        cost = look(cost_key(idea.name, text, size, unseeded))
        ratio = 1.0 if is_free(idea) else None if cost is None else cost["ratio"]
        if (trial := look(trial_key(idea.name, text, size, named))) is not None:
            losses["equal_steps"].append((trial["loss"], row["loss"]))
        if ratio is not None:
            ratios[text] = ratio
            at_equal_time = named | {"steps": equal_steps(steps, ratio)}
            if (trial := look(trial_key(idea.name, text, size, at_equal_time))) is not None:
                losses["equal_time"].append((trial["loss"], row["loss"]))
    effects = {name: effect(pairs) for name, pairs in losses.items()}
    decides = effects["equal_time"] if effects["equal_time"]["pairs"] else effects["equal_steps"]
    return {
        "idea": idea.name,
        "in_qwen3": idea.in_qwen3,
        "step_cost": statistics.median(ratios.values()) if ratios else None,
        **effects,
        "verdict": verdict(decides),
    }


def effect(losses: Sequence[tuple[float | None, float | None]]) -> dict[str, Any]:
    """The mean of paired differences and its interval; neither where a training diverged.

    >>> effect([(1.9, 2.0), (2.8, 3.0)])["mean"]
    -0.15
    """
    found: dict[str, Any] = {"pairs": len(losses), "differences": None, "mean": None, "interval": None}
    differences = [one - other for one, other in losses if one is not None and other is not None]
    if not losses or len(differences) < len(losses):
        return found
    found |= {"differences": differences, "mean": round(statistics.fmean(differences), 6)}
    if len(differences) > 1:
        over_pairs = spread(differences)
        found["interval"] = [over_pairs.low, over_pairs.high]
    return found


def verdict(found: Mapping[str, Any]) -> str:
    """What an effect says, by its interval alone."""
    if found["pairs"] and found["mean"] is None:
        return "diverges"
    if found["interval"] is None:
        return "one run tells nothing"
    low, high = found["interval"]
    return "helps" if high < 0 else "hurts" if low > 0 else "no difference"


def table(group: Mapping[str, Any]) -> Iterator[str]:
    """A size and length, the ideas that help most first."""
    yield f"\n{group['size']}, {group['steps']} steps, on {', '.join(group['texts'])}: loss less the recipe's"
    yield f"{'':<58}{'equal steps':>12}{'95 %':>20}{'cost':>7}{'equal time':>12}{'95 %':>20}{'n':>4}"
    for row in in_order(group["rows"]):
        cost = "–" if row["step_cost"] is None else f"{row['step_cost']:.2f}"
        one, other = (_told(row[name]) for name in ("equal_steps", "equal_time"))
        yield f"{row['idea']:<58}{one}{cost:>7}{other}{row['equal_steps']['pairs']:>4}  {row['verdict']}"


def in_order(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By the difference at equal time, else at equal steps; what diverges last."""

    def place(row: Mapping[str, Any]) -> float:
        means = [row[name]["mean"] for name in ("equal_time", "equal_steps")]
        return next((mean for mean in means if mean is not None), float("inf"))

    return sorted(rows, key=place)


def _told(found: Mapping[str, Any]) -> str:
    mean = "–" if found["mean"] is None else f"{found['mean']:+.4f}"
    ends = "–" if found["interval"] is None else f"{found['interval'][0]:+.4f} to {found['interval'][1]:+.4f}"
    return f"{mean:>12}{ends:>20}"


if __name__ == "__main__":
    main()
