"""What a text's figures mean: the advice and its reason, and no warning without a cause."""

from dataclasses import replace

import pytest

from nanogpt.config import load_preset
from nanogpt.model.gpt import GPT
from nanogpt.text.advice import advise_tokenizer, find_faults, fit_tokenizers, meaning_of_overlap, name_character
from nanogpt.text.bpe import BpeTokenizer
from nanogpt.text.inspection import Inspection, Overlap, Repetition

NONE = Repetition(share=0.0, copies=0, example=None, one_in=1)
CLEAN = Inspection(
    **{"documents": 3, "characters": 100_000, "bytes": 110_000, "train_characters": 90_000, "distinct": 80},
    **{"rare": 3, "rarest": (("é", 1),), "replaced": 0, "mojibake": 3},
    **{"repeated_documents": NONE, "repeated_lines": NONE, "overlap": Overlap(share=0.01, windows=999, one_in=1)},
)


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ((110_000, 80, 3), "char", "80 different characters are a small vocabulary"),
        ((999_999, 512, 100), "char", "bpe"),
        ((300_000, 2500, 1200), "byte", "1,200 of them occur fewer than 10 times"),
        ((1_000_000, 80, 3), "bpe", "1.0 MB are enough"),
        ((5_000_000_000, 9000, 3), "bpe", "5,000.0 MB"),
    ],
)
def test_the_tokenizer_and_why(text, kind, reason):
    found, why = advise_tokenizer(*text)
    assert found == kind
    assert reason in why


def test_a_clean_text_has_no_faults():
    assert find_faults(CLEAN) == []


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        ({"replaced": 2}, ["2 replacement characters", "decoded wrongly"]),
        ({"mojibake": 300}, ["300 letters look like UTF-8", "leave --encoding out"]),
        ({"rare": 30}, ["30 of 80 characters", "--tokenizer bpe or byte"]),
        ({"repeated_documents": replace(NONE, copies=12)}, ["about 12 documents are copies"]),
        ({"repeated_lines": replace(NONE, share=0.3, example="Page 1")}, ["30% of the text", "'Page 1'", "delete"]),
        ({"overlap": replace(CLEAN.overlap, share=0.061)}, ["6.1% of the validation part", "--val"]),
        ({"train_characters": 5000}, ["5,000 characters", "--patience 3"]),
    ],
    ids=lambda change: next(iter(change)),
)
def test_each_fault_says_what_to_do(change, saying):
    (fault,) = find_faults(replace(CLEAN, **change))
    assert all(words in fault for words in saying), fault


def test_what_an_overlap_means():
    assert meaning_of_overlap(CLEAN).startswith("little")
    assert meaning_of_overlap(replace(CLEAN, overlap=replace(CLEAN.overlap, share=0.5))).startswith("much")


def test_the_fit_by_hand():
    text = "the cat sat on the mat. " * 500
    char, byte, bpe = fit_tokenizers(CLEAN, load_preset("modern"), [text])
    assert (char.vocab_size, char.tokens, char.bytes_per_token) == (81, 90_000, 1.1)
    assert (byte.vocab_size, byte.tokens, byte.steps_per_epoch) == (257, 99_000, 99_000 // (16 * 64))
    merges = BpeTokenizer.train([text])
    assert bpe.vocab_size == merges.vocab_size
    assert bpe.bytes_per_token == pytest.approx(len(text) / len(merges.encode(text)))
    assert bpe.tokens == round(99_000 / bpe.bytes_per_token)
    model = GPT(load_preset("modern").override(vocab_size=81).model)
    assert char.parameters == model.parameter_count
    tables = model.token_embedding.weight.numel() + model.lm_head.weight.numel()
    assert char.vocabulary_share == tables / model.parameter_count
    tied = fit_tokenizers(CLEAN, load_preset("gpt2"), [text])[0]
    assert tied.vocabulary_share == 81 * 128 / tied.parameters


def test_a_character_is_named():
    assert name_character("é") == "'é' U+00E9 LATIN SMALL LETTER E WITH ACUTE"
    assert name_character("\ud800") == "'\\ud800' U+D800"
