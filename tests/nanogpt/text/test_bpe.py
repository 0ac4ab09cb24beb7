"""Byte-level BPE: against `tokenizers` itself, against merges worked by hand, and for any text."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from nanogpt.errors import UserError
from nanogpt.text import bpe
from nanogpt.text.bpe import BYTE_OF, BpeTokenizer, sample_pieces, split_words

TEXT = "the cat sat on the mat, and the dog's cat saw 17 mats.\n\n  Über die Matte lief né 中文中文 😀!\r\n" * 5
ANY_TEXT = st.text(st.characters(), max_size=60)  # all planes and lone surrogates
# Words of the text, white space of every kind and the control characters that only Python takes for white space.
WORDY = st.lists(
    st.sampled_from(
        ["the", " cat", "'s", "17", "\n", " ", "\t", "\x1c", "\x85", "\u3000", "!", "中", "😀", "<|endoftext|>"]
    )
).map("".join)
ORDER = sorted(BYTE_OF)


@pytest.fixture(scope="module")
def learned():
    return BpeTokenizer.train([TEXT], vocab_size=307)


@pytest.fixture(scope="module")
def reference():
    """As whoever uses the library directly would set it up."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=306, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def by_hand(text):
    """The tokens of a text by the definition: at each turn the pair of lowest rank, leftmost first, becomes one."""
    tokenizer = BpeTokenizer(
        [*ORDER, "ab", "bc", "abc", "Ġab"], [("a", "b"), ("b", "c"), ("ab", "c"), ("Ġ", "ab")], None
    )
    return [tokenizer.decode([token]) for token in tokenizer.encode(text)]


def test_merges_by_hand():
    assert by_hand("abc") == ["abc"]
    assert by_hand("bcab") == ["bc", "ab"]
    assert by_hand("abab bc") == ["ab", "ab", " ", "bc"]
    assert by_hand(" abc") == [" ", "abc"]  # ab and c go first
    assert by_hand(" ab") == [" ab"]
    assert by_hand("a b") == ["a", " ", "b"]


def test_what_is_learned_by_hand():
    tokenizer = BpeTokenizer.train(["aaab aaab xy"], vocab_size=300)
    # aa or ab, twice each per word; then what remains twice. xy occurs once.
    assert tokenizer.merges[0] == ("a", "a")
    assert set(tokenizer.tokens[256:]) == {"aa", "ab", "aaab", None}
    assert tokenizer.vocab_size == 260
    assert tokenizer.end_of_document == 259


def test_the_same_as_the_library(learned, reference):
    assert learned.encode(TEXT).tolist() == reference.encode(TEXT).ids
    assert [reference.id_to_token(number) for number in range(306)] == list(learned.tokens[:306])
    assert (learned.vocab_size, learned.end_of_document, learned.tokens[306]) == (307, 306, None)


@given(ANY_TEXT | WORDY)
def test_any_text_is_encoded_as_the_library_does(learned, reference, text):
    plain = text.encode("utf-8", "replace").decode()
    assert learned.encode(text).tolist() == reference.encode(plain).ids


@given(ANY_TEXT | WORDY)
def test_any_text_survives(learned, text):
    ids = learned.encode(text)
    assert ids.dtype == np.int32
    assert learned.decode(ids) == text.encode("utf-8", "replace").decode()
    assert learned.token_bytes()[ids].sum() == len(text.encode("utf-8", "replace"))


@given(st.lists(st.integers(0, 306), max_size=40))
def test_a_stream_says_what_decoding_the_whole_says(learned, ids):
    decoder = learned.decoder()
    assert "".join([decoder.feed(token) for token in ids]) + decoder.flush() == learned.decode(ids)


@given(ANY_TEXT)
def test_a_stream_never_gives_half_a_character(learned, text):
    plain = text.encode("utf-8", "replace").decode()
    decoder = learned.decoder()
    for token in learned.encode(text):
        piece = decoder.feed(int(token))
        assert plain.startswith(piece)
        plain = plain.removeprefix(piece)
    assert (plain, decoder.flush()) == ("", "")


@given(ANY_TEXT | WORDY)
def test_words_have_the_texts_ids(learned, reference, text):
    words = split_words(text)
    assert "".join(words) == text
    ids = [token for word in words for token in reference.encode(word.encode("utf-8", "replace").decode()).ids]
    assert ids == reference.encode(text.encode("utf-8", "replace").decode()).ids == learned.encode(text).tolist()


def test_control_characters_are_no_white_space(learned):
    # Python's str.isspace takes these four for white space; GPT-2 for punctuation, which a token may reach across.
    assert split_words("a!\x1cb\x1f\x1d\x1e") == ["a!\x1cb\x1f\x1d\x1e"]
    assert split_words("a\u3000b\x85\tc") == ["a", "\u3000b", "\x85\tc"]


@pytest.mark.parametrize("known", [0, 2, 10**6])
@pytest.mark.parametrize("longest", [2, 64])
def test_words_that_are_known_and_words_that_are_not(learned, reference, monkeypatch, known, longest):
    monkeypatch.setattr(bpe, "KNOWN_WORDS", known)
    monkeypatch.setattr(bpe, "LONGEST_KNOWN_WORD", longest)
    monkeypatch.setattr(bpe, "ENCODE_AT_ONCE", 3)
    fresh = BpeTokenizer.from_dict(learned.to_dict())
    for _ in range(2):
        assert fresh.encode(TEXT).tolist() == reference.encode(TEXT).ids
        assert len(fresh._known) <= known
        assert all(len(word) <= longest for word in fresh._known)


def test_what_looks_like_the_end_of_a_document_is_text(learned):
    ids = learned.encode("a<|endoftext|>b")
    assert learned.end_of_document not in ids
    assert learned.decode(ids) == "a<|endoftext|>b"
    assert learned.decode([*learned.encode("a"), learned.end_of_document, *learned.encode("b")]) == "ab"
    assert learned.token_bytes()[learned.end_of_document] == 0


# What is learned, and from what


def digest(tokenizer):
    return hashlib.sha256(repr((tokenizer.tokens, tokenizer.merges)).encode()).hexdigest()


CODE = """
import hashlib, random
from nanogpt.text.bpe import BpeTokenizer
words = random.Random(5)
text = " ".join("".join(words.choices("abcdeé中", k=words.randint(1, 6))) for _ in range(20_000))
tokenizer = BpeTokenizer.train([text], vocab_size=1009)
print(hashlib.sha256(repr((tokenizer.tokens, tokenizer.merges, tokenizer.encode(text).tolist())).encode()).hexdigest())
"""


def test_every_process_and_number_of_threads_learns_the_same():
    found = {
        subprocess.run(
            [sys.executable, "-c", CODE],
            env=os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "5")
    }
    assert len(found) == 1


def test_a_text_that_cannot_fill_the_vocabulary():
    tokenizer = BpeTokenizer.train(["abcdefg"], vocab_size=1000)
    assert (tokenizer.vocab_size, tokenizer.merges) == (257, ())
    assert BpeTokenizer.train([], vocab_size=257).decode([tokenizer.end_of_document]) == ""


@pytest.mark.parametrize(("end", "fewest"), [(True, 257), (False, 256)])
def test_the_smallest_vocabulary_is_the_bytes(end, fewest):
    tokenizer = BpeTokenizer.train([TEXT], fewest, end)
    assert (tokenizer.vocab_size, tokenizer.end_of_document) == (fewest, 256 if end else None)
    assert tokenizer.encode("é").tolist() == [ORDER.index("Ã"), ORDER.index("©")]
    with pytest.raises(UserError, match=f"vocab_size is {fewest - 1}; choose from {fewest}"):
        BpeTokenizer.train([TEXT], fewest - 1, end)


def test_the_largest_vocabulary():
    with pytest.raises(UserError, match="262,144"):
        BpeTokenizer.train([TEXT], bpe.LARGEST_VOCABULARY + 1)


def test_lone_surrogates_are_learned_from_as_question_marks():
    assert digest(BpeTokenizer.train(["a\ud800b" * 9], 261)) == digest(BpeTokenizer.train(["a?b" * 9], 261))


@given(st.lists(ANY_TEXT, max_size=9), st.integers(0, 3))
def test_a_text_that_fits_is_its_own_sample(texts, seed):
    assert "".join(sample_pieces(texts, 10_000, seed)) == "".join(texts).encode("utf-8", "replace").decode()


def test_a_sample_is_bounded_seeded_and_from_everywhere(monkeypatch):
    monkeypatch.setattr(bpe, "SAMPLE_PIECE_CHARACTERS", 7)
    texts = ["".join(f"{n:04}中 " for n in range(start, start + 1000)) for start in range(0, 10_000, 1000)]
    sample = sample_pieces(iter(texts), 9_000, seed=3)
    assert 8_900 < len("".join(sample).encode()) <= 9_000
    assert sample == sample_pieces(texts, 9_000, seed=3)
    places = ["".join(texts).index(piece) for piece in sample if len(piece) == 7]
    assert places == sorted(places)
    assert sample != sample_pieces(texts, 9_000, seed=4)
    thousands = [sum(piece in text for piece in sample) for text in texts]
    assert min(thousands) > len(sample) / 20  # a tenth expected of each
    whole = {piece for text in texts for piece in [text[i : i + 7] for i in range(0, len(text), 7)]}
    assert set(sample) <= whole


def test_merges_come_from_the_sample(monkeypatch):
    monkeypatch.setattr(bpe, "SAMPLE_BYTES_PER_TOKEN", 1)
    monkeypatch.setattr(bpe, "SAMPLE_PIECE_CHARACTERS", 100)
    text = "".join(chr(ord("a") + n % 23) * 100 for n in range(230))
    seen = {seed: set(BpeTokenizer.train([text], 300, seed=seed).tokens[256:-1]) for seed in (1, 2)}
    assert seen[1] != seen[2]
    assert all(len({*token}) == 1 for tokens in seen.values() for token in tokens)
    assert all(1 <= len({token[0] for token in tokens}) <= 3 for tokens in seen.values())


# What is no byte-level BPE


@pytest.mark.parametrize(
    ("tokens", "merges", "end", "saying"),
    [
        ([*ORDER, "a"], [], None, "twice"),
        ([*ORDER, ""], [], None, "byte alphabet"),
        ([*ORDER, "a b"], [], None, "'a b' is not written in GPT-2's byte alphabet"),
        ([*ORDER, "中"], [], None, "byte alphabet"),
        (ORDER[:-2], [], None, "lacks 2 of the 256 bytes"),
        ([*ORDER, "ab"], [("a", "c")], None, "merge 'a' with 'c'"),
        ([*ORDER, "ab"], [("a", "b"), ("ab", "ab")], None, "merge 'ab' with 'ab'"),
        ([*ORDER, None], [], 255, "end_of_document is 255"),
        ([*ORDER, None], [], 257, "end_of_document is 257"),
        ([*ORDER, None], [], -1, "end_of_document is -1"),
        ([*ORDER, None], [], True, "end_of_document is True"),
        ([None] * (bpe.LARGEST_VOCABULARY + 1), [], None, "larger than 262,144"),
    ],
)
def test_vocabularies_that_are_refused(tokens, merges, end, saying):
    with pytest.raises(UserError, match=saying):
        BpeTokenizer(tokens, merges, end)
