r"""Every combination of some settings, trained and measured without the validation part, to choose defaults by.

    python -m benchmarks.sweep rates --texts shakespeare python book.txt \
        --grid learning_rate=0.01,0.02 n_layer=2,3 dropout=0.1 --steps 200 --seeds 1337 1338 --threads 1
    python -m benchmarks.sweep rates --show

Each training becomes a line of `records/sweeps/NAME.jsonl` when it ends (`benchmarks.trials`), and is not run again.
The grid takes any setting of `nanogpt.config`, with one or several values, and `steps` and `preset`.
"""

import itertools
import json
import statistics
import tempfile
import time
from ast import literal_eval
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import RECORDS, circumstances, new_parser
from benchmarks.trials import TrialFile, hold_out, resolve, run_trial

SWEEPS = RECORDS / "sweeps"


def main() -> None:
    """Train what is missing, print the tables."""
    parser = new_parser(__doc__, threads=True, texts=["shakespeare"], steps=[200], seeds=[1337])
    parser.add_argument("name", help="name of the file in records/sweeps")
    parser.add_argument("--grid", nargs="+", default=[], metavar="KEY=VALUE,VALUE")
    parser.add_argument("--measure-tokens", type=int, help="held-out tokens to measure, evenly spaced (default: all)")
    parser.add_argument("--show", action="store_true", help="print the tables without training")
    options = parser.parse_args()
    file = TrialFile(SWEEPS / f"{options.name}.jsonl")
    if not options.show:
        grid = parse_grid(options.grid)
        grid.setdefault("steps", options.steps)
        if options.threads:
            grid["threads"] = [options.threads]
        train_missing(file, options.texts, combinations(grid, options.seeds), options.measure_tokens)
    print("\n".join(tables(file.rows())))


def parse_grid(words: Sequence[str]) -> dict[str, list[Any]]:
    """Return settings and their values.

    >>> parse_grid(["n_layer=2,3", "learning_rate=1e-2", "bias=false", "activation=gelu,relu", "head_size=none"])
    {'n_layer': [2, 3], 'learning_rate': [0.01], 'bias': [False], 'activation': ['gelu', 'relu'], 'head_size': [None]}
    """
    found = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not equals or not values:
            raise SystemExit(f"{word!r} is not a setting: write NAME=VALUE or NAME=VALUE,VALUE")
        found[name.replace("-", "_")] = [_value(value) for value in values.split(",")]
    return found


def _value(word: str) -> Any:
    try:
        return literal_eval(word.capitalize() if word.lower() in ("true", "false", "none") else word)
    except (ValueError, SyntaxError):
        return word


def combinations(grid: dict[str, list[Any]], seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return what each training names: the whole product, all with the first seed before the second."""
    products = [dict(zip(grid, values)) for values in itertools.product(*grid.values())]
    found = [one | {"seed": seed} for seed in seeds for one in products]
    for named in found:
        resolve(named)  # raises before anything is trained
    return found


def train_missing(
    file: TrialFile, texts: Sequence[str], trials: Sequence[dict[str, Any]], measure_tokens: int | None = None
) -> None:
    """Train what the file does not have, text by text, and add it."""
    measured_in = circumstances()
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        for source in texts:
            text = hold_out(source, Path(folder))
            missing = [named for named in trials if not file.has(text.name, named)]
            print(f"{text.name}: {len(missing)} of {len(trials)} to train", flush=True)
            for number, named in enumerate(missing, 1):
                began = time.monotonic()
                row = run_trial(text, named, measure_tokens)
                row |= {"whole_seconds": round(time.monotonic() - began, 2), "named": named, "settings": resolve(named)}
                file.append(row | measured_in)
                settings = " ".join(f"{name}={value}" for name, value in named.items())
                result = f"{_loss(row['loss'])}  {row['seconds'] or 0:.1f} s  {settings}  {row.get('diverged', '')}"
                print(f"  {number}/{len(missing)} {result.rstrip()}", flush=True)


def tables(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield for each text the combinations by mean loss over seeds, then all of them by mean rank over texts."""
    varied, texts = varied_settings(rows), list(dict.fromkeys(row["text"] for row in rows))
    heading = "".join(f"{name[:17]:>18}" for name in varied)
    places: dict[str, list[tuple[int, float]]] = {}
    for text in texts:
        groups = by_settings([row for row in rows if row["text"] == text], varied)
        ranked = sorted(groups.items(), key=lambda item: mean_loss(item[1]))
        yield f"\n{text}: held-out loss, mean over seeds"
        yield heading + f"{'loss':>9}{'spread':>8}{'n':>3}{'seconds':>9}{'parameters':>12}{'tokens':>13}"
        for rank, (key, group) in enumerate(ranked, 1):
            places.setdefault(key, []).append((rank, mean_loss(group) - mean_loss(ranked[0][1])))
            losses = [row["loss"] for row in group if row["loss"] is not None]
            seconds = statistics.median(row["seconds"] for row in group if row["seconds"]) if losses else 0.0
            spread = f"{max(losses) - min(losses):.4f}" if len(losses) > 1 else "–"
            sizes = f"{group[0]['parameters']:>12,}{group[0]['tokens']:>13,}"
            yield f"{_cells(key)}{_loss(mean_loss(group)):>9}{spread:>8}{len(group):>3}{seconds:>9.1f}{sizes}"
    shared = {key: found for key, found in places.items() if len(found) == len(texts)}
    if len(texts) > 1 and shared:
        yield f"\nmean over {len(texts)} texts ({', '.join(texts)}): rank, and loss above each text's best"
        yield heading + f"{'rank':>7}{'above':>9}"
        for key, found in sorted(shared.items(), key=lambda item: statistics.mean(rank for rank, _ in item[1])):
            rank, above = (statistics.mean(values) for values in zip(*found))
            yield _cells(key) + f"{rank:>7.2f}{above:>9.4f}"


def varied_settings(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the settings that differ between rows that have them, without the seed."""
    names = dict.fromkeys(name for row in rows for name in row["settings"] if name not in ("seed", "eval_every"))
    values = {name: {json.dumps(row["settings"][name]) for row in rows if name in row["settings"]} for name in names}
    return [name for name, found in values.items() if len(found) > 1]


def by_settings(rows: Sequence[dict[str, Any]], varied: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each combination, by its values of the varied settings as JSON."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(json.dumps({name: row["settings"].get(name) for name in varied}), []).append(row)
    return groups


def mean_loss(group: Sequence[dict[str, Any]]) -> float:
    """Return the mean loss over seeds; infinity where a training diverged."""
    return statistics.mean(float("inf") if row["loss"] is None else row["loss"] for row in group)


def _loss(loss: float | None) -> str:
    return "diverged" if loss is None or loss == float("inf") else f"{loss:.4f}"


def _cells(key: str) -> str:
    return "".join(f"{'–' if value is None else value!s:>18}" for value in json.loads(key).values())


if __name__ == "__main__":
    main()
