"""A model from Transformers as a run: to generate from, to evaluate, and to fine-tune (`nanogpt train --from`).

The folder is not trusted. Only safetensors are read; their headers are compared with config.json before memory is
allocated; a name inside a file never leads out of the folder; and no code from it is run.
"""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from nanogpt.config import Config, ModelConfig, load_preset
from nanogpt.errors import UserError
from nanogpt.files import check_plain, read_text
from nanogpt.interop.architectures import Architecture, FileTensor, TensorMap, architecture_named, import_tensors
from nanogpt.interop.hugging_face.hub import download
from nanogpt.interop.hugging_face.tokenizer import read_tokenizer
from nanogpt.model.parameters import table_bytes
from nanogpt.runs.checkpoint import State
from nanogpt.runs.folder import RUNS, RunFolder
from nanogpt.runs.plan import Plan
from nanogpt.runs.weights import BUFFER_LIMIT, read_layout
from nanogpt.text.imported import read_json
from nanogpt.text.tokenizer import Tokenizer
from nanogpt.training.fine_tuning import ADAMW, ADAMW_LR, crop_context
from nanogpt.training.new_run import create_folder

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
WEIGHTS = "model.safetensors"
PICKLED = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
FORMATS = ("F32", "F16", "BF16")
"""Number formats that are read; all become float32."""
BUFFERS = re.compile(r"(?:transformer\.)?h\.\d+\.attn\.(?:bias|masked_bias)|.*\.rotary_emb\.inv_freq")
"""Tables that some files store with the weights; our models compute them."""
MAX_SIZE = 1 << 20
"""Limit for any size in config.json, so that no file can ask for a huge table of weights."""
MAX_LAYERS = 1000


def import_model(
    source: str | os.PathLike[str], out: str | os.PathLike[str] | None = None, block_size: int | None = None
) -> RunFolder:
    """Import a model, a folder of Transformers or a name on the Hub, into a new run folder; on an error, make none.

    `out` defaults to `runs/<name>`; `block_size` shortens the context.
    """
    folder = _find_folder(source)
    name = Path(source).resolve().name if Path(source).is_dir() else os.fspath(source).split("/")[-1]
    target = RUNS / name if out is None else Path(out)
    if target.exists():
        create_folder(target)  # raises UserError
    model = read_pretrained(folder, block_size)
    tokenizer = read_tokenizer(folder, model.config.vocab_size, model.end_of_document)
    tokenizer.bos = model.bos
    run = create_folder(target)
    try:
        _write(run, name, model, tokenizer)
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


@dataclass(frozen=True)
class Pretrained:
    """An imported model: our config and our tensors."""

    architecture: Architecture
    config: ModelConfig
    tensors: dict[str, Tensor]
    end_of_document: int | None
    bos: int | None
    """token that an empty prompt begins with"""


def read_pretrained(folder: Path, block_size: int | None = None) -> Pretrained:
    """Read the model in a folder; `block_size` shortens its context."""
    if not folder.is_dir():
        raise UserError(f"no folder {str(folder)!r}: give one with config.json and model.safetensors")
    path = folder / "config.json"
    if not path.exists():
        _refuse_adapters_and_pickles(folder)
        raise UserError(f"no config.json in {str(folder)!r}: download it too")
    tables = read_json(path)
    try:
        architecture = architecture_named(tables.get("model_type"))
        config = architecture.from_settings(tables)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except KeyError as error:
        raise UserError(f"{path} has no {error}: download the file again") from None
    except (TypeError, ValueError, AttributeError, OverflowError):
        raise UserError(f"{path} has a setting of the wrong type: download the file again") from None
    _check_sizes(config, path)
    tensor_map = architecture.tensor_map(config)
    tensors = import_tensors(_read_tensors(folder, tensor_map), tensor_map)
    if block_size is not None:
        if not 0 < block_size <= config.block_size:
            raise UserError(f"--block-size is {block_size:,}; choose 1 to {config.block_size:,}, the model's own")
        config, tensors = crop_context(config, tensors, block_size)
    if table_bytes(config) > BUFFER_LIMIT:
        raise UserError(
            f"{path}: a context of {config.block_size:,} tokens needs tables of {table_bytes(config):,} bytes: shorten "
            f"it with --block-size"
        )
    ends = tables.get("eos_token_id")
    named = (ends[0] if isinstance(ends, list) and ends else ends, tables.get("bos_token_id"))
    end, bos = (one if type(one) is int and 0 <= one < config.vocab_size else None for one in named)
    return Pretrained(architecture, config, tensors, end, bos)


def _find_folder(source: str | os.PathLike[str]) -> Path:
    if os.fspath(source) and Path(source).is_dir():
        return Path(source)
    if Path(source).is_file():
        _refuse_adapters_and_pickles(Path(source))
    if not HUB_NAME.fullmatch(os.fspath(source)) or Path(source).exists():
        raise UserError(
            f"{os.fspath(source)!r} is neither a folder with config.json and model.safetensors nor a model's name on "
            f"the Hub, such as openai-community/gpt2"
        )
    return download(os.fspath(source))


def _refuse_adapters_and_pickles(folder: Path) -> None:
    """Raise UserError with the way that works for a folder of adapters, or for pickled weights or their folder."""
    if (folder / "adapter_config.json").exists():
        raise UserError(
            f"{str(folder)!r} has adapters (LoRA) without their model: merge them with peft's merge_and_unload(), "
            f"write the model with save_pretrained(), and import that folder"
        )
    files = [folder] if folder.is_file() else sorted(folder.iterdir())
    if pickled := [str(file) for file in files if any(map(file.match, PICKLED))]:
        raise UserError(
            f"{pickled[0]!r} is pickled, which could run code and is never read: get the model as safetensors, or load "
            f"it where it is safe, with torch.load(..., weights_only=True), and write it as a model of Transformers, "
            f"such as GPT-2 (docs/elsewhere.md shows how)"
        )


def _write(run: RunFolder, name: str, found: Pretrained, tokenizer: Tokenizer) -> None:
    preset = load_preset(found.architecture.preset)
    config = Config(preset=preset.preset, model=found.config, data=preset.data, train=preset.train)
    config = config.override(
        tokenizer=tokenizer.kind if tokenizer.kind in ("char", "byte") else "bpe",
        end_of_document=tokenizer.end_of_document is not None,
        learning_rate=ADAMW_LR / found.config.n_embd,
        **ADAMW,
    )
    run.write_config(config)
    run.write_tokenizer(tokenizer)
    run.write_plan(Plan(text=name, steps=0))
    run.checkpoints.save(State(step=0, best_step=0), found.tensors, {})


def _check_sizes(config: ModelConfig, path: Path) -> None:
    for name in ("vocab_size", "n_head", "n_embd", "n_kv_head", "head_size", "mlp_hidden"):
        size = getattr(config, name) or 0
        if size > MAX_SIZE:
            raise UserError(f"{path}: {name} is {size:,}, but at most {MAX_SIZE:,} can be imported")
    if config.n_layer > MAX_LAYERS:
        raise UserError(f"{path}: the model has {config.n_layer:,} layers, but at most {MAX_LAYERS:,} can be imported")


def _read_tensors(folder: Path, tensor_map: TensorMap) -> dict[str, Tensor]:
    """Read the tensors by the names in `tensor_map`."""
    files = _weight_files(folder)
    if not files:
        _refuse_adapters_and_pickles(folder)
        raise UserError(f"{str(folder)!r} has no .safetensors: download the weights too")
    where = _locate(files, {one.name: one for theirs in tensor_map.values() for one in theirs})
    found: dict[str, Tensor] = {}
    for file in files:
        with safe_open(file, framework="pt") as opened:
            found |= {wanted: opened.get_tensor(name) for wanted, (home, name) in where.items() if home == file}
    return found


def _weight_files(folder: Path) -> list[Path]:
    """Return the files of the weights, chosen as Transformers does: `model.safetensors`, else what the index lists.

    A folder that has neither is read as it is: all its safetensors.
    """
    index = folder / f"{WEIGHTS}.index.json"
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if not index.exists():
        return sorted(folder.glob("*.safetensors"))
    try:
        names = set(json.loads(read_text(index))["weight_map"].values())
        plain = all(Path(name).name == name and name.endswith(".safetensors") for name in names)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise UserError(f"{index} is not an index of weights: download the file again") from None
    if not plain:
        raise UserError(f"{index} names a file that is not in its folder: download the files again")
    return [folder / name for name in sorted(names)]


def _locate(files: list[Path], wanted: Mapping[str, FileTensor]) -> dict[str, tuple[Path, str]]:
    """Return the file that has each tensor, and its name there; raise UserError if a header contradicts the config."""
    where: dict[str, tuple[Path, str]] = {}
    for file in files:
        check_plain(file)
        for name, (shape, number_format) in read_layout(file).items():
            full_name = name if name in wanted else f"transformer.{name}"  # a bare GPT-2 lacks the prefix
            if full_name in wanted:
                if number_format not in FORMATS:
                    raise UserError(
                        f"{file}: {name} is in {number_format}, but only {', '.join(FORMATS)} can be imported"
                    )
                if shape != wanted[full_name].shape:
                    raise UserError(
                        f"{file}: {name} has shape {list(shape)}, but config.json says {list(wanted[full_name].shape)}"
                    )
                if full_name in where:
                    raise UserError(
                        f"{name} is in {where[full_name][0].name} and in {file}: keep the weights of one model in the "
                        f"folder"
                    )
                where[full_name] = (file, name)
            elif not BUFFERS.fullmatch(name) and name != "lm_head.weight":  # tied: the embedding again
                raise UserError(f"{file} has {name}, which config.json does not ask for: download the files again")
    missing = sorted(wanted.keys() - where.keys())
    if missing:
        raise UserError(f"{files[0].parent} has no {missing[0]}, which config.json asks for: download the files again")
    return where
