"""The config and the weights of an exported page.

A page is not trusted. Its two data elements are found by the exact letters in `page.html`, nothing in it is run, and
sizes are compared with the config before memory is allocated.
"""

import base64
import json
import os
from pathlib import Path
from typing import Any

import torch

from nanogpt.config import Config, ModelConfig
from nanogpt.errors import UserError
from nanogpt.files import check_format, read_text
from nanogpt.interop.html.export import check_size, fill_template, lay_out, unpack
from nanogpt.model.gpt import GPT
from nanogpt.model.parameters import table_bytes
from nanogpt.runs.weights import BUFFER_LIMIT

PAGE_LIMIT = 128_000_000
"""Largest page in bytes: 30 million parameters take 41 million, and the largest vocabulary less than the rest."""
MAX_LAYERS = 1000
MODEL = '<script type="application/json" id="model">'
WEIGHTS = '<script type="text/plain" id="weights">'


def load_html(file: str | os.PathLike[str]) -> GPT:
    """Return a page's model in evaluation mode, with the weights that the page computes with."""
    path = Path(file)
    tables, packed = _read(path)
    config = _config(tables, path)
    model = GPT(config).eval()
    own = dict(model.named_parameters())
    slots, length = lay_out({name: tuple(p.shape) for name, p in own.items()})
    if tables.get("tensors") != [slot.to_dict() for slot in slots] or len(packed) != length:
        raise _damaged(path, "its weights do not match its config")
    with torch.no_grad():
        for name, tensor in unpack(slots, packed).items():
            own[name].copy_(tensor)
    return model


def check_page(file: str | os.PathLike[str]) -> None:
    """Raise UserError unless all of a page but its data is byte for byte what `export_html` writes.

    Check this before you open a page from elsewhere in a browser, which runs any script in it.
    """
    path = Path(file)
    tables, packed = _read(path)
    if fill_template(tables, packed) != path.read_bytes():
        raise UserError(f"{path} was changed after its export, or is from another version of nanogpt: export it again")


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return a page's data and its packed weights."""
    page = read_text(path, PAGE_LIMIT)
    data, weights = _element(page, MODEL, path), _element(page, WEIGHTS, path)
    try:
        tables = json.loads(data)
    except (ValueError, RecursionError):
        raise _damaged(path, "its data is not JSON") from None
    if not isinstance(tables, dict):
        raise _damaged(path, "its data is not a JSON object")
    check_format(tables, str(path))
    try:
        return tables, base64.b64decode(weights, validate=True)
    except ValueError:
        raise _damaged(path, "its weights are not base64") from None


def _element(page: str, start: str, path: Path) -> str:
    """Return the content of an element that must occur once."""
    _, found, after = page.partition(start)
    content, end, _ = after.partition("</script>")
    if not found or not end or start in after:
        raise UserError(f"{path} is not an exported page: give a file that `nanogpt export --to html` wrote")
    return content


def _config(tables: dict[str, Any], path: Path) -> ModelConfig:
    """Return the model's config; raise UserError, before memory is allocated, if no page can hold that model."""
    settings = tables.get("config")
    run_format = settings.get("format", 1) if isinstance(settings, dict) else 1
    config = Config.from_dict({"format": run_format, "model": settings}, str(path)).model
    check_size(config)
    if config.mask_documents or table_bytes(config) > BUFFER_LIMIT or config.n_layer > MAX_LAYERS:
        raise _damaged(path, "its config describes a model that no page can hold")
    return config


def _damaged(path: Path, problem: str) -> UserError:
    return UserError(f"{path} is damaged, {problem}: export it again")
