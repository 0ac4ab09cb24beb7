"""What every export checks before it writes."""

from pathlib import Path

from nanogpt.errors import UserError
from nanogpt.run import Run


def check_new(place: Path) -> None:
    """Raise UserError where something is there already."""
    if place.exists() or place.is_symlink():
        raise UserError(f"{str(place)!r} exists already and is not overwritten: choose another place, or delete it")


def check_library_blocks(run: Run) -> None:
    """Raise UserError where a run was trained with blocks of one's own: no other program has them."""
    if run.plan.block is not None:
        raise UserError(
            f"this run was trained with the blocks {run.plan.block}, which no other program has: only a model with the "
            f"library's own can be exported"
        )
