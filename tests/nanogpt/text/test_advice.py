"""What the figures of a text mean: the recommendation and its reason, and no warning without a cause."""

from dataclasses import replace

import pytest

from nanogpt.config import load_preset
from nanogpt.model.parameters import count_parameters
from nanogpt.text.advice import find_faults, fit_tokenizers, recommend_tokenizer
from nanogpt.text.bpe import BpeTokenizer
from nanogpt.text.inspection import Inspection, Overlap, Repetition

NONE = Repetition(share=0.0, copies=0, example=None, one_in=1)
CLEAN = Inspection(
    **{"documents": 3, "characters": 100_000, "bytes": 110_000, "train_characters": 90_000, "distinct": 80},
    **{"rare": 3, "rarest": (("é", 1),), "replaced": 0, "mojibake": 3},
    **{
        "repeated_documents": NONE,
        "repeated_lines": NONE,
        "sorted_lines": 0.5,
        "overlap": Overlap(share=0.01, windows=999, one_in=1),
    },
)


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ((110_000, 80, 3), "char", "80 distinct"),
        ((999_999, 512, 100), "char", "bpe"),
        ((300_000, 2500, 1200), "byte", "1,200 of them"),
        ((1_000_000, 80, 3), "bpe", "1.0 MB"),
        ((5_000_000_000, 9000, 3), "bpe", "5,000.0 MB"),
    ],
)
def test_the_tokenizer_and_why(text, kind, reason):
    found, why = recommend_tokenizer(*text)
    assert found == kind
    assert reason in why


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, []),
        ({"replaced": 2}, ["2 replacement characters"]),
        ({"mojibake": 300}, ["300 letters", "--encoding"]),
        ({"rare": 30}, ["30 of 80 characters", "replace or delete"]),
        ({"repeated_documents": replace(NONE, copies=12)}, ["about 12;"]),
        ({"repeated_lines": replace(NONE, share=0.3, example="Page 1")}, ["30% of the text", "'Page 1'"]),
        ({"overlap": replace(CLEAN.overlap, share=0.061)}, ["6.1% of the validation part", "--val"]),
        ({"train_characters": 5000}, ["5,000 characters", "--patience 3"]),
    ],
)
def test_each_fault_is_named_with_what_to_do(change, words):
    faults = find_faults(replace(CLEAN, **change))
    assert len(faults) == bool(words)
    assert all(word in faults[0] for word in words), faults


def test_the_fit_by_hand():
    def count(model):
        return count_parameters(model).total

    text = "the cat sat on the mat. " * 500
    char, byte, bpe = fit_tokenizers(CLEAN, load_preset("modern"), [text], count)
    assert (char.vocab_size, char.tokens, char.bytes_per_token) == (81, 90_000, 1.1)
    assert (byte.vocab_size, byte.tokens, byte.steps_per_epoch) == (257, 99_000, 99_000 // (16 * 64))
    learned = BpeTokenizer.train([text])
    assert bpe.vocab_size == learned.vocab_size
    assert bpe.bytes_per_token == pytest.approx(len(text) / len(learned.encode(text)))
    assert bpe.tokens == round(99_000 / bpe.bytes_per_token)
    assert char.parameters == count(load_preset("modern").override(vocab_size=81).model)
    assert char.vocabulary_share == 2 * 81 * 128 / char.parameters
    tied = fit_tokenizers(CLEAN, load_preset("gpt2"), [text], count)[0]
    assert tied.vocabulary_share == 81 * 128 / tied.parameters
