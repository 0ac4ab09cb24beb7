"""The weights of a GGUF file that we exported, to compare llama.cpp's answers with ours on the same numbers."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.files import check_plain
from nanogpt.interop.architectures import import_tensors
from nanogpt.interop.gguf.tensors import FILE_TYPES, Precision, gguf_tensor_map, library, llama_architecture

FORMATS = tuple(precision.upper() for precision in FILE_TYPES)


def read_gguf(file: str | os.PathLike[str], model: ModelConfig) -> dict[str, Tensor]:
    """Return our weights by name, float32, as the file's number format rounded them."""
    path, architecture = Path(file), llama_architecture(model)
    kind, found, _ = _open(path)
    if kind != architecture.model_type:
        raise UserError(f"{path} is a {kind}, but this run's model is a {architecture.model_type}: name its own run")
    tensor_map = gguf_tensor_map(model, architecture)
    wanted = {one.name: one.shape for theirs in tensor_map.values() for one in theirs}
    for name in sorted(wanted.keys() | found.keys()):
        _check(path, name, wanted.get(name), found.get(name))
    dequantize = library().dequantize
    weights = {name: torch.from_numpy(np.array(dequantize(one.data, one.tensor_type))) for name, one in found.items()}
    kept = {}
    for name, tensor in import_tensors(weights, tensor_map).items():
        has = model.qkv_bias if name.endswith("qkv.bias") else model.bias
        if has or not name.endswith(".bias"):
            kept[name] = tensor
        elif tensor.any():  # the format has zeros where the model has no bias
            raise UserError(f"{path} does not match the run: it has {name}, but the model has no such bias")
    return kept


def read_settings(file: str | os.PathLike[str]) -> tuple[Precision, int, int | None]:
    """Return a file's number format (of all its matrices), context length and end-of-text token."""
    path = Path(file)
    kind, found, reader = _open(path)
    matrices = [name for name, one in found.items() if len(one.shape) > 1 and not name.startswith("position_embd")]
    formats = {found[name].tensor_type.name.lower() for name in matrices}

    def field(name: str) -> Any:
        found = reader.get_field(name)
        return None if found is None else found.contents()

    number = field("general.file_type")
    for precision, known in FILE_TYPES.items():
        if formats == {precision} and known == number:
            return precision, field(f"{kind}.context_length"), field("tokenizer.ggml.eos_token_id")
    raise UserError(
        f"{path} has file type {number} and matrices in {', '.join(sorted(formats))}: only files in one of "
        f"{', '.join(FILE_TYPES)} can be read"
    )


def _open(path: Path) -> tuple[str, dict[str, Any], Any]:
    """Return a file's architecture, its tensors by name (not read yet), and its reader."""
    check_plain(path)
    try:
        reader = _bounded_reader()(path)
        kind = reader.get_field("general.architecture").contents()
        return kind, {one.name: one for one in reader.tensors}, reader
    except OSError as error:
        raise UserError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, MemoryError):
        raise UserError(f"{path} is damaged or not a GGUF file: export it again") from None


def _check(path: Path, name: str, wanted: tuple[int, ...] | None, found: Any) -> None:
    """Raise UserError if a tensor is not what the run's config asks for."""
    if found is not None and found.tensor_type.name not in FORMATS:
        raise UserError(f"{path}: {name} is in {found.tensor_type.name}, but only {', '.join(FORMATS)} can be read")
    shape = None if found is None else tuple(map(int, reversed(found.shape)))
    if shape != wanted:
        in_file, in_config = ("missing" if one is None else str(list(one)) for one in (shape, wanted))
        raise UserError(f"{path} does not match the run: {name} is {in_file} in the file and {in_config} by its config")


def _bounded_reader() -> Any:
    """Return the package's reader class, made to stop at the end of the file whatever a damaged length says."""
    gguf = library()

    class Reader(gguf.GGUFReader):  # type: ignore[name-defined]
        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            if offset + np.dtype(dtype).itemsize * int(count) > len(self.data):
                raise ValueError("beyond the end of the file")
            return super()._get(offset, dtype, count, override_order)

    return Reader
