"""Baselines for a loss: how well guessing, counting and compressing predict the same text.

Each is fitted on the training part and measured on the same text as the model, every token but the first once:

- uniform: the same probability for every token;
- unigram, bigram, trigram: counts of tokens after zero, one or two others, with Witten–Bell smoothing;
- Kneser–Ney of order 5, modified and interpolated: the best n-gram model before neural networks
  (`nanogpt.evaluation.ngrams`);
- xz and zstd: (|c(train + text)| - |c(train)|) · 8 / |text| bits per byte, at their strongest setting, with a window
  over all of the training part. They read text, so they predict the first token too, and nothing between documents.

Only the last ten million tokens of a longer training part are read, and the row says so.
"""

import importlib.util
import lzma
import math
from collections.abc import Iterator
from dataclasses import dataclass

from nanogpt.data.batches import TokenIds
from nanogpt.evaluation.ngrams import Ngrams
from nanogpt.text.tokenizer import Tokenizer

MOST_TOKENS = 10_000_000
"""Training tokens read: counting them takes up to 1.2 GB, and 15 seconds."""
KNESER_NEY_ORDER = 5
BASELINES = ("uniform", "unigram", "bigram", "trigram", f"Kneser–Ney, order {KNESER_NEY_ORDER}", "xz", "zstd")


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One row of the table."""

    name: str
    loss: float | None = None
    """nats per token; None for a compressor"""
    bits_per_byte: float | None = None
    """None where it could not be measured"""
    note: str = ""
    """what was left out, or why there is no figure"""


def measure_baselines(train: TokenIds, text: TokenIds, tokenizer: Tokenizer) -> Iterator[Baseline]:
    """Yield every baseline of a text, the weakest first, from its token ids (T,) and those of the training part."""
    note = ""
    if len(train) > MOST_TOKENS:
        note = f"from the last {MOST_TOKENS:,} of {len(train):,} training tokens"
        train = train[-MOST_TOKENS:]
    count, size = len(text) - 1, int(tokenizer.token_bytes()[text[1:]].sum())

    def counted(name: str, nats: float, note: str = "") -> Baseline:
        return Baseline(name=name, loss=nats / count, bits_per_byte=nats / math.log(2) / max(size, 1), note=note)

    yield counted(BASELINES[0], count * math.log(tokenizer.vocab_size))
    model = Ngrams(train, tokenizer.vocab_size, 3, "witten-bell")
    for order, name in enumerate(BASELINES[1:4], 1):
        yield counted(name, float(model.losses(text, order).sum()), note)
    del model  # before the next one takes as much memory
    model = Ngrams(train, tokenizer.vocab_size, KNESER_NEY_ORDER, "kneser-ney")
    yield counted(BASELINES[4], float(model.losses(text).sum()), note)
    del model
    before, after = (tokenizer.decode(ids.tolist()).encode("utf-8", "surrogatepass") for ids in (train, text))
    for name, compressed_size in zip(BASELINES[5:], (_xz_size, _zstd_size)):
        if name == "zstd" and importlib.util.find_spec("zstandard") is None:
            yield Baseline(name=name, note="not installed: pip install 'nanogpt[data]'")
            continue
        more = compressed_size(before + after) - compressed_size(before)
        yield Baseline(name=name, bits_per_byte=more * 8 / max(len(after), 1), note=note)


def _xz_size(data: bytes) -> int:
    """Return the size of a raw LZMA2 stream whose dictionary holds all of the data."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": max(len(data), 1 << 12)}]
    return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters))


def _zstd_size(data: bytes) -> int:
    """Return the size of a zstd frame at the highest level whose window holds all of the data."""
    import zstandard

    window = min(max(len(data).bit_length(), zstandard.WINDOWLOG_MIN), zstandard.WINDOWLOG_MAX)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        zstandard.MAX_COMPRESSION_LEVEL, source_size=len(data), window_log=window, enable_ldm=True
    )
    return len(zstandard.ZstdCompressor(compression_params=parameters).compress(data))
