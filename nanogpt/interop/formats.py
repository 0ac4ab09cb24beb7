"""What the export formats share: checks before writing, and the interface of a program that runs an export."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from nanogpt.errors import UserError
from nanogpt.runs.run import Run


def check_target(path: Path, suffix: str = "") -> None:
    """Raise UserError if something exists at a path, or if its suffix is not the format's."""
    if suffix and path.suffix != suffix:
        raise UserError(f"the file {str(path)!r} does not end in {suffix}, by which other programs know the format")
    try:
        exists = path.exists() or path.is_symlink()
    except OSError as error:
        raise UserError(f"cannot write {str(path)!r}: {error.strerror}; choose another path") from None
    if exists:
        raise UserError(f"{str(path)!r} exists already and is not overwritten: choose another path, or delete it")


def check_library_blocks(run: Run) -> None:
    """Raise UserError if a run was trained with a custom block, which no other program has."""
    if run.plan.block is not None:
        raise UserError(f"this run has the custom block {run.plan.block}, which no other program has: it has no export")


class MissingProgram(UserError):
    """The program that runs an export is not installed; the message says how to install it."""


class ModelProgram(Protocol):
    """Anything that runs a model."""

    def logits(self, ids: Sequence[int]) -> Tensor:
        """Return the logits of the token after each of ids, float32, shape (T, V); T is from 1 to block_size."""

    def greedy(self, ids: Sequence[int], tokens: int) -> list[int]:
        """Return the next `tokens` tokens after ids, always the likeliest; all of them fit in block_size."""


class ExportedModel(ModelProgram, Protocol):
    """An exported model, opened by the program that it was made for."""

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, in which nothing counts as a special token."""

    def close(self) -> None:
        """Free the model's memory and processes."""
