"""`nanogpt plan`: what so many minutes would give, as a table, without training."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from nanogpt.cli.arguments import (
    OptionalNumber,
    OptionalText,
    StartFrom,
    Switch,
    optional,
    parse_with_settings,
    with_settings,
)

if TYPE_CHECKING:
    from nanogpt.planning.planner import Proposal


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What `nanogpt train` would train in so many minutes, on this text and this machine. Nothing is trained.

    The machine is measured for some seconds. The expected loss is an interval: nine texts in ten should fall into it.
    Settings that are named stay as they are; where a size is named, none is chosen.

    examples:
      nanogpt plan book.txt
      nanogpt plan book.txt --minutes 1 5 20 60 --memory 4
      nanogpt plan book.txt --minutes 30 --n-layer 6 --n-embd 384
    """

    text: Annotated[tyro.conf.Positional[tuple[str, ...]], optional("[TEXT ...]")] = ()
    """as for `nanogpt train`"""
    minutes: Annotated[tuple[float, ...], tyro.conf.arg(metavar="NUMBER ...")] = (1.0, 5.0, 20.0, 60.0)
    """a line of the table for each"""
    memory: Annotated[OptionalNumber, optional("GB")] = None
    """gigabytes that a training may take; if left out, what is free"""
    preset: Annotated[OptionalText, optional("NAME")] = None
    """modern (if left out), gpt2, lecture, or a .toml file of settings"""
    val: Annotated[OptionalText, optional("TEXT")] = None
    """a text to validate on, instead of the last tenth"""
    start_from: StartFrom = None
    """as for `nanogpt train`: what a training that begins with this run would be; without a forecast"""
    json: Switch = False
    """print JSON, for scripts"""


def parse_plan(argv: Sequence[str]) -> tuple[Plan, dict[str, Any]]:
    """The options, and the settings that were named."""
    return parse_with_settings(Plan, "plan", argv)


def all_options() -> type[Plan]:
    """What can be given, for the shell's completion."""
    return with_settings(Plan)


def main(argv: Sequence[str]) -> None:
    """Parse, measure, print."""
    started = time.monotonic()
    options, settings = parse_plan(argv)
    from nanogpt.training.outlook import plan

    named = {name: getattr(options, name) for name in ("minutes", "memory", "preset", "val", "start_from")}
    found = plan(options.text or None, started=started, **named, **settings)
    print(json.dumps([_row(one) for one in found], indent=1) if options.json else "\n".join(table(found)))


def _row(one: "Proposal") -> dict[str, Any]:
    names = ("minutes", "parameters", "steps", "tokens", "epochs", "train_tokens", "memory_bytes")
    row = {name: getattr(one, name) for name in names}
    return row | {
        "expected": None if one.expected is None else asdict(one.expected),
        "config": one.config.to_dict(),
    }


HEADINGS = (
    *("minutes", "parameters", "layers", "channels", "block", "batch", "dropout"),
    *("steps", "tokens", "epochs", "memory", "expected loss"),
)


def table(found: Sequence["Proposal"]) -> list[str]:
    """A line for each proposal, below headings."""
    rows = [HEADINGS, *(_cells(one) for one in found)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADINGS))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows]


def _cells(one: "Proposal") -> tuple[str, ...]:
    model, train, expected = one.config.model, one.config.train, one.expected
    return (
        f"{one.minutes:g}",
        f"{one.parameters:,}",
        str(model.n_layer),
        str(model.n_embd),
        str(model.block_size),
        str(train.batch_size) + (f" x {train.accumulation}" if train.accumulation > 1 else ""),
        f"{model.dropout:g}",
        f"{one.steps:,}",
        f"{one.tokens:,}",
        f"{one.epochs:.1f}",
        f"{one.memory_bytes / 1e9:.1f} GB",
        "–" if expected is None else f"{expected.loss:.2f} ({expected.low:.2f} to {expected.high:.2f})",
    )
