"""A run as one page of HTML, which runs its model in any browser, from a disk and without a network."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.files import FORMAT, write_atomically
from nanogpt.interop.html.quantise import pack
from nanogpt.interop.html.template import fill_template
from nanogpt.interop.writing import check_library_blocks, check_new
from nanogpt.model.parameters import count_parameters
from nanogpt.runs.run import Run
from nanogpt.runs.weights import model_tensors
from nanogpt.text.foreign import ForeignTokenizer

LARGEST = 30_000_000
"""Parameters of the largest model: 40 MB of page, which a phone still opens."""
BYTES_PER_PARAMETER = 4 / 3
"""Of a page: base64 writes 3 bytes as 4."""


def export_html(run: Run, file: str | os.PathLike[str]) -> Path:
    """Write a run's model as a page that a browser opens by itself; returns its path.

    Weights are rounded to 8 bits, one scale a row (`quantise`). Raises UserError where the file exists, where the model
    is larger than 30 million parameters, and where it has a part that the page does not.

    >>> from nanogpt.interop.html.export import export_html
    >>> export_html(nanogpt.load(folder), "cats.html").read_text(encoding="utf-8")[:15]
    '<!doctype html>'
    """
    place = Path(file)
    check_new(place, ".html")
    check_library_blocks(run)
    config = run.config.model
    if config.mask_documents:
        raise UserError("the page has no mask_documents: train without it to export the model as HTML")
    if isinstance(run.tokenizer, ForeignTokenizer):
        raise UserError(
            "the page has the tokenizers char, byte and bpe, and this model one that divides text by another rule than "
            "GPT-2's: it cannot be exported as HTML"
        )
    check_size(config)
    slots, packed = pack(model_tensors(run.model))
    model = {
        "format": FORMAT,
        "config": {key: value for key, value in asdict(config).items() if value is not None},
        "tensors": [one.to_dict() for one in slots],
        "tokenizer": run.tokenizer.to_dict() | {"vocab_size": run.tokenizer.vocab_size},
        "about": _about(run),
    }
    try:
        write_atomically(place, fill_template(model, packed))
    except OSError as error:
        raise UserError(f"cannot write {str(place)!r}: {error.strerror}; choose another file") from None
    return place


def check_size(config: ModelConfig) -> None:
    """Raise UserError, telling its size, for a model that is too large for a page."""
    parameters = count_parameters(config).total
    if parameters > LARGEST:
        raise UserError(
            f"the model has {parameters:,} parameters, and a page holds at most {LARGEST:,}: it would be "
            f"{parameters * BYTES_PER_PARAMETER / 1e6:,.0f} MB to open, and slow; train a smaller one for a page"
        )


def _about(run: Run) -> dict[str, Any]:
    """What the page tells of its model."""
    return {
        "text": run.plan.text,
        "preset": Path(run.config.preset).name,
        "step": run.step,
        "parameters": run.model.parameter_count,
    }
