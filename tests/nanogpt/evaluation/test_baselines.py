"""Baselines against figures by hand, and their order on a real text."""

import argparse
import math
from pathlib import Path

import numpy as np
import pytest

from nanogpt.evaluation import baselines
from nanogpt.evaluation.baselines import BASELINES, measure_baselines
from nanogpt.evaluation.ngrams import Ngrams
from nanogpt.text.tokenizer import CharTokenizer


def by_name(train, text, tokenizer):
    found = {one.name: one for one in measure_baselines(train, text, tokenizer)}
    assert tuple(found) == BASELINES
    return found


def test_by_hand():
    tokenizer = CharTokenizer("abcé")  # five tokens with the end of a document
    train, text = tokenizer.encode("abcabéabcab"), tokenizer.encode("caéb")
    found = by_name(train, text, tokenizer)
    assert found["uniform"].loss == pytest.approx(math.log(5))
    assert found["uniform"].bits_per_byte == pytest.approx(3 * math.log2(5) / len("aéb".encode()))
    # c = a 4, b 4, c 2, é 1 of 11, four kinds: p(x) = (c + 4/5) / 15. After c always a, after a always b, after é a.
    a, e, b = (4.8 / 15, 1.8 / 15, 4.8 / 15)
    assert found["unigram"].loss == pytest.approx(-math.log(a * e * b) / 3)
    bigram = (2 + a) / 3 * e / 5 * (b / 2)  # c(c a) = 2 of 2; a é never of 4; é b never of 1
    assert found["bigram"].loss == pytest.approx(-math.log(bigram) / 3)
    for name, order, smoothing in (("trigram", 3, "witten-bell"), ("Kneser–Ney, order 5", 5, "kneser-ney")):
        losses = Ngrams(train, 5, order, smoothing).losses(text)
        assert found[name].loss == pytest.approx(losses.mean())
        assert found[name].bits_per_byte == pytest.approx(losses.sum() / math.log(2) / 4)
    assert not any(one.note for one in found.values())


@pytest.mark.parametrize("compressed_size", [baselines._xz_size, baselines._zstd_size])
def test_a_compressor_finds_a_copy_of_the_beginning(compressed_size):
    noise = np.random.default_rng(3).integers(256, size=300_007, dtype=np.uint8).tobytes()
    assert compressed_size(noise[:50_000]) >= 50_000  # noise
    assert compressed_size(noise + noise[:50_000]) - compressed_size(noise) < 2_000


def test_a_compressors_bits_per_byte(monkeypatch):
    monkeypatch.setattr(baselines, "_xz_size", lambda data: 7 * data.count(b"a") ** 2 + data.count(b"\xc3"))
    tokenizer = CharTokenizer("abé")
    found = by_name(tokenizer.encode("aabab"), tokenizer.encode("baéa"), tokenizer)
    assert found["xz"].bits_per_byte == pytest.approx((7 * (5**2 - 3**2) + 1) * 8 / 5)
    assert found["xz"].loss is None


def test_the_end_of_a_long_training_part(monkeypatch):
    monkeypatch.setattr(baselines, "MOST_TOKENS", 8)
    tokenizer = CharTokenizer("abc")
    train, text = tokenizer.encode("cccccccc" + "abababab"), tokenizer.encode("abac")
    found = by_name(train, text, tokenizer)
    expected = by_name(train[-8:], text, tokenizer)
    for name, one in found.items():
        assert one.note == ("" if name == "uniform" else "from the last 8 of 16 training tokens")
        assert (one.loss, one.bits_per_byte) == (expected[name].loss, expected[name].bits_per_byte)


def test_the_end_of_a_document_is_predicted_but_has_no_bytes():
    tokenizer = CharTokenizer("ab")
    found = by_name(tokenizer.encode("abababab"), np.array([0, 2, 1]), tokenizer)
    assert found["uniform"].loss == pytest.approx(math.log(3))
    assert found["uniform"].bits_per_byte == pytest.approx(2 * math.log2(3))


def test_each_baseline_is_better_on_a_real_text():
    text = Path(argparse.__file__).read_text(encoding="utf-8")[:80_000]
    tokenizer = CharTokenizer.train([text])
    ids = tokenizer.encode(text)
    found = by_name(ids[:70_000], ids[70_000:], tokenizer)
    bits = [one.bits_per_byte for one in found.values()]
    assert bits[:5] == sorted(bits[:5], reverse=True)
    assert bits[0] < 8
    assert 0.5 < bits[5] < bits[3]  # a program repeats whole lines
    assert bits[5] == pytest.approx(bits[6], rel=0.1)
