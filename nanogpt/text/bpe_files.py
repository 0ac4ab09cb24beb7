"""Byte-level BPE from files of others: GPT-2's `vocab.json` with `merges.txt`, or Hugging Face's `tokenizer.json`.

Only what encodes exactly as GPT-2 does is taken; anything else is refused with the reason, never approximated.
"""

import json
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError
from nanogpt.text.bpe import BpeTokenizer, split_merge

END_OF_TEXT = "<|endoftext|>"
LARGEST_FILE_BYTES = 16_000_000
"""Several times GPT-2's. What a JSON file of this size can take of memory stays bearable, whatever is in it."""


def read_bpe(path: Path, end_of_document: bool = True) -> BpeTokenizer:
    """The tokenizer in a folder, or in one of its files; its `<|endoftext|>` is the end-of-document token.

    Where it has none, one is added with the last id. Without `end_of_document` there is none.
    Raises UserError, naming the file, for what is missing, damaged, too large, or another kind of tokenizer.
    """
    folder = path if path.is_dir() else path.parent
    whole = folder / "tokenizer.json" if path.is_dir() else path
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    in_two = path in (vocabulary, merges) or not whole.exists()
    if in_two and not (vocabulary.exists() and merges.exists()):
        raise UserError(
            f"no tokenizer at {str(path)!r}: give a folder with vocab.json and merges.txt, or with a tokenizer.json"
        )
    where = f"{vocabulary} with merges.txt" if in_two else str(whole)
    try:
        if in_two:
            return _from_gpt2(json.loads(_read(vocabulary)), _read(merges), end_of_document)
        tables = json.loads(_read(whole))
        return _of_ours(tables) if "kind" in tables else _from_hugging_face(tables, end_of_document)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{where} cannot be read as a byte-level BPE: get the file anew, or name another") from None


def _from_gpt2(vocabulary: dict[str, int], merges: str, end_of_document: bool) -> BpeTokenizer:
    lines = merges.replace("\r\n", "\n").removeprefix("#version: 0.2\n").split("\n")
    return _tokenizer(vocabulary, [split_merge(line) for line in lines if line], {END_OF_TEXT}, end_of_document)


def _from_hugging_face(tables: dict[str, Any], end_of_document: bool) -> BpeTokenizer:
    model, divides, added = tables["model"], tables.get("pre_tokenizer") or {}, tables.get("added_tokens") or []
    kind = model.get("type", "BPE")  # GPT-2's own file has none
    reasons = {
        f"its model is {kind}, not BPE": kind != "BPE",
        f"it divides text by {divides.get('type')}, not by ByteLevel alone": divides.get("type") != "ByteLevel",
        "it puts a space before every text": divides.get("add_prefix_space") is not False,
        "it divides text by another rule than GPT-2's": divides.get("use_regex") is False,
        "it normalises text, which cannot be undone": tables.get("normalizer") is not None,
        **{f"it has {name} {model.get(name)!r}": bool(model.get(name)) for name in UNLIKE_GPT2},
        "it has added tokens that are matched in text": any(one["special"] is not True for one in added),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UserError(f"{reason}: only a byte-level BPE that encodes as GPT-2's does can be taken")
    merges = [split_merge(merge) for merge in model["merges"]]
    special = {one["content"]: one["id"] for one in added}
    return _tokenizer(model["vocab"] | special, merges, {END_OF_TEXT, *special}, end_of_document)


UNLIKE_GPT2 = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")


def _of_ours(tables: dict[str, Any]) -> BpeTokenizer:
    if tables["kind"] != "bpe":
        raise UserError(
            f"it is of kind {tables['kind']!r}: take its kind by --tokenizer, its vocabulary is the text's own"
        )
    return BpeTokenizer.from_dict(tables)


def _tokenizer(
    vocabulary: dict[str, int], merges: list[tuple[str, str]], special: set[str], end_of_document: bool
) -> BpeTokenizer:
    """Special tokens keep their ids but have no text: nothing that is typed becomes one."""
    ids = vocabulary.values()
    if any(type(number) is not int for number in ids) or sorted(ids) != list(range(len(ids))):
        raise UserError(f"the ids of its {len(ids):,} tokens are not 0 to {len(ids) - 1:,}, each once")
    by_id = {number: token for token, number in vocabulary.items()}
    tokens = [None if by_id[number] in special else by_id[number] for number in range(len(ids))]
    end = vocabulary.get(END_OF_TEXT)
    if end_of_document and end is None:
        tokens, end = [*tokens, None], len(tokens)
    return BpeTokenizer(tokens, merges, end if end_of_document else None)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}") from None
    if len(data) > LARGEST_FILE_BYTES:
        raise UserError(f"larger than {LARGEST_FILE_BYTES:,} bytes, which no tokenizer of this kind is")
    return data.decode("utf-8")
