"""Our tokenizers as Hugging Face's `tokenizer.json`, and back: the same ids for every text that ours can encode."""

import json
from pathlib import Path
from typing import Any

from nanogpt.errors import UserError
from nanogpt.files import read_text
from nanogpt.text.bpe import BYTE_OF, LARGEST_FILE_BYTES, BpeTokenizer, ByteTokenizer, keep_names, read_bpe
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.imported import MORE_TOKENS, NUMBERS, TOKENS, read_imported, with_listed_tokens
from nanogpt.text.tokenizer import CharTokenizer, Tokenizer

PLAIN_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
"""Pre-tokenizer of an exported byte vocabulary."""


def to_hugging_face(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the tables of a `tokenizer.json`; raise UserError for a character that JSON cannot hold.

    Tokens without text have a name in the vocabulary that no merge makes, so typed text never becomes one; that they
    are special, `tokenizer_config.json` says (`tokenizer_settings`). Only with a chat template are they special in
    `tokenizer.json` too, as they came, because what a template writes has to become them. Characters that a character
    vocabulary lacks are dropped, as with `--unknown skip`.
    """
    tables = _tables(tokenizer)
    matched = [one for one in tables["added_tokens"] if not one["special"]]
    if "chat_template" in tokenizer.imported or len(matched) == len(tables["added_tokens"]):
        return tables
    # All are in the vocabulary, as the library numbers an added token that is not by the vocabulary's length.
    vocabulary = tables["model"]["vocab"] | {one["content"]: one["id"] for one in tables["added_tokens"]}
    return tables | {"added_tokens": matched, "model": tables["model"] | {"vocab": vocabulary}}


def _tables(tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the tables of a `tokenizer.json` that lists every special token."""
    if isinstance(tokenizer, ForeignTokenizer):
        return tokenizer.tables
    from tokenizers import AddedToken, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Library

    special = tokenizer.special_token_names()
    vocabulary = _vocabulary(tokenizer) | {name: number for number, name in special.items()}
    merges = list(tokenizer.merges) if isinstance(tokenizer, BpeTokenizer) else []
    library = Library(models.BPE(vocab=vocabulary, merges=merges))
    if isinstance(tokenizer, CharTokenizer):
        library.decoder = decoders.Fuse()  # joins characters without spaces
    else:
        words = isinstance(tokenizer, BpeTokenizer)  # single bytes need no splitting into words
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
        library.decoder = decoders.ByteLevel()
    library.add_special_tokens([AddedToken(special[number], normalized=False) for number in sorted(special)])
    tables: dict[str, Any] = json.loads(library.to_str())
    return tables


def tokenizer_settings(tokenizer: Tokenizer, block_size: int) -> dict[str, Any]:
    """Return the tables of `tokenizer_config.json`, with what an imported tokenizer came with."""
    added = _tables(tokenizer)["added_tokens"]
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": block_size,
        "split_special_tokens": "chat_template" not in tokenizer.imported,
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",  # a decoder continues the right end
        "added_tokens_decoder": {str(one["id"]): {k: v for k, v in one.items() if k != "id"} for one in added},
    }
    end = tokenizer.end_of_document
    if end is not None and (name := tokenizer.special_token_names().get(end)):
        settings |= {"bos_token": name, "eos_token": name, "pad_token": name}
    return settings | {key: value for key, value in tokenizer.imported.items() if key not in ("names", *NUMBERS)}


def _vocabulary(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the id of each token that has text, by that text (in GPT-2's byte alphabet for bytes and BPE)."""
    if isinstance(tokenizer, CharTokenizer):
        if any("\ud800" <= one <= "\udfff" for one in tokenizer.characters):
            raise UserError("the vocabulary has half a character (a lone surrogate), which tokenizer.json cannot hold")
        return {character: number for number, character in enumerate(tokenizer.texts) if character}
    if isinstance(tokenizer, ByteTokenizer):
        return dict(BYTE_OF)
    assert isinstance(tokenizer, BpeTokenizer)
    return {token: number for number, token in enumerate(tokenizer.tokens) if token is not None}


def read_tokenizer(folder: Path, vocab_size: int, end_of_document: int | None) -> Tokenizer:
    """Read the tokenizer of a folder of Transformers, such as `to_hugging_face` wrote, for a model of `vocab_size`.

    What came with it is kept as `imported`, except what an export writes anyway.
    """
    tokenizer = _read_vocabulary(folder, vocab_size, end_of_document)
    found, tables = read_imported(folder, vocab_size), _tables(tokenizer)
    written = tokenizer_settings(tokenizer, 0) | dict.fromkeys(NUMBERS, tokenizer.end_of_document)
    # Transformers would add a token that the model has no row for.
    known = {None, *tables["model"]["vocab"], *(one["content"] for one in tables["added_tokens"])}
    if MORE_TOKENS in found:
        found[MORE_TOKENS] = [one for one in found[MORE_TOKENS] if one in known]
    new = {name: one for name, one in found.items() if one != written.get(name)}
    own = {name: one for name, one in new.items() if name not in TOKENS or one in known}
    tokenizer.imported = {**tokenizer.imported, **own}
    return tokenizer


def _read_vocabulary(folder: Path, vocab_size: int, end_of_document: int | None) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.exists():
        return _pad(read_bpe(folder, end_of_document=False), vocab_size, end_of_document, folder)
    try:
        tables = with_listed_tokens(json.loads(read_text(path, LARGEST_FILE_BYTES)), folder)
        exported = _exported(tables, vocab_size, end_of_document)
        if exported is not None:
            return exported
        if tables["model"].get("byte_fallback"):
            raise UserError(
                "it is a SentencePiece vocabulary, such as Llama 2's: only a byte-level BPE, such as GPT-2's, Llama "
                "3's, Qwen's or SmolLM's, can be imported"
            )
        if (tables.get("pre_tokenizer") or {}).get("type") == "Sequence":
            return ForeignTokenizer(tables, vocab_size, end_of_document)
    except UserError as error:
        raise UserError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path} cannot be read as a tokenizer: download the file again") from None
    return _pad(read_bpe(path, end_of_document=False), vocab_size, end_of_document, path)


def _exported(tables: dict[str, Any], vocab_size: int, end: int | None) -> Tokenizer | None:
    """Return a character or byte vocabulary that `to_hugging_face` wrote; None for anything else."""
    model, splits = tables["model"], tables.get("pre_tokenizer")
    if model.get("type") != "BPE" or model["merges"] or tables.get("normalizer"):
        return None
    special = [one["content"] for one in tables["added_tokens"] if one["special"]]
    by_id = sorted((number, token) for token, number in model["vocab"].items() if token not in special)
    ids = [number for number in range(len(by_id) + (end is not None)) if number != end]
    if [number for number, _ in by_id] != ids or vocab_size != len(ids) + (end is not None):
        return None
    characters = "".join(token for _, token in by_id)
    if splits is None and len(characters) == len(by_id) and (tables.get("decoder") or {}).get("type") == "Fuse":
        return CharTokenizer(characters, False if end is None else end)
    if splits == PLAIN_BYTES and {token: number for number, token in by_id} == BYTE_OF:
        return ByteTokenizer(end is not None)
    return None


def _pad(bpe: BpeTokenizer, vocab_size: int, end: int | None, path: Path) -> BpeTokenizer:
    """Add tokens without text up to the model's `vocab_size`."""
    if bpe.vocab_size > vocab_size:
        raise UserError(f"{path} has {bpe.vocab_size:,} tokens and the model {vocab_size:,}: download the files again")
    tokens = [*bpe.tokens, *[None] * (vocab_size - bpe.vocab_size)]
    padded = BpeTokenizer(tokens, bpe.merges, end if end is not None and tokens[end] is None else None)
    return keep_names(padded, {int(number): name for number, name in bpe.imported.get("names", {}).items()})
