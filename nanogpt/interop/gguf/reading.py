"""The weights of a GGUF file of ours, as the file has them, so that both sides can be compared on the same numbers."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.files import check_plain
from nanogpt.interop.gguf.names import family_for_llama, library, places
from nanogpt.interop.gguf.precision import FILE_TYPES, Precision
from nanogpt.interop.places import to_ours

FORMATS = ("F32", "F16", "Q8_0")
"""Of numbers that an export of ours has."""


def read_gguf(file: str | os.PathLike[str], model: ModelConfig) -> dict[str, Tensor]:
    """Our names and weights, float32, rounded as the file's number format rounds them.

    Raises UserError for a file that is damaged, or not of such a model.
    """
    path, family = Path(file), family_for_llama(model)
    check_plain(path)
    table = places(model, family)
    kind, found, _ = _open(path)
    if kind != family.MODEL_TYPE:
        raise UserError(f"{path} is a {kind}, and this run's model a {family.MODEL_TYPE}: name the run that it is of")
    wanted = {place.name: place.shape for some in table.values() for place in some}
    for name in sorted(wanted.keys() | found.keys()):
        _check(path, name, wanted.get(name), found.get(name))
    numbers = library().dequantize
    weights = {name: torch.from_numpy(np.array(numbers(one.data, one.tensor_type))) for name, one in found.items()}
    return _without_zeros(path, to_ours(weights, table), model)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a file says besides its weights."""

    precision: Precision
    """of its matrices"""
    block_size: int
    end: int | None
    """id of the token that ends a text"""


def read_facts(file: str | os.PathLike[str]) -> Facts:
    """What a file says of itself. Raises UserError where its matrices are not all in the format that it names."""
    path = Path(file)
    check_plain(path)
    kind, found, opened = _open(path)
    matrices = [name for name, one in found.items() if len(one.shape) > 1 and not name.startswith("position_embd")]
    formats = {found[name].tensor_type.name.lower() for name in matrices}
    number = _field(opened, "general.file_type")
    for precision, known in FILE_TYPES.items():
        if formats == {precision} and known == number:
            length = _field(opened, f"{kind}.context_length")
            end = _field(opened, "tokenizer.ggml.eos_token_id")
            return Facts(precision=precision, block_size=length, end=end)
    raise UserError(
        f"{path} is of file type {number} with matrices in {', '.join(sorted(formats))}; one of "
        f"{', '.join(FILE_TYPES)} alone can be read"
    )


def _field(opened: Any, name: str) -> Any:
    field = opened.get_field(name)
    return None if field is None else field.contents()


def _open(path: Path) -> tuple[str, dict[str, Any], Any]:
    """A file's architecture, its tensors by their names, none of them read yet, and the file opened."""
    try:
        opened = _reader()(path)
        kind = opened.get_field("general.architecture").contents()
        return kind, {one.name: one for one in opened.tensors}, opened
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, MemoryError):
        raise UserError(f"{path} is damaged, or no GGUF file: export it anew") from None


def _check(path: Path, name: str, wanted: tuple[int, ...] | None, found: Any) -> None:
    """Raise UserError where a tensor is not what the run's config asks for."""
    if found is not None and found.tensor_type.name not in FORMATS:
        raise UserError(f"{path}: {name} is of {found.tensor_type.name}; numbers of {', '.join(FORMATS)} can be read")
    shape = None if found is None else tuple(map(int, reversed(found.shape)))
    if shape != wanted:
        told = ["missing" if one is None else str(list(one)) for one in (shape, wanted)]
        raise UserError(f"{path} does not fit the run: {name} is {told[0]} in the file and {told[1]} by its config")


def _without_zeros(path: Path, tensors: dict[str, Tensor], model: ModelConfig) -> dict[str, Tensor]:
    """Without the biases that are zero in the file since the model has none."""
    kept = {}
    for name, tensor in tensors.items():
        has = model.qkv_bias if name.endswith("qkv.bias") else model.bias
        if has or not name.endswith(".bias"):
            kept[name] = tensor
        elif tensor.any():
            raise UserError(f"{path} does not fit the run: it has {name}, and the model has no such bias")
    return kept


def _reader() -> Any:
    """The package's reader, which ends where the file ends: its own counts on where a damaged length leads it."""
    gguf = library()

    class Reader(gguf.GGUFReader):  # type: ignore[name-defined]
        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            if offset + np.dtype(dtype).itemsize * int(count) > len(self.data):
                raise ValueError("beyond the end of the file")
            return super()._get(offset, dtype, count, override_order)

    return Reader
