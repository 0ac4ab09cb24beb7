"""A page read back: its config, and its weights as Python computes with them.

A page is not trusted. It is searched for two elements by the exact letters that `page.html` has, nothing in it is run,
and sizes are compared with what the config asks for before memory is taken.
"""

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nanogpt.config import Config, ModelConfig
from nanogpt.errors import UserError
from nanogpt.files import check_format, read_text
from nanogpt.interop.html.export import check_size
from nanogpt.interop.html.quantise import lay_out, unpack
from nanogpt.interop.html.template import fill_template
from nanogpt.model.gpt import GPT
from nanogpt.model.parameters import table_bytes
from nanogpt.runs.weights import BUFFER_LIMIT, model_tensors

PAGE_LIMIT = 128_000_000
"""Bytes of the largest page that is read: 30 million parameters take 41, the largest vocabulary less than the rest."""
MOST_LAYERS = 1000
"""Of a model that is built to be compared with the page's tensors."""
MODEL = '<script type="application/json" id="model">'
WEIGHTS = '<script type="text/plain" id="weights">'


def read_html(file: str | os.PathLike[str]) -> tuple[ModelConfig, dict[str, Tensor]]:
    """The config and the weights of a page, each by its name in `GPT`, a tied one once; float32.

    Raises UserError for anything that `export_html` did not write.
    """
    model = load_html(file)
    return model.config, model_tensors(model)


def load_html(file: str | os.PathLike[str]) -> GPT:
    """The model of a page, with the weights that the page computes with, in evaluation mode. Raises as `read_html`."""
    path = Path(file)
    tables, packed = _read(path)
    config = _config(tables, path)
    model = GPT(config).eval()
    own = dict(model.named_parameters())
    slots, length = lay_out({name: tuple(p.shape) for name, p in own.items()})
    if tables.get("tensors") != [slot.to_dict() for slot in slots] or len(packed) != length:
        raise _damaged(path, "its weights are not those that its config asks for")
    with torch.no_grad():
        for name, tensor in unpack(slots, packed).items():
            own[name].copy_(tensor)
    return model


def check_page(file: str | os.PathLike[str]) -> None:
    """Raise UserError where a page is not, byte for byte, what this program writes around its data.

    To be asked before a page from elsewhere is opened: a browser runs whatever script is in it.
    """
    path = Path(file)
    tables, packed = _read(path)
    if fill_template(tables, packed) != path.read_bytes():
        raise UserError(
            f"{path} was changed after it was written, or written by another version of this program: it is not "
            f"opened; export it again"
        )


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """The data of a page, and its weights as bytes."""
    page = read_text(path, PAGE_LIMIT)
    tables = _parse(_between(page, MODEL, path), path)
    try:
        return tables, base64.b64decode(_between(page, WEIGHTS, path), validate=True)
    except (binascii.Error, ValueError):
        raise _damaged(path, "its weights are not base64") from None


def _between(page: str, start: str, path: Path) -> str:
    """The content of an element that is there once."""
    _, found, after = page.partition(start)
    content, end, _ = after.partition("</script>")
    if not found or not end or start in after:
        raise UserError(f"{path} is not a page of this program: give a file that `nanogpt export --to html` wrote")
    return content


def _parse(text: str, path: Path) -> dict[str, Any]:
    try:
        tables = json.loads(text)
    except (ValueError, RecursionError):
        raise _damaged(path, "its data is not JSON") from None
    if not isinstance(tables, dict):
        raise _damaged(path, "its data is not a table")
    check_format(tables, str(path))
    return tables


def _config(tables: dict[str, Any], path: Path) -> ModelConfig:
    """The model's config; UserError before memory is taken for one that no page has."""
    config = Config.from_dict({"model": tables.get("config")}, str(path)).model
    check_size(config)
    if config.mask_documents or table_bytes(config) > BUFFER_LIMIT or config.n_layer > MOST_LAYERS:
        raise _damaged(path, "its config is of a model that no page holds")
    return config


def _damaged(path: Path, problem: str) -> UserError:
    return UserError(f"{path} is damaged, {problem}: export it again")
