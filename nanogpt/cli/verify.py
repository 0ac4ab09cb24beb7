"""Compare every way to run a model with plain PyTorch: compiled, cached, batched, and each export in its program.

Exports are made in a temporary folder, unless --against names one. With equal weights the logits may differ by what the
number format explains, and the likeliest tokens must be the same up to a tie. Exit code 1 if anything differs by more,
or if the export of --against could not be run.

Examples:
  nanogpt verify runs/book-modern-1
  nanogpt verify runs/book-modern-1 --against book.gguf
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from nanogpt.cli.arguments import RunOptions, option, parser_of, print_notes

if TYPE_CHECKING:
    from nanogpt.interop.verify.compare import Row

HEADINGS = ("", "logits differ by", "allowed", "likeliest tokens", "ids", "weights differ by")
WIDTHS = (18, 18, 10, 38, 14, 18)


@dataclass(frozen=True, kw_only=True)
class Verify(RunOptions):
    """Options of `nanogpt verify`."""

    against: str | None = option("FOLDER|FILE")
    """an export to compare: a folder for Transformers, a .gguf or an .html file"""


parser = partial(parser_of, Verify, "verify", __doc__)


def main(argv: Sequence[str]) -> None:
    """Compare, and print a table; exit with 1 if something differs."""
    options = Verify(**parser().read(argv))
    from nanogpt.cli.export import CHAT_NOTE
    from nanogpt.interop.verify.exports import verify_run

    run = options.open("cpu")
    print(f"{run.name}, step {run.step:,}: each way to run it, compared with plain PyTorch on the same weights")
    if "chat_template" in run.tokenizer.imported:
        print_notes([CHAT_NOTE])
    print(_line(HEADINGS))
    rows = []
    for row in verify_run(run, options.against):
        print("\n".join(describe(row)), flush=True)
        rows.append(row)
    failed, missing = [row for row in rows if row.problems], [row for row in rows if row.not_run is not None]
    print(f"{sum(row.passed for row in rows)} agree, {len(failed)} differ, {len(missing)} could not be run")
    if failed or (missing and options.against is not None):
        raise SystemExit(1)


def describe(row: "Row") -> Iterator[str]:
    """Yield a row of the table, and below it what differs."""
    if row.not_run is not None:
        yield f"{row.name:<18}not run: {row.not_run}"
        return
    numbers = ("–" if number is None else f"{number:.1e}" for number in (row.difference, row.allowed, row.weights))
    difference, allowed, weights = numbers
    yield _line((row.name, difference, allowed, row.text, row.ids or "–", weights))
    for problem in row.problems:
        yield f"  DIFFERS: {problem}"


def _line(cells: Sequence[str]) -> str:
    return "".join(f"{cell:<{width}}" for cell, width in zip(cells, WIDTHS)).rstrip()
