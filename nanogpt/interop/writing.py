"""What every export checks before it writes."""

from pathlib import Path

from nanogpt.errors import UserError
from nanogpt.runs.run import Run


def check_new(place: Path, suffix: str = "") -> None:
    """Raise UserError where something is there already, or where a file's name has not the suffix of its format."""
    if suffix and place.suffix != suffix:
        raise UserError(f"{str(place)!r} has another ending than {suffix}, by which other programs know such a file")
    try:
        there = place.exists() or place.is_symlink()
    except OSError as error:
        raise UserError(f"cannot write {str(place)!r}: {error.strerror}; choose another place") from None
    if there:
        raise UserError(f"{str(place)!r} exists already and is not overwritten: choose another place, or delete it")


def check_library_blocks(run: Run) -> None:
    """Raise UserError where a run was trained with blocks of one's own: no other program has them."""
    if run.plan.block is not None:
        raise UserError(
            f"this run was trained with the blocks {run.plan.block}, which no other program has: only a model with the "
            f"library's own can be exported"
        )
