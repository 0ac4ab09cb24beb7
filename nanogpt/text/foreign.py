"""Tokenizers of others that divide text by a rule of their own: Hugging Face's library applies them, from their file.

Only byte-level BPE, so that every text can be written and every token is bytes; and only rules that are known here: a
pattern from a file could take for ever.
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nanogpt.errors import UserError
from nanogpt.text.bpe import BYTE_OF, LARGEST_VOCABULARY, ByteTokens

QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen divides a text before merging (Bai et al. 2023, "Qwen technical report"; one digit a token)."""
PLAIN = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "unk_token")
"""Settings of the library's BPE that must be off: with them a text would not be its bytes."""


class ForeignTokenizer(ByteTokens):
    """A byte-level BPE as its `tokenizer.json` has it. What is typed never becomes a special token."""

    kind = "foreign"

    def __init__(self, tables: dict[str, Any], vocab_size: int, end_of_document: int | None) -> None:
        """`tables` of a `tokenizer.json`; `vocab_size` that of the model, which may have more rows than tokens.

        Raises UserError, with the reason, for a tokenizer that cannot be taken.
        """
        from tokenizers import Tokenizer

        check_known(tables)
        # These two would cut and fill up what is encoded, and the last would add tokens to it.
        tables = tables | {"truncation": None, "padding": None, "post_processor": None}
        self.tables, self.vocab_size, self.end_of_document = tables, vocab_size, end_of_document
        try:
            self._library = Tokenizer.from_str(json.dumps(tables))
        except Exception as error:  # the library raises no other
            raise UserError(f"the tokenizer cannot be read: {error}") from None
        self._library.encode_special_tokens = True
        self.pieces = self._read_bytes(vocab_size, end_of_document)

    def _read_bytes(self, vocab_size: int, end_of_document: int | None) -> list[bytes]:
        """What each token writes. Raises UserError for ids that no model of this size has."""
        ids = self._library.get_vocab(with_added_tokens=True).values()
        if not max(ids, default=0) < vocab_size <= LARGEST_VOCABULARY:
            raise UserError(
                f"the tokenizer's ids go up to {max(ids, default=0):,} and the model has {vocab_size:,}; at most "
                f"{LARGEST_VOCABULARY:,} can be taken, and no more than the model has"
            )
        if end_of_document is not None and not 0 <= end_of_document < vocab_size:
            raise UserError(f"the end-of-document token {end_of_document} is none of {vocab_size:,}")
        written = {one["id"]: b"" if one["special"] else one["content"].encode() for one in self.tables["added_tokens"]}
        written |= {} if end_of_document is None else {end_of_document: b""}
        return [written[number] if number in written else self._token(number) for number in range(vocab_size)]

    def _token(self, number: int) -> bytes:
        token = self._library.id_to_token(number) or ""
        return bytes(BYTE_OF[one] for one in token) if BYTE_OF.keys() >= set(token) else b""

    def encode(self, text: str, unknown: Literal["error", "skip"] = "error") -> NDArray[np.int32]:
        """Token ids (T,); nothing is unknown."""
        clean = text.encode("utf-8", "replace").decode("utf-8")
        return np.array(self._library.encode(clean, add_special_tokens=False).ids, dtype=np.int32)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "vocab_size": self.vocab_size,
            "end_of_document": self.end_of_document,
            "tokenizer": self.tables,
        }

    @classmethod
    def from_dict(cls, tables: dict[str, Any]) -> "ForeignTokenizer":
        """Read what `to_dict` wrote."""
        size, end = tables["vocab_size"], tables["end_of_document"]
        if type(size) is not int or type(end) not in (int, type(None)):
            raise TypeError
        return cls(tables["tokenizer"], size, end)


def check_known(tables: Mapping[str, Any]) -> None:
    """Raise UserError, with the reason, for what is not a byte-level BPE by a known rule."""
    model, normalizer = tables["model"], tables.get("normalizer") or {}
    parts = _parts(tables.get("pre_tokenizer") or {})
    kinds = [part.get("type") for part in parts]
    reasons = {
        f"its model is {model.get('type')}, not BPE": model.get("type") != "BPE",
        **{f"it has {name} {model.get(name)!r}": bool(model.get(name)) for name in PLAIN},
        "it normalises text by more than NFC": normalizer.get("type") not in (None, "NFC"),
        "its tokens are not bytes": (tables.get("decoder") or {}).get("type") != "ByteLevel",
        "its vocabulary lacks some of the 256 bytes": not BYTE_OF.keys() <= model["vocab"].keys(),
        "it has added tokens that take white space with them": any(map(_takes_more, tables["added_tokens"])),
        f"it divides text by {', '.join(map(str, kinds)) or 'nothing'}": kinds != ["Split", "ByteLevel"],
        "it divides text by a pattern that is not known here": not all(map(_is_known, parts)),
        "it puts a space before every text": any(part.get("add_prefix_space") for part in parts),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UserError(f"{reason}: only a byte-level BPE that divides text as GPT-2 or Qwen do can be taken")


def _takes_more(token: Mapping[str, Any]) -> bool:
    return any(token.get(name) for name in ("lstrip", "rstrip", "single_word", "normalized"))


def _parts(pre_tokenizer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    whole = pre_tokenizer.get("type") == "Sequence"
    return list(pre_tokenizer["pretokenizers"]) if whole else [pre_tokenizer]


def _is_known(part: Mapping[str, Any]) -> bool:
    if part.get("type") == "ByteLevel":
        return part.get("use_regex") is False
    pattern = part.get("pattern", {}).get("Regex")
    return pattern == QWEN_WORDS and part.get("behavior") == "Isolated" and not part.get("invert")
