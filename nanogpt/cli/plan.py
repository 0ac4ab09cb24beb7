"""Show what `nanogpt train` would train in N minutes, on this text and this machine, without training.

The command measures the machine for some seconds. The expected loss is an interval that should hold for nine texts in
ten. The planner keeps every setting that you give; if you give a size, it picks none.

Examples:
  nanogpt plan book.txt
  nanogpt plan book.txt --minutes 1 5 20 60 --memory 4
  nanogpt plan book.txt --minutes 30 --n-layer 6 --n-embd 384
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from nanogpt.cli.arguments import Parser, add_settings
from nanogpt.cli.train import EVERYDAY
from nanogpt.training.options import PLAN_MINUTES, TrainOptions

if TYPE_CHECKING:
    from nanogpt.planning.planner import Proposal


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """Options that `nanogpt plan` has in place of those of a training's length and folder."""

    minutes: tuple[float, ...] = PLAN_MINUTES
    """minutes of training, a row of the table for each"""
    json: bool = False
    """print JSON, for scripts"""


def parser(argv: Sequence[str] = ()) -> Parser:
    """Return the command's parser; its help shows the values of the preset that `argv` names."""
    found = Parser("plan", __doc__, (*EVERYDAY, "memory", "json"), "--help-all" in argv)
    found.add_fields(PlanOptions)
    found.add_fields(TrainOptions, leave_out=("minutes", "steps", "out", "seeds", "resume"))
    add_settings(found, argv)
    return found


def main(argv: Sequence[str]) -> None:
    """Plan and print a table."""
    started = time.monotonic()
    given = parser(argv).read(argv)
    from nanogpt.training.options import plan

    as_json = given.pop("json", False)
    found = plan(given.pop("text", None), started=started, **given)
    print(json.dumps([_row(one) for one in found], indent=1) if as_json else "\n".join(table(found)))


def _row(one: "Proposal") -> dict[str, Any]:
    names = ("minutes", "parameters", "steps", "tokens", "epochs", "train_tokens", "memory_bytes")
    expected = None if one.expected is None else asdict(one.expected)
    return {name: getattr(one, name) for name in names} | {"expected": expected, "config": one.config.to_dict()}


def table(found: Sequence["Proposal"]) -> list[str]:
    """Return a line for each proposal, below headings."""
    cells = [_cells(one) for one in found]
    rows = [list(cells[0]), *(list(one.values()) for one in cells)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]


def _cells(one: "Proposal") -> dict[str, str]:
    model, train, loss = one.config.model, one.config.train, one.expected
    return {
        "minutes": f"{one.minutes:g}",
        "parameters": f"{one.parameters:,}",
        "layers": str(model.n_layer),
        "channels": str(model.n_embd),
        "block": str(model.block_size),
        "batch": str(train.batch_size) + (f" x {train.accumulation}" if train.accumulation > 1 else ""),
        "dropout": f"{model.dropout:g}",
        "steps": f"{one.steps:,}",
        "tokens": f"{one.tokens:,}",
        "epochs": f"{one.epochs:.1f}",
        "memory": f"{one.memory_bytes / 1e9:.1f} GB",
        "expected loss": "–" if loss is None else f"{loss.loss:.2f} ({loss.low:.2f} to {loss.high:.2f})",
    }
