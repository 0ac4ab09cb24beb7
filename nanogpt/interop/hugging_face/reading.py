"""A folder of Hugging Face Transformers, read without trust: config and weights of a model, in our terms.

Only safetensors are read. Headers are compared with the config before memory is taken, files are found by listing the
folder and not by names that stand in one, and no code that comes with a model is run.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.files import check_plain, read_text
from nanogpt.interop.families import family_named
from nanogpt.interop.family import Family
from nanogpt.interop.places import Place, Table, to_ours
from nanogpt.model.parameters import table_bytes
from nanogpt.runs.weights import BUFFER_LIMIT, crop_context, read_layout

PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
FORMATS = ("F32", "F16", "BF16")
"""Of numbers; all become float32."""
BUFFERS = re.compile(r"(?:transformer\.)?h\.\d+\.attn\.(?:bias|masked_bias)|.*\.rotary_emb\.inv_freq")
"""Tables that some files keep beside the weights; ours are computed."""
LARGEST = 1 << 20
"""Of any size in a config.json; what a table of its weights takes stays bearable, whatever is in it."""
MOST_LAYERS = 1000


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A model of others, in our terms."""

    family: Family
    model: ModelConfig
    tensors: dict[str, Tensor]
    end_of_document: int | None


def read_pretrained(folder: Path, block_size: int | None = None) -> Pretrained:
    """The model in a folder, its context cut to `block_size` where that is given.

    Raises UserError, naming file and reason, for what cannot be taken as it is.
    """
    if not folder.is_dir():
        raise UserError(f"no folder {str(folder)!r}: give one with config.json and model.safetensors")
    where = folder / "config.json"
    tables = read_tables(where)
    family = family_named(tables.get("model_type"))
    try:
        model = family.read_settings(tables)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except KeyError as error:
        raise UserError(f"{where} has no {error}: get the file anew") from None
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise UserError(f"{where} has a setting of the wrong kind: get the file anew") from None
    _check_sizes(model, where)
    table = family.places(model)
    tensors = to_ours(_read_tensors(folder, table), table)
    if block_size is not None:
        _check_shorter(block_size, model.block_size)
        model, tensors = crop_context(model, tensors, block_size)
    if table_bytes(model) > BUFFER_LIMIT:
        raise UserError(
            f"{where}: a context of {model.block_size:,} tokens needs tables of {table_bytes(model):,} bytes: "
            f"cut it by --block-size"
        )
    return Pretrained(family=family, model=model, tensors=tensors, end_of_document=_end(tables, model))


def read_tables(path: Path, limit: int = 16_000_000) -> dict[str, Any]:
    """A JSON file's tables; UserError for anything else."""
    try:
        tables = json.loads(read_text(path, limit))
    except UserError:
        raise
    except (ValueError, RecursionError):
        tables = None
    if not isinstance(tables, dict):
        raise UserError(f"{path} is no JSON table: get the file anew")
    return tables


def _check_shorter(block_size: int, own: int) -> None:
    if not 0 < block_size <= own:
        raise UserError(
            f"block_size is {block_size:,}; choose from 1 to {own:,}, the model's own: it never saw longer contexts"
        )


def _check_sizes(model: ModelConfig, where: Path) -> None:
    sizes = {
        name: getattr(model, name) or 0
        for name in ("vocab_size", "n_head", "n_embd", "n_kv_head", "head_size", "mlp_hidden")
    }
    for name, size in sizes.items():
        if size > LARGEST:
            raise UserError(f"{where}: {name} is {size:,}, and at most {LARGEST:,} can be read")
    if model.n_layer > MOST_LAYERS:
        raise UserError(f"{where}: the model has {model.n_layer:,} layers, and at most {MOST_LAYERS:,} can be read")


def _end(tables: Mapping[str, Any], model: ModelConfig) -> int | None:
    end = tables.get("eos_token_id")
    end = end[0] if isinstance(end, list) and end else end
    return end if type(end) is int and 0 <= end < model.vocab_size else None


def _read_tensors(folder: Path, table: Table) -> dict[str, Tensor]:
    """By the names that the family's own files have."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(_no_weights(folder))
    where = _find(files, {place.name: place for places in table.values() for place in places})
    found: dict[str, Tensor] = {}
    for file in files:
        with safe_open(file, framework="pt") as opened:
            found |= {place: opened.get_tensor(name) for place, (home, name) in where.items() if home == file}
    return found


def _find(files: list[Path], places: Mapping[str, Place]) -> dict[str, tuple[Path, str]]:
    """The file that has each place, and its name there. UserError where a header is not what the config asks for."""
    where: dict[str, tuple[Path, str]] = {}
    for file in files:
        check_plain(file)
        for name, (shape, kind) in read_layout(file).items():
            place = name if name in places else f"transformer.{name}"  # those of a bare GPT-2 lack it
            if place in places:
                _check(file, name, shape, kind, places[place])
                where[place] = (file, name)
            elif not BUFFERS.fullmatch(name) and name != "lm_head.weight":  # tied: the embedding again
                raise UserError(f"{file} has {name}, which its config.json does not ask for: get its files anew")
    missing = sorted(places.keys() - where.keys())
    if missing:
        raise UserError(f"{files[0].parent} lacks {missing[0]}, which its config.json asks for: get its files anew")
    return where


def _no_weights(folder: Path) -> str:
    pickled = next((found.name for pattern in PICKLED for found in sorted(folder.glob(pattern))), None)
    reason = f", and {pickled} is pickled, which could run code and is never read" if pickled else ""
    return f"{str(folder)!r} has no .safetensors{reason}: get the model's safetensors, or convert it where you trust it"


def _check(file: Path, name: str, shape: tuple[int, ...], kind: str, place: Place) -> None:
    if kind not in FORMATS:
        raise UserError(f"{file}: {name} is of {kind}; numbers of {', '.join(FORMATS)} can be read")
    if shape != place.shape:
        raise UserError(f"{file}: {name} is {list(shape)}, and {list(place.shape)} by its config.json")
