"""What comes with a tokenizer of Hugging Face besides its vocabulary: special tokens, a chat template, stops.

A run keeps it in its `tokenizer.json`, and an export writes it again. Nothing of it is ever executed here.
"""

import json
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError
from nanogpt.files import read_text

TOKENS, MORE_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token"), "additional_special_tokens"
NUMBERS = ("eos_token_id", "pad_token_id")
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
LARGEST_BYTES = 1_000_000
"""Limit for all that is kept; a long chat template has about 10,000."""


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, {} where there is none; raise UserError, naming the file, for anything else."""
    try:
        tables = json.loads(read_text(path, 4 * LARGEST_BYTES)) if path.exists() else {}
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
    added = tables.get("added_tokens") or []
    found = read_json(folder / "tokenizer_config.json").get("added_tokens_decoder") or {}
    listed = {int(number): one for number, one in found.items() if one["special"]}
    new = sorted(listed.keys() - {one["id"] for one in added})
    if not new or tables["model"].get("type", "BPE") != "BPE":  # GPT-2's own file has no type
        return tables
    own = [{"id": one, "content": listed[one]["content"]} | {f: listed[one][f] for f in FLAGS} for one in new]
    added = sorted([*added, *own], key=lambda one: one["id"])
    both = {one["content"] for one in added}
    vocabulary = {token: number for token, number in tables["model"]["vocab"].items() if token not in both}
    return tables | {"added_tokens": added, "model": tables["model"] | {"vocab": vocabulary}}


def read_imported(folder: Path, vocab_size: int) -> dict[str, Any]:
    """Return what a folder of Transformers says about its tokenizer besides its vocabulary; UserError if damaged."""
    found = read_json(folder / "special_tokens_map.json") | read_json(folder / "tokenizer_config.json")
    numbers, template = read_json(folder / "generation_config.json"), folder / "chat_template.jinja"
    if template.exists():
        found["chat_template"] = read_text(template, LARGEST_BYTES)
    more = found.get(MORE_TOKENS) or found.get("extra_special_tokens")
    try:
        kept: dict[str, Any] = {name: _text(found[name]) for name in TOKENS if found.get(name) is not None}
        kept |= {MORE_TOKENS: list(map(_text, more))} if isinstance(more, list) else {}
        if found.get("chat_template"):  # which may write a token that is absent
            kept = {"bos_token": None} | kept | {"chat_template": found["chat_template"]}
        for name in NUMBERS:
            ids = numbers[name] if isinstance(numbers.get(name), list) else [numbers.get(name)]
            ids = [one for one in ids if one is not None and 0 <= one < vocab_size]  # a default may lie outside
            if ids:
                kept[name] = ids if isinstance(numbers[name], list) else ids[0]
        return check_imported(kept, vocab_size)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{folder}: tokenizer_config.json or generation_config.json has a chat template or a special token of the "
            f"wrong type or size: download the files again"
        ) from None


def _text(token: Any) -> Any:
    """Return the text of a special token, which some files give with its flags."""
    return token["content"] if isinstance(token, dict) else token


def check_imported(found: dict[str, Any], vocab_size: int) -> dict[str, Any]:
    """Return it unchanged if each part has the type and size that exports rely on; else raise an error of Python."""
    names, template = found.get("names", {}), found.get("chat_template", "")
    texts = [*names.values(), *found.get(MORE_TOKENS, [])]
    texts += [found[name] for name in TOKENS if found.get(name) is not None]
    texts += [template] if isinstance(template, str) else [one[key] for one in template for key in ("name", "template")]
    ids = [*map(int, names)]
    for one in (found[name] for name in NUMBERS if name in found):
        ids += one if isinstance(one, list) else [one]
    known = {"names", "chat_template", MORE_TOKENS, *TOKENS, *NUMBERS}
    sizes = [len(text.encode()) for text in texts]  # raises for what is no text
    if (
        found.keys() - known
        or len(set(names.values())) < len(names)
        or sum(sizes) > LARGEST_BYTES
        or any(type(n) is not int or n not in range(vocab_size) for n in ids)
    ):
        raise ValueError
    return found
