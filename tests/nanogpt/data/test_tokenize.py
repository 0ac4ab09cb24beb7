"""Text to token ids on disk."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import refuses

from nanogpt.data import tokenize as dataset
from nanogpt.data.tokenize import Dataset, check_length, encode_corpus, tokenize
from nanogpt.files import cache_folder
from nanogpt.text.bpe import ByteTokenizer
from nanogpt.text.chunks import Chunk
from nanogpt.text.corpus import Corpus, load_corpus
from nanogpt.text.tokenizer import CharTokenizer

corpus = Corpus.of_texts
LETTERS = CharTokenizer(" ab")


def token_files():
    """Files of token ids in the cache, complete or not."""
    return sorted(path.name for path in (cache_folder() / "tokens").rglob("*") if path.is_file())


@pytest.fixture
def splits_tiny_texts(monkeypatch):
    monkeypatch.setattr("nanogpt.text.scan.TINY_CHARACTERS", 0)


def whole(documents, tokenizer, begins=True):
    """The ids of each document encoded at once; the first one begins here, or has begun before."""
    ids = []
    for document in filter(None, documents):
        ids += ([tokenizer.end_of_document] if ids or begins else []) + tokenizer.encode(document).tolist()
    return ids


# Ids


def test_the_ids_of_a_corpus():
    tokenizer = CharTokenizer("ab")
    assert encode_corpus(corpus("ab", "b", "aa"), tokenizer).tolist() == [2, 0, 1, 2, 1, 2, 0, 0]
    assert encode_corpus(corpus("ab", "b"), CharTokenizer("ab", end_of_document=False)).tolist() == [0, 1, 1]
    assert encode_corpus(corpus(), tokenizer).tolist() == []
    assert encode_corpus(corpus("ca", "bd"), tokenizer, "skip").tolist() == [2, 0, 2, 1]
    refuses(lambda: encode_corpus(corpus("ab", "abcd"), tokenizer), "'c' 'd'")


def test_ids_are_small_on_disk():
    assert encode_corpus(corpus("ab"), CharTokenizer("ab")).dtype == np.uint8
    assert encode_corpus(corpus("ab"), ByteTokenizer()).dtype == np.uint16
    many = CharTokenizer("".join(map(chr, range(0x10000, 0x10000 + 70_000))))
    assert encode_corpus(corpus(chr(0x10000 + 69_999)), many).tolist() == [70_000, 69_999]


@settings(max_examples=40)
@given(documents=st.lists(st.text(alphabet="abé中 \n", max_size=40), min_size=1, max_size=6), size=st.integers(1, 9))
def test_the_parts_are_those_of_the_whole(documents, size):
    left, train, val = int(len("".join(documents)) * 0.9), [], []
    begins = left in [0, *np.cumsum([len(one) for one in documents])]  # the validation part begins with a document
    for document in documents:
        train.append(document[:left])
        val.append(document[left:])
        left = max(0, left - len(document))
    tokenizer = ByteTokenizer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nanogpt.text.tokenizer.CHUNK_CHARACTERS", size)
        patch.setattr(dataset, "CHUNK_CHARACTERS", size)
        patch.setattr("nanogpt.text.scan.TINY_CHARACTERS", 0)
        found = tokenize(corpus(*documents), tokenizer)
    assert (found.train.tolist(), found.val.tolist()) == (whole(train, tokenizer), whole(val, tokenizer, begins))


# The cache


def test_ids_are_found_again(monkeypatch, splits_tiny_texts):
    tokenizer = CharTokenizer("0123456789")
    first = tokenize(corpus("0123456789"), tokenizer)
    assert (first.train.tolist(), first.val.tolist()) == ([10, *range(9)], [9])
    assert isinstance(first.train, np.memmap)
    monkeypatch.setattr(dataset, "encode_chunks", None)  # tokenizing again would raise
    again = tokenize(corpus("0123456789"), tokenizer)
    assert (again.key, again.train.tolist()) == (first.key, first.train.tolist())
    assert Dataset.load("0" * 32) is None


def test_the_key_of_an_old_run_still_finds_its_ids():
    text = corpus("ab ba", "a")
    text.format = 1
    found = tokenize(text, LETTERS)
    assert found.key == "25b203bb51b07d0efa1105a061929fcc"
    assert (found.train.tolist(), found.val.tolist()) == ([1, 2, 0, 2, 1], [1])


def test_a_validation_text_leaves_the_other_whole():
    found = tokenize(corpus("aab"), CharTokenizer("ab"), corpus("bb"))
    assert (found.train.tolist(), found.val.tolist()) == ([2, 0, 0, 1], [2, 1, 1])


def test_every_difference_has_its_key():
    old, whole_text = corpus("abababababab"), corpus("ab" * 500)
    old.format, whole_text.has_validation = 1, False
    letters, text = CharTokenizer("ab"), corpus("abababababab")
    found = [
        tokenize(text, letters),
        tokenize(corpus("abababababaa"), letters),
        tokenize(corpus("ababab", "ababab"), letters),
        tokenize(corpus("ababa", "bababab"), letters),
        tokenize(text, CharTokenizer("ab", end_of_document=False)),
        tokenize(text, ByteTokenizer()),
        tokenize(text, letters, corpus("ab")),
        tokenize(corpus("ababababababab"), letters, corpus("")),
        tokenize(old, letters),
        tokenize(whole_text, letters),
        tokenize(corpus("ab" * 500), letters),
    ]
    assert len({data.key for data in found}) == len(found)


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "other"])
def test_a_damaged_cache_is_made_again(part, damage):
    text = corpus("0123456789" * 100)
    first = tokenize(text, CharTokenizer("0123456789"))
    expected = first.train.tolist(), first.val.tolist()
    path = cache_folder() / "tokens" / first.key / f"{part}.npy"
    content = path.read_bytes()
    del first
    path.unlink()
    if damage != "missing":
        path.write_bytes({"empty": b"", "cut": content[:-10], "other": b"text"}[damage])
    again = tokenize(text, CharTokenizer("0123456789"))
    assert (again.train.tolist(), again.val.tolist()) == expected


# Interruptions


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("number", [1, 2, 9, 10])
def test_an_interruption_leaves_nothing(monkeypatch, splits_tiny_texts, number, error):
    text, parts = corpus("ab " * 30), []
    original = dataset.encode_chunks

    def fails(*arguments, **more):
        for ids in original(*arguments, **more):
            parts.append(ids)
            if len(parts) == number:
                raise error
            yield ids

    with monkeypatch.context() as patch:
        patch.setattr("nanogpt.text.tokenizer.CHUNK_CHARACTERS", 10)
        patch.setattr("nanogpt.text.tokenizer.batch_chunks", lambda found: ([chunk] for chunk in found))
        patch.setattr(dataset, "encode_chunks", fails)
        with pytest.raises(type(error)):
            tokenize(text, LETTERS)
        assert token_files() == []
    again = tokenize(text, LETTERS)
    assert again.train.tolist() == whole([text.text[:81]], LETTERS)
    assert again.val.tolist() == whole([text.text[81:]], LETTERS, begins=False)
    assert token_files() == ["train.npy", "val.npy"]


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_a_file_that_cannot_grow_is_named_and_removed():
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(OSError, match="too large") as caught:
            tokenize(corpus("ab " * 50_000), LETTERS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert Path(caught.value.filename).name == "train.npy"
    assert token_files() == []


KILLED = """
import sys, time
from nanogpt.data import tokenize as dataset
from nanogpt.text.corpus import load_corpus
from nanogpt.text.tokenizer import CharTokenizer
original = dataset.encode_chunks
def slow(*arguments, **more):
    yield from original(*arguments, **more)
    print("written", flush=True)
    time.sleep(60)
dataset.encode_chunks = slow
dataset.tokenize(load_corpus(sys.argv[1]), CharTokenizer(" ab"))
"""


def test_what_a_killed_process_left_is_never_read_and_removed_later(monkeypatch):
    Path("ab.txt").write_text("ab " * 400)
    process = subprocess.Popen([sys.executable, "-c", KILLED, "ab.txt"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "written\n"
    tokenize(corpus("ba " * 400), LETTERS)  # leaves the files of a live process alone
    assert token_files() == ["train.npy", "train.npy", "val.npy"]
    process.kill()
    process.communicate()
    now = time.time()
    monkeypatch.setattr(dataset.time, "time", lambda: now + 2 * dataset.ABANDONED_SECONDS)
    assert len(tokenize(load_corpus("ab.txt"), LETTERS).train) == 1081
    assert token_files() == ["train.npy", "train.npy", "val.npy", "val.npy"]
    assert not list((cache_folder() / "tokens").glob(".*"))


def test_a_text_that_changes_between_its_two_readings(splits_tiny_texts):
    texts = iter(["ab ab ab", "ab ab ab ab", "ab ab", "ab", "ab ab ab", "ab ab ab"])
    changing = {"name": "log", "source": "log.txt", "read": lambda notes: iter([Chunk(next(texts), True)])}
    for _ in range(2):
        refuses(lambda: tokenize(Corpus(**changing), LETTERS), "'log.txt' changed")
    assert token_files() == []
    assert len(tokenize(Corpus(**changing), LETTERS).train) == 8


# Lengths


@pytest.mark.parametrize(
    ("train", "val", "words"),
    [
        (11, 2, ["training part", "has 11 tokens, but needs at least 12, --block-size 11 and", "--block-size 10 or"]),
        *((100, val, ["validation part", "needs at least 2, one to read"]) for val in (0, 1)),
        (1, 100, ["training part", "has 1 token, but needs at least 12"]),
        (0, 0, ["training part", "has 0 tokens, but"]),
    ],
)
def test_a_text_shorter_than_a_block_is_refused(train, val, words):
    data = Dataset(train=np.arange(train), val=np.arange(val), key="")
    message = refuses(lambda: check_length(data, 11), *words, "longer text")
    assert ("choose --block-size" in message) == (train == 11)
    if train == 1:
        refuses(lambda: check_length(data, 1), "has 1 token, but needs at least 2, one to read and one to predict")
    check_length(Dataset(train=np.arange(12), val=np.arange(2), key=""), 11)


# Lists of documents


def pieces(ids, end):
    """The documents of token ids, each as text of digits; all begin with the token `end`."""
    assert ids[0] == end
    found = np.split(ids, np.flatnonzero(ids == end))[1:]
    return ["".join(map(str, one[1:])) for one in found]


@pytest.mark.parametrize("block", [7, 1 << 20])
def test_a_list_is_shuffled_so_that_its_order_teaches_nothing(monkeypatch, block):
    monkeypatch.setattr(dataset, "SHUFFLE_TOKENS", block)
    digits, numbers = CharTokenizer("0123456789"), [str(number) for number in range(10_000, 10_400)]
    Path("list.txt").write_text("\n".join(numbers))
    found = tokenize(load_corpus("list.txt", documents="lines"), digits)
    parts = [pieces(ids, 10) for ids in (found.train, found.val)]
    assert [len(part) for part in parts] == [360, 40]
    assert sorted([*parts[0], *parts[1]]) == numbers
    for part in parts:
        assert abs(np.corrcoef(np.array(part, dtype=float), np.arange(len(part)))[0, 1]) < 0.2
    again = tokenize(load_corpus("list.txt", documents="lines"), digits)
    assert again.train.tolist() == found.train.tolist()


def test_a_text_that_is_no_list_keeps_its_order():
    documents = [f"{number}" * 40 for number in range(10, 29)]  # fewer than a list has
    Path("rows.csv").write_text("text\n" + "\n".join(documents))
    found = tokenize(load_corpus("rows.csv"), CharTokenizer("0123456789"))
    assert pieces(found.train, 10) == [*documents[:-2], documents[-2][:8]]
    assert found.val[0] != 10  # it begins inside a document


def test_without_a_validation_part_the_training_part_is_measured():
    whole_text = corpus("ab " * 999)
    whole_text.has_validation = False
    for text in (corpus("ab " * 9), whole_text):
        found = tokenize(text, LETTERS)
        assert (found.has_validation, found.val is found.train) == (False, True)
    assert tokenize(corpus("ab " * 999), LETTERS).has_validation
