"""All that is held against a run, row by row as it is done."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nanogpt.interop.proof.compare import Row, make_contexts
from nanogpt.interop.proof.exports import export_rows, given_row
from nanogpt.interop.proof.native import native_rows
from nanogpt.runs.run import Run


def all_rows(run: Run, against: str | os.PathLike[str] | None = None) -> Iterator[Row]:
    """The library's own ways to run a model, and each export, made in a temporary folder; or the one that is given.

    Raises UserError where what is given is no export, damaged, or of another model.
    """
    contexts = make_contexts(run.model, run.tokenizer)
    if against is not None:
        yield given_row(run, contexts, Path(against))
        return
    yield from native_rows(run.model, contexts)
    with tempfile.TemporaryDirectory() as folder:
        yield from export_rows(run, contexts, Path(folder))
