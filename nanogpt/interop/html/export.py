"""A run as one HTML page, which runs its model in any browser, from a disk and without a network.

The data is JSON with `<`, `>` and `&` escaped, so that it ends no script. The page's policy allows exactly our scripts
and our style, by their hashes, and nothing is loaded.

A matrix is stored as its scales (float16, one per row), then its values (int8, row by row), a vector in float32. All
numbers are little-endian, and each tensor starts at a multiple of 4. float32 holds an int8 times a float16 exactly: the
page and Python have the same weights.
"""

import base64
import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nanogpt.config import ModelConfig
from nanogpt.errors import UserError
from nanogpt.files import FORMAT, write_atomically
from nanogpt.interop.formats import check_library_blocks, check_target
from nanogpt.model.parameters import count_parameters
from nanogpt.runs.eight_bits import MATRIX, quantise
from nanogpt.runs.run import Run
from nanogpt.runs.weights import model_tensors
from nanogpt.text.foreign import ForeignTokenizer

MAX_PARAMETERS = 30_000_000
"""Size limit of a model: a page of 40 MB, which a phone still opens."""
SCRIPTS = ("weights", "math", "model", "tokenizer", "random", "generate", "inspect", "format", "text", "panel", "page")
"""Files in `page/`, in this order: each uses only those before it, except for functions that are called later."""
ALIGNMENT = 4
_SLOT = re.compile(r"\{\{(\w+)\}\}")
_UNSAFE = re.compile("[<>&\u2028\u2029\ud800-\udfff]")


def export_html(run: Run, file: str | os.PathLike[str]) -> Path:
    """Write a run's model as a page and return its path; weights are rounded to 8 bits with one scale per row.

    Raises:
        UserError: The file exists, the model has more than 30 million parameters, or it has a part that the page lacks.

    >>> from nanogpt.interop.html.export import export_html
    >>> export_html(nanogpt.load(folder), "cats.html").read_text(encoding="utf-8")[:15]
    '<!doctype html>'
    """
    path = Path(file)
    check_target(path, ".html")
    check_library_blocks(run)
    config = run.config.model
    if config.mask_documents:
        raise UserError("the page cannot run mask_documents: train without --mask-documents to export as HTML")
    if isinstance(run.tokenizer, ForeignTokenizer):
        raise UserError("the page has only the tokenizers char, byte and bpe, and this model's splits text otherwise")
    check_size(config)
    slots, packed = pack(model_tensors(run.model))
    model = {
        "format": FORMAT,
        "config": {key: value for key, value in asdict(config).items() if value is not None},
        "tensors": [one.to_dict() for one in slots],
        "tokenizer": run.tokenizer.to_dict() | {"vocab_size": run.tokenizer.vocab_size, "bos": run.tokenizer.bos},
        "about": {
            "text": run.plan.text,
            "preset": Path(run.config.preset).name,
            "step": run.step,
            "parameters": run.model.parameter_count,
        },
    }
    try:
        write_atomically(path, fill_template(model, packed))
    except OSError as error:
        raise UserError(f"cannot write {str(path)!r}: {error.strerror}; choose another path") from None
    return path


def check_size(config: ModelConfig) -> None:
    """Raise UserError for a model that is too large for a page."""
    parameters = count_parameters(config).total
    if parameters > MAX_PARAMETERS:
        raise UserError(
            f"the model has {parameters:,} parameters, but a page holds at most {MAX_PARAMETERS:,}, or it would be "
            f"slow to open: train a smaller model"
        )


def fill_template(model: Mapping[str, Any], weights: bytes) -> bytes:
    """Return the page with `model` as JSON data and `weights` as base64."""
    script = "\n".join(part(f"{name}.js") for name in SCRIPTS)
    style = part("page.css")
    slots = {
        "policy": policy(script, style),
        "style": style,
        "script": script,
        "model": embed(model),
        "weights": base64.b64encode(weights).decode("ascii"),
    }
    # In one pass, so that slots inside the data stay as they are.
    return _SLOT.sub(lambda found: slots[found[1]], part("page.html")).encode()


def part(name: str) -> str:
    """Return the text of a file in `page/`."""
    return (files("nanogpt.interop.html") / "page" / name).read_text(encoding="utf-8")


def embed(data: Any) -> str:
    r"""Return JSON that is safe inside a script element, whatever its strings contain.

    >>> embed({"text": "</script><!--"})
    '{"text":"\\u003c/script\\u003e\\u003c!--"}'
    """
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def policy(script: str, style: str) -> str:
    """Return a Content-Security-Policy that allows this script and this style, and loads nothing.

    >>> policy("", "").split("; ")[0]
    "default-src 'none'"
    """
    sources = []
    for name, code in (("script", script), ("style", style)):
        assert not re.search(f"</{name}|<!--", code, re.IGNORECASE), f"the {name} would end early"
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode("ascii")
        sources.append(f"{name}-src 'sha256-{digest}'")
    return "; ".join(["default-src 'none'", *sources, "base-uri 'none'", "form-action 'none'"])


@dataclass(frozen=True)
class Slot:
    """The location of a tensor in the bytes."""

    name: str
    shape: tuple[int, ...]
    offset: int

    @property
    def size(self) -> int:
        """Number of bytes."""
        numbers = math.prod(self.shape)
        return 2 * self.shape[0] + numbers if len(self.shape) == MATRIX else 4 * numbers

    def to_dict(self) -> dict[str, Any]:
        """Return the entry in the page's data."""
        return asdict(self) | {"shape": list(self.shape)}


def lay_out(shapes: Mapping[str, Sequence[int]]) -> tuple[list[Slot], int]:
    """Return where tensors of these shapes go, one after another, and their total size in bytes.

    >>> [slot.offset for slot in lay_out({"a": (3, 5), "b": (7,)})[0]]
    [0, 24]
    """
    slots: list[Slot] = []
    end = 0
    for name, shape in shapes.items():
        slots.append(Slot(name, tuple(shape), end))
        end += -(-slots[-1].size // ALIGNMENT) * ALIGNMENT
    return slots, end


def pack(tensors: Mapping[str, Tensor]) -> tuple[list[Slot], bytes]:
    """Return where each tensor is, and the bytes; raise UserError for a tensor that is not finite."""
    slots, length = lay_out({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    packed = bytearray(length)
    for slot in slots:
        tensor = tensors[slot.name].detach().cpu().float()
        if not tensor.isfinite().all():
            raise UserError(f"{slot.name} has weights that are not finite: the training diverged; train it again")
        if tensor.dim() == MATRIX:
            scales, values = quantise(tensor.numpy(), slot.name)
            data = scales.astype("<f2").tobytes() + values.tobytes()
        else:
            data = tensor.numpy().astype("<f4").tobytes()
        packed[slot.offset : slot.offset + slot.size] = data
    return slots, bytes(packed)


def unpack(slots: Sequence[Slot], packed: bytes) -> dict[str, Tensor]:
    """Return the tensors that `pack` wrote, in float32; raise UserError for numbers that are not finite."""
    found = {}
    for slot in slots:
        if len(slot.shape) == MATRIX:
            scales = np.frombuffer(packed, "<f2", slot.shape[0], slot.offset)  # (N,)
            values = np.frombuffer(packed, np.int8, math.prod(slot.shape), slot.offset + scales.nbytes)
            weight = values.reshape(slot.shape).astype(np.float32) * scales[:, None].astype(np.float32)  # (N, K)
        else:
            weight = np.frombuffer(packed, "<f4", math.prod(slot.shape), slot.offset).astype(np.float32)
        if not np.isfinite(weight).all():
            raise UserError(f"{slot.name} has weights that are not finite: the page is damaged, export it again")
        found[slot.name] = torch.from_numpy(weight)
    return found
