"""`nanogpt verify`: does a run answer the same wherever it is opened?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from nanogpt.cli.arguments import OptionalText, optional, parse
from nanogpt.cli.opening import open_run

if TYPE_CHECKING:
    from nanogpt.interop.proof.compare import Row


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Hold every way to run a model against plain torch: compiled, cached, batched, and each export in its program.

    Exports are made in a temporary folder, unless one is given. On the same weights the logits may differ by what the
    number format explains; the likeliest tokens must be the same up to a tie. What could not be run is told, and is no
    pass. Exit code 1 where something differs by more, or where what was given could not be run.

    examples:
      nanogpt verify runs/book-modern-1
      nanogpt verify runs/book-modern-1 --against book.gguf
    """

    run: Annotated[tyro.conf.Positional[OptionalText], optional("[RUN]")] = None
    """run folder; the newest below runs/ if left out, the starter model where there is none"""
    against: Annotated[OptionalText, optional("FOLDER|FILE")] = None
    """an export: a folder of Transformers, a .gguf or an .html file"""
    checkpoint: Annotated[str, tyro.conf.arg(metavar="best|last|STEP")] = "best"
    """which of the run's checkpoints, or a step of its history"""


HEADINGS = ("", "logits differ by", "allowed", "likeliest tokens", "ids", "weights differ by")
WIDTHS = (18, 18, 10, 38, 10, 18)


def main(argv: Sequence[str]) -> None:
    """Parse, compare, print; exit code 1 where something failed."""
    options = parse(Verify, "verify", argv)
    from nanogpt.interop.proof.rows import all_rows

    run = open_run(options.run, checkpoint=options.checkpoint, device="cpu")
    print(f"{run.name}, step {run.step:,}: each way to run it, held against plain torch on the same weights")
    print(_line(HEADINGS))
    rows = []
    for row in all_rows(run, options.against):
        print("\n".join(described(row)), flush=True)
        rows.append(row)
    failed, missing = [row for row in rows if row.problems], [row for row in rows if row.not_run is not None]
    print(f"{sum(row.passed for row in rows)} agree, {len(failed)} differ, {len(missing)} could not be run")
    if failed or (missing and options.against is not None):
        raise SystemExit(1)


def described(row: "Row") -> Iterator[str]:
    """A row of the table, and below it what failed."""
    if row.not_run is not None:
        yield f"{row.name:<18}not run: {row.not_run}"
        return
    numbers = ("–" if number is None else f"{number:.1e}" for number in (row.difference, row.allowed, row.weights))
    difference, allowed, weights = numbers
    yield _line((row.name, difference, allowed, row.text, row.ids or "–", weights))
    for problem in row.problems:
        yield f"  DIFFERS: {problem}"


def _line(cells: Sequence[str]) -> str:
    """The cells in their columns."""
    return "".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS)).rstrip()
