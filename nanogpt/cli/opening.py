"""The run that a command works with: the one that was named, else the newest, else the starter, which is told."""

from pathlib import Path
from typing import TYPE_CHECKING

from nanogpt.cli.arguments import tell

if TYPE_CHECKING:
    from nanogpt.runs.run import Run


def open_run(named: str | None, *, checkpoint: str, device: str) -> "Run":
    """Open it, and show what a person should know. Raises UserError as `nanogpt.load`."""
    from nanogpt.runs.run import load

    run = load(chosen(named), checkpoint=checkpoint, device=device)
    tell(run.notes)
    return run


def chosen(named: str | None) -> Path | str:
    """A run's folder, or its name; where it is the starter that nobody asked for, that is shown."""
    if named is not None:
        return named
    from nanogpt.runs.run import newest_or_starter

    path, notes = newest_or_starter()
    tell(notes)
    return path
