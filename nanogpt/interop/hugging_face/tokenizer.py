"""Our tokenizers as Hugging Face's `tokenizer.json`, and back: the same ids for every text that ours can write."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanogpt.errors import UserError
from nanogpt.files import read_text
from nanogpt.interop.special import special_names
from nanogpt.text.bpe import BYTE_OF, BpeTokenizer
from nanogpt.text.bpe_files import LARGEST_FILE_BYTES, read_bpe
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.tokenizer import ByteTokenizer, CharTokenizer, Tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Library


def to_hugging_face(tokenizer: Tokenizer) -> dict[str, Any]:
    """The tables of a `tokenizer.json`.

    Tokens without text become special ones; the end-of-document token is `<|endoftext|>`, and nothing that is typed
    becomes one as long as `split_special_tokens` is set (`tokenizer_settings`). Characters that a character vocabulary
    lacks are dropped, as by `--unknown skip`. Raises UserError for a character that JSON cannot hold.
    """
    if isinstance(tokenizer, ForeignTokenizer):
        return tokenizer.tables
    from tokenizers import AddedToken

    vocabulary = _vocabulary(tokenizer)
    special = special_names(tokenizer)
    library = _pipeline(tokenizer, vocabulary | {name: number for number, name in special.items()})
    library.add_special_tokens([AddedToken(special[number], normalized=False) for number in sorted(special)])
    tables: dict[str, Any] = json.loads(library.to_str())
    return tables


def tokenizer_settings(tokenizer: Tokenizer, block_size: int) -> dict[str, Any]:
    """The tables of `tokenizer_config.json`."""
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": block_size,
        "split_special_tokens": True,
        "clean_up_tokenization_spaces": False,
    }
    name = None if tokenizer.end_of_document is None else special_names(tokenizer).get(tokenizer.end_of_document)
    if name is not None:
        settings |= {"bos_token": name, "eos_token": name}
    return settings


def _vocabulary(tokenizer: Tokenizer) -> dict[str, int]:
    """The text of each token that has some, in the alphabet of its model, and its id."""
    if isinstance(tokenizer, CharTokenizer):
        if any("\ud800" <= one <= "\udfff" for one in tokenizer.characters):
            raise UserError("the vocabulary has half a character (a lone surrogate), which no tokenizer.json can hold")
        return {character: number for number, character in enumerate(tokenizer.characters)}
    if isinstance(tokenizer, ByteTokenizer):
        return dict(BYTE_OF)
    assert isinstance(tokenizer, BpeTokenizer)
    return {token: number for number, token in enumerate(tokenizer.tokens) if token is not None}


def _pipeline(tokenizer: Tokenizer, vocabulary: dict[str, int]) -> "Library":
    """How text is divided, looked up, and put together again."""
    from tokenizers import Tokenizer as Library
    from tokenizers import decoders, models, pre_tokenizers

    merges = list(tokenizer.merges) if isinstance(tokenizer, BpeTokenizer) else []
    library = Library(models.BPE(vocab=vocabulary, merges=merges))
    if isinstance(tokenizer, CharTokenizer):
        library.decoder = decoders.Fuse()  # characters stand beside each other without spaces
        return library
    words = isinstance(tokenizer, BpeTokenizer)  # bytes alone need no dividing
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
    library.decoder = decoders.ByteLevel()
    return library


def read_tokenizer(folder: Path, vocab_size: int, end_of_document: int | None) -> Tokenizer:
    """The tokenizer of a folder of Transformers, for a model of `vocab_size` rows.

    What this module wrote becomes again what it was. Raises UserError, naming the file and the reason, for a
    tokenizer that is missing, damaged, or of a kind that is not known here.
    """
    where = folder / "tokenizer.json"
    if not where.exists():
        return _padded(read_bpe(folder, end_of_document=False), vocab_size, end_of_document, folder)
    try:
        tables = json.loads(read_text(where, LARGEST_FILE_BYTES))
        own = _own(tables, vocab_size, end_of_document)
        if own is not None:
            return own
        if (tables.get("pre_tokenizer") or {}).get("type") == "Sequence":
            return ForeignTokenizer(tables, vocab_size, end_of_document)
    except UserError as error:
        raise UserError(str(error) if str(where) in str(error) else f"{where}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{where} cannot be read as a tokenizer: get the file anew") from None
    return _padded(read_bpe(where, end_of_document=False), vocab_size, end_of_document, where)


def _own(tables: dict[str, Any], vocab_size: int, end: int | None) -> Tokenizer | None:
    """A character or byte vocabulary as this module writes it; None for anything else."""
    model, divides = tables["model"], tables.get("pre_tokenizer")
    if model.get("type") != "BPE" or model["merges"] or tables.get("normalizer"):
        return None
    special = [one["content"] for one in tables["added_tokens"] if one["special"]]
    by_id = sorted((number, token) for token, number in model["vocab"].items() if token not in special)
    size = len(by_id) + (end is not None)
    if [number for number, _ in by_id] != list(range(len(by_id))) or vocab_size != size or end not in (None, size - 1):
        return None
    characters = "".join(token for _, token in by_id)
    if divides is None and len(characters) == len(by_id) and (tables.get("decoder") or {}).get("type") == "Fuse":
        return CharTokenizer(characters, end is not None)
    whole_bytes = {token: number for number, token in by_id} == BYTE_OF
    if whole_bytes and divides == {"type": "ByteLevel", **PLAIN_BYTES}:
        return ByteTokenizer(end is not None)
    return None


PLAIN_BYTES = {"add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def _padded(bpe: BpeTokenizer, vocab_size: int, end: int | None, where: Path) -> BpeTokenizer:
    """The same for a model with more rows than the vocabulary has tokens: those have no text."""
    if bpe.vocab_size > vocab_size:
        raise UserError(f"{where} has {bpe.vocab_size:,} tokens and the model {vocab_size:,}: get the files anew")
    tokens = [*bpe.tokens, *[None] * (vocab_size - bpe.vocab_size)]
    return BpeTokenizer(tokens, bpe.merges, end if end is not None and tokens[end] is None else None)
