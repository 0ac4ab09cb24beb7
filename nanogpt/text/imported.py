"""What comes with a tokenizer of Hugging Face besides its vocabulary: special tokens, a chat template, stops.

A run keeps it in its `tokenizer.json`, and an export writes it again. Nothing of it is ever executed here.
"""

import json
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError
from nanogpt.files import read_text

LARGEST_SETTINGS_BYTES = 4_000_000
LARGEST_BYTES = 1_000_000
"""Limit for all that is kept; a long chat template has about 10,000."""
SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
MORE_SPECIAL = "additional_special_tokens"
NUMBERS = ("bos_token_id", "eos_token_id", "pad_token_id")
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def read_tables(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, {} where there is none; raise UserError, naming the file, for anything else."""
    if not path.exists():
        return {}
    try:
        tables = json.loads(read_text(path, LARGEST_SETTINGS_BYTES))
    except (ValueError, RecursionError):
        tables = None
    if not isinstance(tables, dict):
        raise UserError(f"{path} is not a JSON object: download the file again")
    return tables


def with_listed_tokens(tables: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the tables of a `tokenizer.json` with the special tokens that only `tokenizer_config.json` lists.

    Our exports list them there, where Transformers looks. The library `tokenizers`, which reads `tokenizer.json` alone,
    would match each token that this file lists in a text that somebody typed.
    """
    added, vocabulary = list(tables.get("added_tokens") or ()), dict(tables["model"]["vocab"])
    listed = read_tables(folder / "tokenizer_config.json").get("added_tokens_decoder") or {}
    listed = {int(number): one for number, one in listed.items() if one["special"]}
    new = listed.keys() - {one["id"] for one in added}
    if not new:
        return tables
    added += [{"id": one, "content": listed[one]["content"]} | {f: bool(listed[one][f]) for f in FLAGS} for one in new]
    for one in added:
        if vocabulary.get(one["content"]) == one["id"]:
            del vocabulary[one["content"]]
    added.sort(key=lambda one: one["id"])
    return tables | {"added_tokens": added, "model": tables["model"] | {"vocab": vocabulary}}


def read_imported(folder: Path, vocab_size: int) -> dict[str, Any]:
    """Return what a folder of Transformers says about its tokenizer besides its vocabulary; UserError if damaged."""
    found = read_tables(folder / "special_tokens_map.json") | read_tables(folder / "tokenizer_config.json")
    try:
        settings = {name: _text(found[name]) for name in SPECIAL if found.get(name) is not None}
        if isinstance(more := found.get(MORE_SPECIAL) or found.get("extra_special_tokens"), list):
            settings[MORE_SPECIAL] = [_text(one) for one in more]
        if template := _template_files(folder) or found.get("chat_template"):
            settings = (
                {"bos_token": None} | settings | {"chat_template": template}
            )  # a template may write an absent one
        generation = {}
        for name, value in read_tables(folder / "generation_config.json").items():
            ids = [
                one for one in (value if isinstance(value, list) else [value]) if name in NUMBERS and one is not None
            ]
            if ids := [one for one in ids if 0 <= one < vocab_size]:  # a default of Transformers may lie outside
                generation[name] = ids if isinstance(value, list) else ids[0]
        return check_imported({"settings": settings, "generation": generation}, vocab_size)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{folder}: tokenizer_config.json or generation_config.json has a chat template or a special token of the "
            f"wrong type or size: download the files again"
        ) from None


def _text(token: Any) -> Any:
    """Return the text of a special token, which some files give with its flags."""
    return token["content"] if isinstance(token, dict) else token


def _template_files(folder: Path) -> str | list[dict[str, str]]:
    """Return the chat template in a folder's files, or several with their names; empty where there is none."""
    files = [folder / "chat_template.jinja", *sorted(folder.glob("additional_chat_templates/*.jinja"))]
    found = [{"name": one.stem, "template": read_text(one, LARGEST_BYTES)} for one in files if one.exists()]
    if len(found) == 1 and files[0].exists():
        return found[0]["template"]
    return [one | ({"name": "default"} if one["name"] == files[0].stem else {}) for one in found]


def check_imported(found: dict[str, Any], vocab_size: int) -> dict[str, Any]:
    """Return it unchanged if each part has the type and size that exports rely on; else raise an error of Python."""
    names, settings, generation = (found.get(part, {}) for part in ("names", "settings", "generation"))
    template, more = settings.get("chat_template", ""), settings.get(MORE_SPECIAL, [])
    templates = [{"name": "default", "template": template}] if isinstance(template, str) else template
    texts = [*names.values(), *more, *(settings[name] for name in SPECIAL if settings.get(name) is not None)]
    texts += [one[part] for one in templates for part in ("name", "template")]
    ids = [int(number) for number in names]
    for value in generation.values():
        ids += value if isinstance(value, list) else [value]
    if (
        not found.keys() <= {"names", "settings", "generation"}
        or not settings.keys() <= {*SPECIAL, MORE_SPECIAL, "chat_template"}
        or not generation.keys() <= set(NUMBERS)
        or any(type(number) is not int or not 0 <= number < vocab_size for number in ids)
        or sum(len(text.encode()) for text in texts) > LARGEST_BYTES
    ):
        raise ValueError
    return found
