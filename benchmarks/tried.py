"""Ideas that are not in the recipe, each added alone: at equal steps, and at equal time.

    python -m benchmarks.tried --texts shakespeare python book.txt --steps 200 --seeds 1337 1338 --threads 1
    python -m benchmarks.tried "z-loss" "value embeddings" --size middle --steps 400

An idea (`benchmarks.ideas`) trains on the same texts with the same seeds as the recipe: with as many steps, and with as
many as fit into the recipe's time (`benchmarks.ablation`). A difference is the idea's loss minus the recipe's, negative
where it helps; its 95 % interval is Student's, over the pairs of text and seed. With names, the table is not recorded.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.ablation import BASE, FREE, effect, equal_steps, step_costs
from benchmarks.record import Parts, new_parser, parse
from benchmarks.trials import HeldOut, hold_out, resolve, run_trial

if TYPE_CHECKING:
    from benchmarks.ideas import Idea

SIZES: dict[str, dict[str, Any]] = {
    "small": {},
    "middle": {"n_layer": 5, "n_head": 6, "n_embd": 192, "block_size": 128, "batch_size": 32, "dropout": 0.1},
    "repeated": {
        **{"n_layer": 4, "n_head": 6, "n_embd": 192, "block_size": 128, "batch_size": 16},
        **{"dropout": 0.2, "weight_decay": 0.35},
    },
}
"""The preset's own, one that takes minutes to learn a megabyte, and one that could memorize a short text."""


def main() -> None:
    """Measure what is missing, print and record."""
    parser = new_parser(__doc__, threads=True, texts=["shakespeare", "python"], steps=200, seeds=[1337, 1338], rounds=7)
    from benchmarks.ideas import IDEAS  # which imports torch, after the parser has prepared the process

    known = "default: all of " + ", ".join(name.replace("%", "%%") for name in IDEAS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=known)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--equal-steps-only", action="store_true", help="no timing, and no training at equal time")
    options, parts = parse(parser, "tried")
    if unknown := set(options.names) - IDEAS.keys():
        parser.error(f"there is no idea {unknown.pop()!r}; choose from {', '.join(map(repr, IDEAS))}")
    base = BASE | SIZES[options.size] | {"steps": options.steps}
    base |= {"threads": options.threads} if options.threads else {}
    ideas = [IDEAS[name] for name in options.names or IDEAS if not is_recipe(IDEAS[name], base)]
    with tempfile.TemporaryDirectory(prefix="tried-") as folder:
        texts = [hold_out(source, Path(folder)) for source in options.texts]
        rows = measure(parts, texts, base, ideas, options)
    group = {"size": options.size, "steps": options.steps, "texts": sorted(text.name for text in texts)}
    parts.write({"groups": [group | {"seeds": sorted(options.seeds), "rows": rows}]}, record=not options.names)


def measure(
    parts: Parts, texts: Sequence[HeldOut], base: dict[str, Any], ideas: Sequence["Idea"], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Train the recipe and the ideas; return a row for each idea."""

    def train(text: HeldOut, name: str, named: dict[str, Any], idea: "Idea | None" = None) -> float | None:
        key = {"trial of": name, "text": text.name, "settings": resolve(named)}
        trial = partial(run_trial, text, named, change=idea.change if idea else None)
        loss: float | None = parts.measure(key, trial)["loss"]
        return loss

    pairs = [(text, seed) for text in texts for seed in options.seeds]
    recipe = {(text.name, seed): train(text, "the recipe", base | {"seed": seed}) for text, seed in pairs}
    rows = []
    for idea in ideas:
        named, costs = base | idea.settings, dict[str, float]()
        for text in texts if not options.equal_steps_only or is_free(idea) else ():
            key = {"cost of": idea.name, "text": text.name, "settings": resolve(named), "rounds": options.rounds}
            timed = partial(step_costs, text, base, named, options.rounds, idea.change)
            costs[text.name] = 1.0 if is_free(idea) else parts.measure(key, timed)["ratio"]
        same_steps, same_time = [], []
        for text, seed in pairs:
            loss, reference = train(text, idea.name, named | {"seed": seed}, idea), recipe[text.name, seed]
            same_steps.append((loss, reference))
            if text.name in costs:
                steps = equal_steps(base["steps"], costs[text.name])
                if steps != base["steps"]:
                    loss = train(text, idea.name, named | {"seed": seed, "steps": steps}, idea)
                same_time.append((loss, reference))
        effects = {"equal_steps": effect(same_steps), "equal_time": effect(same_time)}
        row = {"idea": idea.name, "in_qwen3": idea.in_qwen3, **effects}
        row["step_cost"] = statistics.median(costs.values()) if costs else None
        rows.append(row | {"verdict": verdict(effects["equal_time" if same_time else "equal_steps"])})
    return rows


def is_free(idea: "Idea") -> bool:
    """Return whether its steps are known to take as long as the recipe's."""
    return idea.change is None and idea.settings.keys() <= FREE


def is_recipe(idea: "Idea", base: Mapping[str, Any]) -> bool:
    """Return whether it changes nothing of this base. Raises UserError for settings that contradict each other."""
    return resolve({**base, **idea.settings}) == resolve(base) and idea.change is None


def verdict(found: Mapping[str, Any]) -> str:
    """Return what an effect shows, by its interval alone."""
    if found["pairs"] and found["mean"] is None:
        return "diverges"
    if found["interval"] is None:
        return "one pair has no interval"
    low, high = found["interval"]
    return "helps" if high < 0 else "hurts" if low > 0 else "no difference"


if __name__ == "__main__":
    main()
