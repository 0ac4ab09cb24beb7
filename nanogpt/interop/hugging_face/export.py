"""A run as a folder that Transformers opens without any code of ours.

config.json, generation_config.json   the architecture, and how text is drawn
model.safetensors                     weights, float32
tokenizer.json, tokenizer_config.json
README.md                             the model card
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from nanogpt.config import SampleConfig
from nanogpt.errors import UserError
from nanogpt.interop.families import family_of
from nanogpt.interop.family import Family
from nanogpt.interop.hugging_face.model_card import LICENCE, model_card
from nanogpt.interop.hugging_face.tokenizer import to_hugging_face, tokenizer_settings
from nanogpt.interop.places import to_theirs
from nanogpt.interop.writing import check_library_blocks, check_new
from nanogpt.runs.run import Run
from nanogpt.runs.weights import model_tensors


def export_hugging_face(run: Run, folder: str | os.PathLike[str], licence: str = LICENCE) -> Path:
    """Write a run's model so that `AutoModelForCausalLM.from_pretrained(folder)` opens it; returns the folder.

    Raises UserError where the folder exists, or where no family of Transformers can express the model. Either all of
    the folder is written or none.

    >>> from nanogpt.interop.hugging_face.export import export_hugging_face
    >>> sorted(path.name for path in export_hugging_face(nanogpt.load(folder), "out").iterdir())[:4]
    ['README.md', 'config.json', 'generation_config.json', 'model.safetensors']
    """
    place = Path(folder)
    check_new(place)
    check_library_blocks(run)
    family = family_of(run.config.model)
    files = {
        "config.json": _json(_config(run, family)),
        "generation_config.json": _json(_generation(run)),
        "tokenizer.json": _json(to_hugging_face(run.tokenizer)),
        "tokenizer_config.json": _json(tokenizer_settings(run.tokenizer, run.config.model.block_size)),
        "README.md": model_card(run, licence),
    }
    weights = to_theirs(model_tensors(run.model), family.places(run.config.model))
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        beside.mkdir(parents=True)
        for name, text in files.items():
            (beside / name).write_text(text, encoding="utf-8")
        save_file(weights, beside / "model.safetensors", metadata={"format": "pt"})
        beside.replace(place)
    except OSError as error:
        raise UserError(f"cannot write {str(place)!r}: {error.strerror}; choose another folder") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return place


def _config(run: Run, family: Family) -> dict[str, Any]:
    kind = {"architectures": [family.ARCHITECTURE], "model_type": family.MODEL_TYPE, "dtype": "float32"}
    return kind | family.settings(run.config.model) | _tokens(run)


def _generation(run: Run) -> dict[str, Any]:
    drawn = SampleConfig()
    return {"do_sample": True, "temperature": drawn.temperature, "top_k": 0, "top_p": 1.0} | _tokens(run)


def _tokens(run: Run) -> dict[str, Any]:
    end = run.tokenizer.end_of_document
    return {"bos_token_id": end, "eos_token_id": end}


def _json(tables: dict[str, Any]) -> str:
    return json.dumps(tables, ensure_ascii=False, indent=2) + "\n"
