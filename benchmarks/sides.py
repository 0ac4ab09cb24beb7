"""The sides of a comparison, each a training in fresh processes that ends in one row of figures, and their pairs."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.ours import Ours
from benchmarks.pairs import one_pair, ratios, values
from benchmarks.peers.checkout import Checkout, Recipe
from benchmarks.peers.lecture import Lecture
from benchmarks.record import Parts

Row = dict[str, Any]
Side = Callable[[Path, int], Row]
"""Measures in a folder that does not exist yet, for the pair of this number."""
FIRST_SEED = 1337


def our_side(
    words: Sequence[str], steps: int, *, threads: int | None = None, device: str = "cpu", losses: bool = True
) -> Side:
    """`nanogpt train shakespeare WORDS --steps STEPS`, each pair with a seed of its own.

    The loss is the last checkpoint's; without `losses` none is measured.
    """

    def measure(place: Path, number: int) -> Row:
        side, seed = Ours(place, threads), FIRST_SEED + number
        trained = side.train(["shakespeare", *words], steps, "--device", device, "--seed", str(seed))
        row = (
            {"seed": seed}
            | asdict(trained.clock)
            | {"peak_megabytes": trained.peak_megabytes, "parameters": side.parameters()}
        )
        row |= {"step_seconds": side.step_seconds(), "import_seconds": side.import_seconds()}
        return row | (side.whole_split() if losses else {})

    return measure


def nanogpt_side(
    source: Path,
    recipe: Recipe,
    steps: int | None = None,
    *,
    threads: int | None = None,
    device: str = "cpu",
    losses: bool = True,
) -> Side:
    """A recipe of nanoGPT's, or its first `steps`; what preparing its data takes is counted."""

    def measure(place: Path, number: int) -> Row:
        side = Checkout(source, place, threads=threads)
        prepared = side.prepare()
        trained = side.train(recipe, steps, device)
        row = asdict(trained.clock) | {"peak_megabytes": trained.peak_megabytes, "version": side.version()}
        for name in ("seconds", "first_step_seconds"):
            row[name] += prepared
        row |= {"prepare_seconds": prepared, "import_seconds": side.import_seconds()}
        return row | (side.whole_split() if losses else {})

    return measure


def lecture_side(source: Path, steps: int, *, threads: int | None = None, device: str = "cpu") -> Side:
    """Some steps of the lecture's gpt.py. It saves nothing that a loss could be measured of."""

    def measure(place: Path, number: int) -> Row:
        side = Lecture(source, place, threads)
        trained = side.train(steps, device)
        return asdict(trained.clock) | {"peak_megabytes": trained.peak_megabytes, "version": side.version()}

    return measure


def measure_pairs(parts: Parts, key: Mapping[str, Any], pairs: int, ours: Side, theirs: Side) -> list[Row]:
    """So many pairs, each kept as a part with the rows `ours` and `theirs`, and told as it is there."""
    rows = []
    for number in range(pairs):
        rows.append(parts.measure({**key, "pair": number}, partial(_measure, number, ours, theirs)))
        print(f"pair {number}: {_told(rows[-1])}", flush=True)
    return rows


def _measure(number: int, ours: Side, theirs: Side) -> Row:
    with tempfile.TemporaryDirectory(prefix="pair-") as folder:
        places = {side: Path(folder) / side for side in ("ours", "theirs")}
        found = one_pair(number, lambda: ours(places["ours"], number), lambda: theirs(places["theirs"], number))
    return dict(zip(("ours", "theirs"), found))


def _told(row: Row) -> str:
    told = []
    for side in ("ours", "theirs"):
        loss = f", loss {row[side]['loss']:.4f}" if "loss" in row[side] else ""
        told.append(f"{side} {row[side]['seconds']:.2f} s{loss}, {row[side]['peak_megabytes']:.0f} MB")
    return "; ".join(told)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """What the pairs say: each side's figures, and the ratios of ours to theirs."""
    names = [name for name in FIGURES if all(_has(row, name) for row in rows)]
    found: dict[str, Any] = {"pairs": len(rows), "ours": {}, "theirs": {}, "ratios": {}}
    for name in names:
        both = [[FIGURES[name](row[side]) for row in rows] for side in ("ours", "theirs")]
        found["ours"][name], found["theirs"][name] = (values(one) for one in both)
        found["ratios"][name] = ratios(*both)
    for side in ("ours", "theirs"):
        losses = [row[side]["loss"] for row in rows if "loss" in row[side]]
        if losses:
            found[side]["loss"] = values(losses)
            found[side]["loss_interval"] = rows[0][side]["loss_interval"]
            found[side]["protocol"] = rows[0][side]["protocol"]
    return found | {"rows": list(rows)}


FIGURES: dict[str, Callable[[Row], float]] = {
    "seconds": lambda row: row["seconds"],
    "without_imports": lambda row: row["seconds"] - row["import_seconds"],
    "step_seconds": lambda row: row["step_seconds"],
    "peak_megabytes": lambda row: row["peak_megabytes"],
}
"""What is compared, and how it follows from a row."""


def _has(row: Row, name: str) -> bool:
    try:
        return all(FIGURES[name](row[side]) > 0 for side in ("ours", "theirs"))  # a few steps take less than imports
    except (KeyError, TypeError):
        return False
