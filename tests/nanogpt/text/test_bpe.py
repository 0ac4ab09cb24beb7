"""Byte-level BPE: against `tokenizers` itself, against merges by hand, for any text, and from files of others."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import refuses
from tokenizers import ByteLevelBPETokenizer, Tokenizer, decoders, models, pre_tokenizers, trainers

from nanogpt.text import bpe
from nanogpt.text.bpe import BYTE_OF, BpeTokenizer, read_bpe, sample_texts, split_words
from nanogpt.text.tokenizer import dump_tokenizer

TEXT = "the cat sat on the mat, and the dog's cat saw 17 mats.\n\n  Über die Matte lief né 中文中文 😀!\r\n" * 5
# Any text, all planes and lone surrogates; or words of the text, white space of every kind, and the control characters
# that only Python takes for white space.
WORDS = ["the", " cat", "'s", "17", "\n", " ", "\t", "\x1c", "\x85", "\u3000", "!", "中", "😀", "<|endoftext|>"]
ANY_TEXT = st.text(st.characters(), max_size=60)
TEXTS = ANY_TEXT | st.lists(st.sampled_from(WORDS)).map("".join)
ORDER = sorted(BYTE_OF)


def plain(text):
    return text.encode("utf-8", "replace").decode()


@pytest.fixture(scope="module")
def learned():
    return BpeTokenizer.train([TEXT], vocab_size=307)


@pytest.fixture(scope="module")
def reference():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=306, min_frequency=2, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("abc", ["abc"]),
        ("bcab", ["bc", "ab"]),
        ("abab bc", ["ab", "ab", " ", "bc"]),
        (" abc", [" ", "abc"]),  # ab and c are merged first
        (" ab", [" ab"]),
        ("a b", ["a", " ", "b"]),
    ],
)
def test_merges_by_hand(text, tokens):
    """The pair with the lowest rank becomes one token, the leftmost first."""
    merges = [("a", "b"), ("b", "c"), ("ab", "c"), ("Ġ", "ab")]
    tokenizer = BpeTokenizer([*ORDER, "ab", "bc", "abc", "Ġab"], merges, None)
    assert [tokenizer.decode([token]) for token in tokenizer.encode(text)] == tokens


def test_what_is_learned(learned, reference):
    tokenizer = BpeTokenizer.train(["aaab aaab xy"], vocab_size=300)
    # aa or ab, twice each per word; then what else occurs twice. xy occurs once.
    assert tokenizer.merges[0] == ("a", "a")
    assert set(tokenizer.tokens[256:]) == {"aa", "ab", "aaab", None}
    assert (tokenizer.vocab_size, tokenizer.end_of_document) == (260, 259)
    assert [reference.id_to_token(number) for number in range(306)] == list(learned.tokens[:306])
    assert (learned.vocab_size, learned.end_of_document, learned.tokens[306]) == (307, 306, None)


@given(TEXTS)
def test_any_text_is_encoded_as_the_library_does_and_survives(learned, reference, text):
    ids = learned.encode(text)
    assert ids.dtype == np.int32
    assert ids.tolist() == reference.encode(plain(text)).ids
    assert learned.decode(ids) == plain(text)
    assert learned.token_bytes()[ids].sum() == len(plain(text).encode())
    decoder = learned.decoder()
    assert ("".join(decoder.feed(int(token)) for token in ids), decoder.flush()) == (plain(text), "")
    words = split_words(text)
    assert "".join(words) == text
    assert ids.tolist() == [token for word in words for token in reference.encode(plain(word)).ids]


@given(st.lists(st.integers(0, 306), max_size=40))
def test_a_stream_equals_decoding_the_whole(learned, ids):
    decoder = learned.decoder()
    assert "".join([decoder.feed(token) for token in ids]) + decoder.flush() == learned.decode(ids)


@pytest.mark.parametrize("cached", [0, 2, 10**6])
@pytest.mark.parametrize("longest", [2, 64])
def test_the_cache_of_words_changes_nothing(learned, reference, monkeypatch, cached, longest):
    monkeypatch.setattr(bpe, "CACHED_WORDS", cached)
    monkeypatch.setattr(bpe, "LONGEST_CACHED_WORD", longest)
    monkeypatch.setattr(bpe, "ENCODE_AT_ONCE", 3)
    fresh = BpeTokenizer.from_dict(learned.to_dict())
    for _ in range(2):
        assert fresh.encode(TEXT).tolist() == reference.encode(TEXT).ids
        assert len(fresh._cache) <= cached
        assert all(len(word) <= longest for word in fresh._cache)


def test_input_never_ends_a_document(learned):
    ids = learned.encode("a<|endoftext|>b")
    assert learned.end_of_document not in ids
    assert learned.decode([*ids, learned.end_of_document, *learned.encode("c")]) == "a<|endoftext|>bc"
    assert learned.token_bytes()[learned.end_of_document] == 0


CODE = """
import random
from nanogpt.text.bpe import BpeTokenizer
words = random.Random(5)
text = " ".join("".join(words.choices("abcdeé中", k=words.randint(1, 6))) for _ in range(5_000))
tokenizer = BpeTokenizer.train([text], vocab_size=601)
found = repr((tokenizer.tokens, tokenizer.merges, tokenizer.encode(text).tolist()))
"""


def test_every_process_and_number_of_threads_learns_the_same():
    environment = os.environ | {"RAYON_NUM_THREADS": "5", "PYTHONHASHSEED": "5", "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", CODE + "print(found)"]
    there = subprocess.run(command, env=environment, capture_output=True, check=True, encoding="utf-8").stdout
    here = {}
    exec(CODE, here)
    assert there == here["found"] + "\n"


def test_unusual_texts():
    tokenizer = BpeTokenizer.train(["abcdefg"], vocab_size=1000)
    assert (tokenizer.vocab_size, tokenizer.merges) == (257, ())
    assert BpeTokenizer.train([], vocab_size=257).decode([tokenizer.end_of_document]) == ""
    assert BpeTokenizer.train(["a\ud800b" * 9], 261).to_dict() == BpeTokenizer.train(["a?b" * 9], 261).to_dict()


@pytest.mark.parametrize(("end", "fewest"), [(True, 257), (False, 256)])
def test_limits_of_the_vocabulary(end, fewest):
    tokenizer = BpeTokenizer.train([TEXT], fewest, end)
    assert (tokenizer.vocab_size, tokenizer.end_of_document) == (fewest, 256 if end else None)
    assert tokenizer.encode("é").tolist() == [ORDER.index("Ã"), ORDER.index("©")]
    for size in (fewest - 1, bpe.LARGEST_VOCABULARY + 1):
        refuses(lambda size=size: BpeTokenizer.train([TEXT], size, end), f"is {size}; choose from {fewest}", "262,144")


@given(st.lists(ANY_TEXT, max_size=9), st.integers(0, 3))
def test_a_text_that_fits_is_its_own_sample(texts, seed):
    assert "".join(sample_texts(texts, 10_000, seed)) == plain("".join(texts))


def test_a_sample_is_bounded_seeded_and_from_everywhere(monkeypatch):
    monkeypatch.setattr(bpe, "SAMPLE_CHARACTERS", 7)
    texts = ["".join(f"{n:04}中 " for n in range(start, start + 1000)) for start in range(0, 10_000, 1000)]
    sample = sample_texts(iter(texts), 9_000, seed=3)
    assert 8_900 < len("".join(sample).encode()) <= 9_000
    assert sample == sample_texts(texts, 9_000, seed=3) != sample_texts(texts, 9_000, seed=4)
    positions = ["".join(texts).index(part) for part in sample if len(part) == 7]
    assert positions == sorted(positions)
    thousands = [sum(part in text for part in sample) for text in texts]
    assert min(thousands) > len(sample) / 20  # a tenth expected of each
    assert set(sample) <= {text[i : i + 7] for text in texts for i in range(0, len(text), 7)}


def test_merges_are_learned_from_the_sample(monkeypatch):
    monkeypatch.setattr(bpe, "SAMPLE_BYTES_PER_TOKEN", 1)
    monkeypatch.setattr(bpe, "SAMPLE_CHARACTERS", 100)
    text = "".join(chr(ord("a") + n % 23) * 100 for n in range(230))
    seen = [set(BpeTokenizer.train([text], 300, seed=seed).tokens[256:-1]) for seed in (1, 2)]
    assert seen[0] != seen[1]
    assert all(len({*token}) == 1 for tokens in seen for token in tokens)
    assert all(1 <= len({token[0] for token in tokens}) <= 3 for tokens in seen)


@pytest.mark.parametrize(
    ("tokens", "merges", "end", "words"),
    [
        ([*ORDER, "a"], [], None, "twice"),
        ([*ORDER, ""], [], None, "byte alphabet"),
        ([*ORDER, "a b"], [], None, "'a b' is not written in GPT-2's byte alphabet"),
        ([*ORDER, "中"], [], None, "byte alphabet"),
        (ORDER[:-2], [], None, "lacks 2 of the 256 bytes"),
        ([*ORDER, "ab"], [("a", "c")], None, "'a' with 'c'"),
        ([*ORDER, "ab"], [("a", "b"), ("ab", "ab")], None, "'ab' with 'ab'"),
        ([*ORDER, None], [], 255, "end_of_document is 255"),
        ([*ORDER, None], [], True, "end_of_document is True"),
        ([None] * (bpe.LARGEST_VOCABULARY + 1), [], None, "larger than 262,144"),
    ],
    ids=lambda value: str(value)[-30:],
)
def test_vocabularies_that_are_refused(tokens, merges, end, words):
    refuses(lambda: BpeTokenizer(tokens, merges, end), words)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A folder with Hugging Face's own tokenizer in both forms, its special tokens first."""
    tokenizer = ByteLevelBPETokenizer()
    special = ["<|endoftext|>", "<pad>"]
    tokenizer.train_from_iterator([TEXT], vocab_size=317, min_frequency=2, special_tokens=special, show_progress=False)
    folder = tmp_path_factory.mktemp("theirs")
    tokenizer.save_model(str(folder))
    (folder / "whole").mkdir()
    tokenizer.save(str(folder / "whole" / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module")
def both(theirs):
    """As we read it, and as the library does."""
    return read_bpe(theirs / "whole"), Tokenizer.from_file(str(theirs / "whole" / "tokenizer.json"))


@pytest.fixture
def tables(theirs):
    return json.loads((theirs / "whole" / "tokenizer.json").read_text())


@pytest.fixture
def read(tmp_path):

    def from_tables(tables, **settings):
        (tmp_path / "tokenizer.json").write_text(json.dumps(tables))
        return read_bpe(tmp_path / "tokenizer.json", **settings)

    return from_tables


@pytest.mark.parametrize("named", [".", "vocab.json", "merges.txt", "whole", "whole/tokenizer.json"])
def test_each_form_is_read(theirs, both, named):
    tokenizer = read_bpe(theirs / named)
    assert tokenizer.encode(TEXT).tolist() == both[1].encode(TEXT).ids
    assert tokenizer.vocab_size == both[1].get_vocab_size()
    assert tokenizer.end_of_document == both[1].token_to_id("<|endoftext|>") == 0
    assert read_bpe(theirs / named, end_of_document=False).end_of_document is None


@given(ANY_TEXT.map(plain))
def test_it_encodes_as_its_maker(both, text):
    ours, reference = both
    assert ours.encode(text).tolist() == reference.encode(text).ids


def test_special_tokens_are_never_read_from_text(theirs, both):
    for tokenizer in (read_bpe(theirs), both[0]):
        ids = tokenizer.encode("a<|endoftext|>b")
        assert 0 not in ids
        assert tokenizer.decode([0, *ids, 0]) == "a<|endoftext|>b"
    assert both[0].tokens[:2] == (None, None)


def test_a_file_without_an_end_token_gets_one(tables, read):
    vocabulary = {token: number - 2 for token, number in tables["model"]["vocab"].items() if number > 1}
    tables |= {"added_tokens": [], "model": tables["model"] | {"vocab": vocabulary}}
    tokenizer = read(tables)
    assert tokenizer.end_of_document == len(vocabulary) == tokenizer.vocab_size - 1
    assert read(tables, end_of_document=False).vocab_size == len(vocabulary)


def test_what_may_differ_in_a_file(tables, both, read):
    words = [" ".join(merge) for merge in tables["model"]["merges"]]
    assert read(tables | {"model": tables["model"] | {"merges": words}}).to_dict() == both[0].to_dict()
    # GPT-2's own file has no kind.
    model = {name: value for name, value in tables["model"].items() if name not in ("type", "byte_fallback")}
    splits = {name: value for name, value in tables["pre_tokenizer"].items() if name != "use_regex"}
    assert read(tables | {"model": model, "pre_tokenizer": splits}).to_dict() == both[0].to_dict()


def test_merges_with_the_line_ends_of_windows_or_without_a_version(theirs, both, tmp_path):
    (tmp_path / "vocab.json").write_bytes((theirs / "vocab.json").read_bytes())
    refuses(lambda: read_bpe(tmp_path), "no tokenizer at")  # one file of the two
    merges = (theirs / "merges.txt").read_text(encoding="utf-8")
    assert merges.startswith("#version")
    for changed in (merges.replace("\n", "\r\n"), merges.split("\n", 1)[1], merges + "\n"):
        (tmp_path / "merges.txt").write_bytes(changed.encode())
        assert read_bpe(tmp_path).merges == both[0].merges


def test_one_of_a_run_is_read(learned, tmp_path):
    (tmp_path / "tokenizer.json").write_text(dump_tokenizer(learned), encoding="utf-8")
    assert read_bpe(tmp_path).to_dict() == learned.to_dict()
    (tmp_path / "tokenizer.json").write_text('{"format": 1, "kind": "char", "characters": "ab"}')
    refuses(lambda: read_bpe(tmp_path), "of kind 'char'")


ADDED = {"id": 317, "content": "the", "single_word": False, "lstrip": False, "rstrip": False, "special": False}


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("model", {"type": "Unigram"}, "model is Unigram"),
        ("pre_tokenizer", {"type": "Metaspace"}, "splits text by Metaspace"),
        ("pre_tokenizer", None, "splits text by None"),
        ("pre_tokenizer", {"add_prefix_space": True}, "a space before every text"),
        ("pre_tokenizer", {"use_regex": False}, "another rule than GPT-2's"),
        ("normalizer", {"type": "NFC"}, "normalizes text"),
        ("model", {"dropout": 0.1}, "dropout 0.1"),
        ("model", {"ignore_merges": True}, "ignore_merges True"),
        ("model", {"end_of_word_suffix": "</w>"}, "end_of_word_suffix '</w>'"),
        ("added_tokens", [ADDED], "matched in text"),
        ("vocab", {"the": 0}, "ids of its"),
        ("vocab", {"zebra": 10**9}, "ids of its"),
        ("model", {"vocab": {"a": 2}, "merges": []}, "bytes"),
        ("model", {"merges": [["zeb", "ra"]]}, "'zeb' with 'ra'"),
        ("model", {"merges": ["a"]}, "cannot be read"),
        ("model", None, "cannot be read"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_other_kinds_and_damage_are_refused(tables, read, part, change, words):
    if part == "vocab":
        tables["model"]["vocab"] |= change
    else:
        old = tables.get(part)
        tables[part] = old | change if isinstance(old, dict) and change is not None else change
    refuses(lambda: read(tables), "tokenizer.json", words)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"[" * 100_000, b'{"model"', b"{}", b"\xff\xfe"])
def test_what_is_not_a_tokenizer_names_its_file(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    refuses(lambda: read_bpe(path), str(path))


def test_large_and_missing_files(tmp_path, monkeypatch):
    for named in ("nowhere", "nowhere/tokenizer.json", "nowhere/vocab.json", "."):
        refuses(lambda named=named: read_bpe(tmp_path / named), "give a folder with vocab")
    monkeypatch.setattr(bpe, "LARGEST_FILE_BYTES", 100)
    (tmp_path / "tokenizer.json").write_text(" " * 101)
    refuses(lambda: read_bpe(tmp_path), "larger than 100 bytes")
