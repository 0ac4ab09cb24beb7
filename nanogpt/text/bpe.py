"""Byte-level BPE: what often stands together becomes one token (Sennrich et al. 2016; on bytes, Radford et al. 2019).

Learning merges and applying them is the work of Hugging Face's `tokenizers`. Here: which part of a text they are
learned from, plain text in and whole characters out, and what is kept of it. Text is divided before merging as GPT-2
does, into words with the space before them, numbers, punctuation and white space: no token reaches across.

Tokens are written in GPT-2's byte alphabet, in which each byte is one printable character, a space is `Ġ`.
"""

import codecs
import heapq
import json
import re
from collections.abc import Iterable, Sequence
from itertools import chain, count, islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nanogpt.errors import UserError
from nanogpt.random_streams import stream

if TYPE_CHECKING:
    import tokenizers

DEFAULT_VOCABULARY = 4096
LARGEST_VOCABULARY = 1 << 18
SAMPLE_BYTES_PER_TOKEN = 1024
"""Text that merges are learned from, for each token asked for: 4 MB for 4,096. More changes hardly a merge, and a
script without spaces takes a hundred times longer than English."""
SAMPLE_PIECE_CHARACTERS = 1 << 12
FEWEST_OCCURRENCES = 2
"""A pair that was seen once is no pattern."""
ENCODE_AT_ONCE = 1024
KNOWN_WORDS = 1 << 18
"""Whose ids are kept, with the space before each: about 60 MB at most."""
LONGEST_KNOWN_WORD = 64

# Unicode's White_Space, not Python's `\s`, which has four control characters more: GPT-2 takes those as punctuation.
WHITE_SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_WORD = re.compile(f"[{WHITE_SPACE}]*[^{WHITE_SPACE}]+|[{WHITE_SPACE}]+")


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's character for each byte: itself where it can be seen, else the next free one from 256 on."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in set(shown)]
    return {chr(byte): byte for byte in shown} | {chr(256 + n): byte for n, byte in enumerate(hidden)}


BYTE_OF = _byte_alphabet()


class ByteTokens:
    """Tokens that are bytes each: how ids become text."""

    pieces: Sequence[bytes]
    """what each token writes, by its id; nothing where it has no text"""

    def decode(self, ids: Iterable[int]) -> str:
        return b"".join(self.pieces[i] for i in ids).decode("utf-8", "replace")

    def decoder(self) -> "Utf8Decoder":
        return Utf8Decoder(self.pieces)

    def token_bytes(self) -> NDArray[np.int64]:
        return np.array([len(one) for one in self.pieces], dtype=np.int64)


class BpeTokenizer(ByteTokens):
    """One token a frequent sequence of bytes: any text, in fewer tokens than characters.

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
        """Tokens in the order of their ids, None for one without text; merges in the order of their rank.

        Raises UserError for a vocabulary that cannot write every text, or merges that do not belong to it.
        """
        _check(tokens, merges, end_of_document)
        self.tokens, self.merges, self.end_of_document = tuple(tokens), tuple(merges), end_of_document
        self.vocab_size = len(tokens)
        self.pieces = [bytes(BYTE_OF[character] for character in token or "") for token in tokens]
        self._encoder = _encoder(tokens, merges)
        self._known: dict[str, Sequence[int]] = {}

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int = DEFAULT_VOCABULARY,
        end_of_document: bool = True,
        seed: int = 1337,
    ) -> "BpeTokenizer":
        """Learn merges until there are `vocab_size` tokens, or no pair is left that occurs twice.

        They are learned from a sample (`sample_pieces`) of 1,024 bytes for each token. The same texts, in the same
        pieces, and seed give the same merges, in any process and with any number of threads.
        """
        from tokenizers import trainers

        fewest = 256 + end_of_document
        if not fewest <= vocab_size <= LARGEST_VOCABULARY:
            raise UserError(
                f"vocab_size is {vocab_size}; choose from {fewest} (the bytes"
                f"{' and the end-of-document token' if end_of_document else ''}) to {LARGEST_VOCABULARY:,}, "
                f"for example {DEFAULT_VOCABULARY}"
            )
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - end_of_document,
            min_frequency=FEWEST_OCCURRENCES,
            initial_alphabet=sorted(BYTE_OF),
            show_progress=False,
        )
        learner = _gpt2_words()
        learner.train_from_iterator(sample_pieces(texts, vocab_size * SAMPLE_BYTES_PER_TOKEN, seed), trainer)
        learned = json.loads(learner.to_str())["model"]
        tokens: list[str | None] = sorted(learned["vocab"], key=learned["vocab"].__getitem__)
        merges = [(left, right) for left, right in learned["merges"]]
        return cls([*tokens, *[None] * end_of_document], merges, len(tokens) if end_of_document else None)

    def encode(self, text: str, unknown: Literal["error", "skip"] = "error") -> NDArray[np.int32]:
        """Token ids (T,); nothing is unknown, and no text is taken for a special token.

        Each distinct word is merged once: a text repeats its words, and looking one up is several times faster.
        """
        words = split_words(text.encode("utf-8", "replace").decode("utf-8"))
        ids: dict[str, Sequence[int]] = {word: self._known.get(word, ()) for word in words}
        new = [word for word, known in ids.items() if not known]
        for start in range(0, len(new), ENCODE_AT_ONCE):
            some = new[start : start + ENCODE_AT_ONCE]
            encoded = self._encoder.encode_batch_fast(some, add_special_tokens=False)
            ids.update((word, tuple(one.ids)) for word, one in zip(some, encoded))
        short = (word for word in new if len(word) <= LONGEST_KNOWN_WORD)
        self._known.update((word, ids[word]) for word in islice(short, max(0, KNOWN_WORDS - len(self._known))))
        return np.fromiter(chain.from_iterable(map(ids.__getitem__, words)), dtype=np.int32)

    def to_dict(self) -> dict[str, Any]:
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


class Utf8Decoder:
    """Token ids one at a time to text: holds back the bytes of a character until its last one has come."""

    def __init__(self, token_bytes: Sequence[bytes]) -> None:
        self._token_bytes = token_bytes
        self._open = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        return self._open.decode(self._token_bytes[token])

    def flush(self) -> str:
        return self._open.decode(b"", final=True)


def split_words(text: str) -> list[str]:
    """The text cut wherever white space follows something else.

    No token reaches across such a place, so that the words' ids joined are the text's.

    >>> split_words("one  two, three ")
    ['one', '  two,', ' three', ' ']
    """
    return _WORD.findall(text)


def sample_pieces(texts: Iterable[str], limit_bytes: int, seed: int) -> list[str]:
    """At most about `limit_bytes` of the texts in short pieces, each as likely as any other; all where they fit.

    One pass, and no more memory than the sample's: every piece draws a number, and the lowest are kept.
    """
    numbers, held = count(), 0
    kept: list[tuple[int, int, bytes]] = []  # (minus the number drawn, place in the texts, UTF-8)
    for text in texts:
        for start in range(0, len(text), SAMPLE_PIECE_CHARACTERS):
            piece = text[start : start + SAMPLE_PIECE_CHARACTERS].encode("utf-8", "replace")
            number = next(numbers)
            heapq.heappush(kept, (-stream(seed, "tokenizer", number), number, piece))
            held += len(piece)
            while held > limit_bytes and len(kept) > 1:
                held -= len(heapq.heappop(kept)[2])
    return [piece.decode("utf-8") for _, _, piece in sorted(kept, key=lambda one: one[1])]


def split_merge(merge: Any) -> tuple[str, str]:
    """The two parts of a merge, written as `a b` or as a pair."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _gpt2_words() -> "tokenizers.Tokenizer":
    """An empty byte-level BPE that divides text as GPT-2 does, and has no special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    empty = Tokenizer(models.BPE())
    empty.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return empty


def _encoder(tokens: Sequence[str | None], merges: Sequence[tuple[str, str]]) -> "tokenizers.Tokenizer":
    from tokenizers import models

    encoder = _gpt2_words()
    vocabulary = {token: number for number, token in enumerate(tokens) if token is not None}
    encoder.model = models.BPE(vocab=vocabulary, merges=list(merges))
    return encoder


def _check(tokens: Sequence[str | None], merges: Sequence[tuple[str, str]], end_of_document: int | None) -> None:
    """Refuse what the library would take wrongly, or end the program for."""
    if len(tokens) > LARGEST_VOCABULARY:
        raise UserError(
            f"a vocabulary of {len(tokens):,} tokens is larger than {LARGEST_VOCABULARY:,}: take a smaller one"
        )
    texts = [token for token in tokens if token is not None]
    known = set(texts)
    if len(known) < len(texts):
        raise UserError("a vocabulary must not hold a token twice")
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
