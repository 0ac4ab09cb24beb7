"""What a loss is to be held against: how well the same text is predicted by guessing, by counting, and by compressors.

Each is given the training part and measured on the same text as the model, every token but the first once:

- uniform: every token of the vocabulary alike;
- unigram, bigram, trigram: how often a token follows none, one, two tokens, smoothed after Witten and Bell;
- Kneser–Ney of order 5, modified and interpolated: the best that counting did before networks
  (`nanogpt.evaluation.ngrams`);
- xz and zstd: (|c(train + text)| - |c(train)|) · 8 / |text| bits per byte, their strongest setting, and a window that
  reaches back over all of the training part. They read text, so the first token is predicted too, and what divides
  documents is not.

Counting takes memory: of a longer training part the last ten million tokens are read, which is said in the row.
"""

import importlib.util
import lzma
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nanogpt.data.dataset import TokenIds
from nanogpt.evaluation.ngrams import Ngrams
from nanogpt.text.tokenizer import Tokenizer

MOST_TOKENS = 10_000_000
"""Training tokens read: counting them takes up to 1.2 GB, and a quarter of a minute"""

KNESER_NEY_ORDER = 5
FLOORS = ("uniform", "unigram", "bigram", "trigram", f"Kneser–Ney, order {KNESER_NEY_ORDER}", "xz", "zstd")


@dataclass(frozen=True, kw_only=True)
class Floor:
    """One row of the table."""

    name: str
    loss: float | None = None
    """nats a token; a compressor knows no tokens"""
    bits_per_byte: float | None = None
    """None where the row could not be measured"""
    note: str = ""
    """what was left out, or why there is no figure"""


def floors(train: TokenIds, text: TokenIds, tokenizer: Tokenizer) -> Iterator[Floor]:
    """Every floor of the token ids of a text (T,), given those of the training part; the weakest first.

    Some take seconds: they come one by one.
    """
    note = ""
    if len(train) > MOST_TOKENS:
        note = f"from the last {MOST_TOKENS:,} of {len(train):,} training tokens"
        train = train[-MOST_TOKENS:]
    count, size = len(text) - 1, int(tokenizer.token_bytes()[text[1:]].sum())

    def counted(name: str, nats: float, note: str = "") -> Floor:
        return Floor(name=name, loss=nats / count, bits_per_byte=nats / math.log(2) / max(size, 1), note=note)

    yield counted(FLOORS[0], count * math.log(tokenizer.vocab_size))
    model = Ngrams(train, tokenizer.vocab_size, 3, "witten-bell")
    for order, name in enumerate(FLOORS[1:4], 1):
        yield counted(name, float(model.losses(text, order).sum()), note)
    del model  # before the next takes as much
    model = Ngrams(train, tokenizer.vocab_size, KNESER_NEY_ORDER, "kneser-ney")
    yield counted(FLOORS[4], float(model.losses(text).sum()), note)
    del model
    before, after = _text_bytes(train, tokenizer), _text_bytes(text, tokenizer)
    for name, compressed_size in zip(FLOORS[5:], (_xz_size, _zstd_size)):
        yield _compressed(name, compressed_size, before, after, note)


def _compressed(name: str, compressed_size: Callable[[bytes], int], before: bytes, after: bytes, note: str) -> Floor:
    if name == "zstd" and importlib.util.find_spec("zstandard") is None:
        return Floor(name=name, note="not installed: pip install 'nanogpt[data]'")
    more = compressed_size(before + after) - compressed_size(before)
    return Floor(name=name, bits_per_byte=more * 8 / max(len(after), 1), note=note)


def _text_bytes(ids: TokenIds, tokenizer: Tokenizer) -> bytes:
    return tokenizer.decode(ids.tolist()).encode("utf-8", "surrogatepass")


def _xz_size(data: bytes) -> int:
    """Size of a raw LZMA2 stream whose dictionary holds all of the data."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": max(len(data), 1 << 12)}]
    return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters))


def _zstd_size(data: bytes) -> int:
    """Size of a zstd frame at the highest level whose window holds all of the data."""
    import zstandard

    window = min(max(len(data).bit_length(), zstandard.WINDOWLOG_MIN), zstandard.WINDOWLOG_MAX)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        zstandard.MAX_COMPRESSION_LEVEL, source_size=len(data), window_log=window, enable_ldm=True
    )
    return len(zstandard.ZstdCompressor(compression_params=parameters).compress(data))
