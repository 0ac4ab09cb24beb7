"""Tokenizers of other projects with their own splitting rule, applied by Hugging Face's library from their file.

Only byte-level BPE is accepted, and only known rules, because a pattern from a file could take forever.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nanogpt.errors import UserError
from nanogpt.text.bpe import BYTE_OF, LARGEST_VOCABULARY
from nanogpt.text.tokenizer import Tokenizer, Unknown, UnknownCharacters

QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen splits a text before merging (Bai et al. 2023, "Qwen technical report"; one digit per token)."""
LLAMA_WORDS = QWEN_WORDS.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
"""How Llama 3 does (Grattafiori et al. 2024, "The Llama 3 herd of models"): up to three digits together."""


def _by_pattern(words: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": words}, "behavior": "Isolated", "invert": False}


LEVEL = {"type": "ByteLevel", "add_prefix_space": False}
RULES = {
    "qwen2": [_by_pattern(QWEN_WORDS), LEVEL | {"use_regex": False}],
    "llama-bpe": [_by_pattern(LLAMA_WORDS), LEVEL | {"use_regex": False}],
    "smollm": [{"type": "Digits", "individual_digits": True}, LEVEL | {"use_regex": True}],
}
"""The known rules by llama.cpp's names, as `tokenizer.json` has them; smollm is GPT-2's with one digit per token."""
MUST_BE_OFF = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "unk_token")
"""Settings of the library's BPE that would make tokens differ from the bytes of the text."""
MUST_BE_OFF_IN_TOKENS = ("lstrip", "rstrip", "single_word", "normalized")
PRINTABLE = {letter for letter, byte in BYTE_OF.items() if ord(" ") <= byte <= ord("~")}
"""Tokens that each vocabulary must have; SmolLM's lacks bytes that are rare or never occur in UTF-8."""


class ForeignTokenizer(Tokenizer):
    """A byte-level BPE as its `tokenizer.json` defines it. No input becomes a special token."""

    kind = "foreign"

    def __init__(self, tables: dict[str, Any], vocab_size: int, end_of_document: int | None) -> None:
        """Take the tables of a `tokenizer.json` and the model's `vocab_size`, which may exceed the number of tokens."""
        import tokenizers

        self.rule = check_supported(tables)
        """how a text is split before merging, one of `RULES`"""
        # The first two would truncate and pad what is encoded, the last would add tokens.
        tables = tables | {"truncation": None, "padding": None, "post_processor": None}
        self.tables, self.vocab_size, self.end_of_document = tables, vocab_size, end_of_document
        try:
            self._library = tokenizers.Tokenizer.from_str(json.dumps(tables))
        except Exception as error:  # the library raises no other
            raise UserError(f"the tokenizer cannot be read: {error}") from None
        self._library.encode_special_tokens = True
        for one in tables["added_tokens"]:  # the library numbers those that the model's vocabulary lacks itself
            if self._library.token_to_id(one["content"]) != one["id"]:
                raise UserError(f"the id of {one['content']!r} cannot be {one['id']!r}: download the file again")
        largest = max(self._library.get_vocab(with_added_tokens=True).values(), default=0)
        if not largest < vocab_size <= LARGEST_VOCABULARY:
            raise UserError(
                f"the tokenizer's ids go up to {largest:,}, and the model has {vocab_size:,}; the limit is "
                f"{LARGEST_VOCABULARY:,}, and no id may exceed the model's"
            )
        if end_of_document is not None and not 0 <= end_of_document < vocab_size:
            raise UserError(f"the end-of-document token {end_of_document} is none of {vocab_size:,}")
        written = {one["id"]: b"" if one["special"] else one["content"].encode() for one in self.tables["added_tokens"]}
        written |= {} if end_of_document is None else {end_of_document: b""}
        self._lacking = {byte for letter, byte in BYTE_OF.items() if letter not in tables["model"]["vocab"]}
        self.bytes_by_id = [
            written[number] if number in written else self._token(number) for number in range(vocab_size)
        ]

    def _token(self, number: int) -> bytes:
        token = self._library.id_to_token(number) or ""
        return bytes(BYTE_OF[one] for one in token) if BYTE_OF.keys() >= set(token) else b""

    def encode(self, text: str, unknown: Unknown = "error") -> NDArray[np.int32]:
        """Return token ids, shape (T,). Raises UserError naming characters whose bytes it lacks, or skips these."""
        clean = text.encode("utf-8", "replace").decode("utf-8")
        if unknown == "error" and not self._lacking.isdisjoint(clean.encode()):
            raise UnknownCharacters(sorted(one for one in set(clean) if not self._lacking.isdisjoint(one.encode())))
        return np.array(self._library.encode(clean, add_special_tokens=False).ids, dtype=np.int32)

    def special_token_names(self) -> dict[int, str]:
        """Return the file's names of special tokens, and one for each row of the model without a token."""
        added, known = self.tables["added_tokens"], set(self.tables["model"]["vocab"].values())
        rows = set(range(self.vocab_size)) - known - {one["id"] for one in added}
        unused = {number: f"<|unused_{number}|>" for number in rows}
        return {one["id"]: one["content"] for one in added if one["special"]} | unused

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `tokenizer.json`."""
        sizes = {"vocab_size": self.vocab_size, "end_of_document": self.end_of_document}
        return {"kind": self.kind, **sizes, "tokenizer": self.tables}

    @classmethod
    def from_dict(cls, tables: dict[str, Any]) -> "ForeignTokenizer":
        """Read what `to_dict` wrote."""
        size, end = tables["vocab_size"], tables["end_of_document"]
        if type(size) is not int or type(end) not in (int, type(None)):
            raise TypeError
        return cls(tables["tokenizer"], size, end)


def check_supported(tables: Mapping[str, Any]) -> str:
    """Return the rule's name; raise UserError, with the reason, for anything but a byte-level BPE with a known rule."""
    model, normalizer = tables["model"], tables.get("normalizer") or {}
    splits = tables.get("pre_tokenizer") or {}
    parts = list(splits["pretokenizers"]) if splits.get("type") == "Sequence" else [splits]
    kinds = ", ".join(str(part.get("type")) for part in parts)
    plain = [{key: value for key, value in part.items() if key != "trim_offsets"} for part in parts]
    rule = next((name for name, known in RULES.items() if plain == known), None)
    added = [name for one in tables["added_tokens"] for name in MUST_BE_OFF_IN_TOKENS if one.get(name)]
    reasons = {
        f"its model is {model.get('type')}, not BPE": model.get("type") != "BPE",
        **{f"it has {name} {model.get(name)!r}": bool(model.get(name)) for name in MUST_BE_OFF},
        "it normalizes text by more than NFC": normalizer.get("type") not in (None, "NFC"),
        "its tokens are not bytes": (tables.get("decoder") or {}).get("type") != "ByteLevel",
        "its vocabulary lacks bytes of plain English": bool(PRINTABLE - model["vocab"].keys()),
        "it has added tokens that include white space around them": bool(added),
        "it puts a space before every text": any(part.get("add_prefix_space") for part in parts),
        f"it splits text by {kinds or 'nothing'}, which is not a known pattern": rule is None,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if rule is None or found:
        raise UserError(
            f"{found[0]}: only a byte-level BPE that splits text as GPT-2, Llama 3, Qwen or SmolLM do is supported"
        )
    return rule
