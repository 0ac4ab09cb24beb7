"""Tokens of bytes: one per byte, or byte-level BPE (Sennrich et al. 2016; on bytes, Radford et al. 2019).

BPE merges frequent pairs of bytes into one token. Hugging Face's `tokenizers` learns and applies the merges. This
module chooses the part of a text to learn from, turns ids into whole characters, saves what was learned, and reads
GPT-2's files. Before merging, text is split as GPT-2 does, into words with the space before them, numbers, punctuation
and white space; no token crosses these.

Tokens are written in GPT-2's byte alphabet, in which each byte is one printable character; a space is `Ġ`.
"""

import heapq
import json
import re
from collections.abc import Iterable, Sequence
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nanogpt.errors import UserError
from nanogpt.files import read_text
from nanogpt.random_streams import stream
from nanogpt.text.imported import with_listed_tokens
from nanogpt.text.tokenizer import END_OF_TEXT, Tokenizer, Unknown

if TYPE_CHECKING:
    import tokenizers

DEFAULT_VOCABULARY = 4096
LARGEST_VOCABULARY = 1 << 18
LARGEST_FILE_BYTES = 16_000_000
"""Limit for a tokenizer's files, several times GPT-2's. JSON of this size takes an acceptable amount of memory."""
SAMPLE_BYTES_PER_TOKEN = 1024
"""Text to learn from, per token: 4 MB for 4,096. More text hardly changes any merge, and a script without spaces takes
a hundred times longer than English."""
SAMPLE_CHARACTERS = 1 << 12
"""Length of the parts that a sample consists of."""
ENCODE_AT_ONCE = 1024
CACHED_WORDS = 1 << 18
"""Words whose ids are kept, with the space before each: about 60 MB at most."""
LONGEST_CACHED_WORD = 64
OFF_IN_GPT2 = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")

# Unicode's White_Space. Python's `\s` has four more control characters, which GPT-2 treats as punctuation.
WHITE_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_WORD = re.compile(f"[{WHITE_SPACE}]*[^{WHITE_SPACE}]+|[{WHITE_SPACE}]+")


def _byte_alphabet() -> dict[str, int]:
    """Map GPT-2's characters to bytes: a printable byte is itself, any other the next free character from 256 on."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in set(shown)]
    return {chr(byte): byte for byte in shown} | {chr(256 + n): byte for n, byte in enumerate(hidden)}


BYTE_OF = _byte_alphabet()


class ByteTokenizer(Tokenizer):
    """One token per byte of UTF-8: any text in any language, without a vocabulary to learn.

    >>> tokenizer = ByteTokenizer()
    >>> tokenizer.encode("né").tolist(), tokenizer.decode([110, 195, 169]), tokenizer.vocab_size
    ([110, 195, 169], 'né', 257)
    """

    kind = "byte"

    def __init__(self, end_of_document: bool = True) -> None:
        self.end_of_document = 256 if end_of_document else None
        self.vocab_size = 256 + end_of_document
        self.bytes_by_id = [*(bytes([byte]) for byte in range(256)), *[b""] * end_of_document]

    def encode(self, text: str, unknown: Unknown = "error") -> NDArray[np.int32]:
        """Return the bytes of a text, shape (T,); none is unknown."""
        return np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8).astype(np.int32)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `tokenizer.json`."""
        return {"kind": self.kind, "end_of_document": self.end_of_document is not None}


class BpeTokenizer(Tokenizer):
    """One token per frequent sequence of bytes: any text, in fewer tokens than characters.

    >>> tokenizer = BpeTokenizer.train(["low lower lowest"] * 9, vocab_size=260)
    >>> tokenizer.vocab_size, tokenizer.decode(tokenizer.encode(" low née"))
    (260, ' low née')
    >>> [tokenizer.decode([token]) for token in tokenizer.encode("lowest")]
    ['low', 'e', 's', 't']
    """

    kind = "bpe"

    def __init__(
        self, tokens: Sequence[str | None], merges: Sequence[tuple[str, str]], end_of_document: int | None
    ) -> None:
        """Take tokens in the order of their ids, None for one without text, and merges in the order of their rank."""
        _check(tokens, merges, end_of_document)
        self.tokens, self.merges, self.end_of_document = tuple(tokens), tuple(merges), end_of_document
        self.vocab_size = len(tokens)
        self.bytes_by_id = [bytes(BYTE_OF[character] for character in token or "") for token in tokens]
        vocabulary = {token: number for number, token in enumerate(tokens) if token is not None}
        self._encoder = _library_bpe(vocabulary, list(merges))
        self._cache: dict[str, Sequence[int]] = {}

    @classmethod
    def train(
        cls, texts: Iterable[str], vocab_size: int = DEFAULT_VOCABULARY, end_of_document: bool = True, seed: int = 1337
    ) -> "BpeTokenizer":
        """Learn merges from a sample until there are `vocab_size` tokens, or no pair is left that occurs twice.

        The same texts, in the same parts, and the same seed give the same merges, on any number of threads.
        """
        from tokenizers import trainers

        fewest = 256 + end_of_document
        if not fewest <= vocab_size <= LARGEST_VOCABULARY:
            raise UserError(
                f"--vocab-size is {vocab_size}; choose from {fewest} (the bytes"
                f"{' and the end-of-document token' if end_of_document else ''}) to {LARGEST_VOCABULARY:,}, "
                f"for example {DEFAULT_VOCABULARY}"
            )
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - end_of_document, min_frequency=2, initial_alphabet=sorted(BYTE_OF),
            show_progress=False,
        )  # fmt: skip
        learner = _library_bpe()
        learner.train_from_iterator(sample_texts(texts, vocab_size * SAMPLE_BYTES_PER_TOKEN, seed), trainer)
        learned = json.loads(learner.to_str())["model"]
        tokens: list[str | None] = sorted(learned["vocab"], key=learned["vocab"].__getitem__)
        merges = [(left, right) for left, right in learned["merges"]]
        return cls([*tokens, *[None] * end_of_document], merges, len(tokens) if end_of_document else None)

    def encode(self, text: str, unknown: Unknown = "error") -> NDArray[np.int32]:
        """Return token ids, shape (T,); nothing is unknown, and no text becomes a special token.

        Each distinct word is merged once: a text repeats its words, and a look-up is several times faster.
        """
        words = split_words(text.encode("utf-8", "replace").decode("utf-8"))
        ids: dict[str, Sequence[int]] = {word: self._cache.get(word, ()) for word in words}
        new = [word for word, known in ids.items() if not known]
        for start in range(0, len(new), ENCODE_AT_ONCE):
            some = new[start : start + ENCODE_AT_ONCE]
            encoded = self._encoder.encode_batch_fast(some, add_special_tokens=False)
            ids.update((word, tuple(one.ids)) for word, one in zip(some, encoded))
        short = (word for word in new if len(word) <= LONGEST_CACHED_WORD)
        self._cache.update((word, ids[word]) for word in islice(short, max(0, CACHED_WORDS - len(self._cache))))
        return np.fromiter(chain.from_iterable(map(ids.__getitem__, words)), dtype=np.int32)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `tokenizer.json`."""
        return {
            "kind": self.kind,
            "end_of_document": self.end_of_document,
            "tokens": list(self.tokens),
            "merges": [f"{left} {right}" for left, right in self.merges],
        }

    @classmethod
    def from_dict(cls, tables: dict[str, Any]) -> "BpeTokenizer":
        """Read what `to_dict` wrote."""
        return cls(tables["tokens"], [split_merge(merge) for merge in tables["merges"]], tables["end_of_document"])


def split_words(text: str) -> list[str]:
    """Split the text wherever white space follows something else.

    No token crosses such a position, so the ids of the words joined are those of the text.

    >>> split_words("one  two, three ")
    ['one', '  two,', ' three', ' ']
    """
    return _WORD.findall(text)


def sample_texts(texts: Iterable[str], limit_bytes: int, seed: int) -> list[str]:
    """Return at most about `limit_bytes` of the texts in short parts, each equally likely, in one pass."""
    numbers, held = count(), 0
    kept: list[tuple[int, int, bytes]] = []  # (minus the number drawn, position in the texts, UTF-8)
    for text in texts:
        for start in range(0, len(text), SAMPLE_CHARACTERS):
            part = text[start : start + SAMPLE_CHARACTERS].encode("utf-8", "replace")
            number = next(numbers)
            heapq.heappush(kept, (-stream(seed, "tokenizer", number), number, part))
            held += len(part)
            while held > limit_bytes and len(kept) > 1:
                held -= len(heapq.heappop(kept)[2])
    return [part.decode("utf-8") for _, _, part in sorted(kept, key=lambda one: one[1])]


def _library_bpe(
    vocabulary: dict[str, int] | None = None, merges: list[tuple[str, str]] | None = None
) -> "tokenizers.Tokenizer":
    """Return the library's byte-level BPE, which splits text as GPT-2 does and has no special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    bpe = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return bpe


def _check(tokens: Sequence[str | None], merges: Sequence[tuple[str, str]], end_of_document: int | None) -> None:
    """Raise UserError for what the library would misread, or what would make it end the program."""
    if len(tokens) > LARGEST_VOCABULARY:
        raise UserError(f"a vocabulary of {len(tokens):,} is larger than {LARGEST_VOCABULARY:,}: take a smaller one")
    texts = [token for token in tokens if token is not None]
    known = set(texts)
    if len(known) < len(texts):
        raise UserError("a vocabulary must not contain a token twice")
    for token in texts:
        if not token or not BYTE_OF.keys() >= set(token):
            raise UserError(f"the token {token[:40]!r} is not written in GPT-2's byte alphabet: give a byte-level BPE")
    if missing := BYTE_OF.keys() - known:
        raise UserError(f"the vocabulary lacks {len(missing)} of the 256 bytes: give a byte-level BPE, which has all")
    for left, right in merges:
        if not {left, right, left + right} <= known:
            raise UserError(f"the merge {left[:40]!r} with {right[:40]!r} is of tokens that the vocabulary lacks")
    if end_of_document is not None and (
        type(end_of_document) is not int
        or not 0 <= end_of_document < len(tokens)
        or tokens[end_of_document] is not None
    ):
        raise UserError(f"end_of_document is {end_of_document!r}, which is not the id of a token without text")


def read_bpe(path: Path, end_of_document: bool = True) -> BpeTokenizer:
    """Read GPT-2's `vocab.json` with `merges.txt`, Hugging Face's `tokenizer.json` or ours, from a folder or by name.

    Its `<|endoftext|>` becomes the end-of-document token; if it has none, one is added with the last id. Raises
    UserError, naming the file, for anything that does not encode exactly as GPT-2 does.
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
            lines = read_text(merges, LARGEST_FILE_BYTES).replace("\r\n", "\n").removeprefix("#version: 0.2\n")
            pairs = [split_merge(line) for line in lines.split("\n") if line]
            ids = json.loads(read_text(vocabulary, LARGEST_FILE_BYTES))
            return _tokenizer(ids, pairs, {END_OF_TEXT}, end_of_document)
        tables = json.loads(read_text(whole, LARGEST_FILE_BYTES))
        kind = tables.get("kind", "")
        if kind and kind != "bpe":
            raise UserError(f"it is of kind {kind!r}: use --tokenizer, which takes the vocabulary of the text")
        if kind:
            return BpeTokenizer.from_dict(tables)
        return _from_hugging_face(with_listed_tokens(tables, whole.parent), end_of_document)
    except UserError as error:  # some of these name the file themselves
        raise UserError(str(error) if where in str(error) else f"{where}: {error}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{where} cannot be read as a byte-level BPE: download it again, or name another") from None


def split_merge(merge: Any) -> tuple[str, str]:
    """Return the two parts of a merge, written as `a b` or as a pair."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _from_hugging_face(tables: dict[str, Any], end_of_document: bool) -> BpeTokenizer:
    model, splits, added = tables["model"], tables.get("pre_tokenizer") or {}, tables.get("added_tokens") or []
    kind = model.get("type", "BPE")  # GPT-2's own file has none
    reasons = {
        f"its model is {kind}, not BPE": kind != "BPE",
        f"it splits text by {splits.get('type')}, not by ByteLevel alone": splits.get("type") != "ByteLevel",
        "it puts a space before every text": splits.get("add_prefix_space") is not False,
        "it splits text by another rule than GPT-2's": splits.get("use_regex") is False,
        "it normalizes text, which cannot be undone": tables.get("normalizer") is not None,
        **{f"it has {name} {model.get(name)!r}": bool(model.get(name)) for name in OFF_IN_GPT2},
        "it has added tokens that are matched in text": any(one["special"] is not True for one in added),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UserError(f"{reason}: only a byte-level BPE that encodes as GPT-2's does is supported")
    merges = [split_merge(merge) for merge in model["merges"]]
    special = {one["content"]: one["id"] for one in added}
    return _tokenizer(model["vocab"] | special, merges, {END_OF_TEXT, *special}, end_of_document)


def _tokenizer(
    vocabulary: dict[str, int], merges: list[tuple[str, str]], special: set[str], end_of_document: bool
) -> BpeTokenizer:
    """Return a tokenizer in which special tokens keep their ids but have no text, so that no input becomes one."""
    ids = vocabulary.values()
    if any(type(number) is not int for number in ids) or sorted(ids) != list(range(len(ids))):
        raise UserError(f"the ids of its {len(ids):,} tokens are not 0 to {len(ids) - 1:,}, each once")
    by_id = {number: token for token, number in vocabulary.items()}
    tokens = [None if by_id[number] in special else by_id[number] for number in range(len(ids))]
    end = vocabulary.get(END_OF_TEXT)
    if end_of_document and end is None:
        tokens, end = [*tokens, None], len(tokens)
    bpe = BpeTokenizer(tokens, merges, end if end_of_document else None)
    return keep_names(bpe, {number: by_id[number] for number in ids if by_id[number] in special})


def keep_names(bpe: BpeTokenizer, names: dict[int, str]) -> BpeTokenizer:
    """Let a tokenizer keep the names that its special tokens had where they came from; return it."""
    own = bpe.special_token_names()
    kept = {str(number): name for number, name in names.items() if name != own[number]}
    bpe.imported = {"names": kept} if kept else {}
    return bpe
