"""Text to ids on disk."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nanogpt.data import dataset as data
from nanogpt.data.dataset import Dataset, check_length, encode_corpus, encode_pieces, prepare
from nanogpt.data.token_file import TokenFile
from nanogpt.errors import UserError
from nanogpt.files import cache_folder
from nanogpt.text import pieces
from nanogpt.text.bpe import BpeTokenizer
from nanogpt.text.corpus import Corpus, load_corpus
from nanogpt.text.pieces import Piece
from nanogpt.text.tokenizer import ByteTokenizer, CharTokenizer


def corpus(*documents):
    return Corpus.of_texts(*documents)


def left_behind():
    """Files of token ids in the cache, whole or not."""
    return sorted(path.name for path in (cache_folder() / "tokens").rglob("*") if path.is_file())


# Ids


def test_the_ends_of_documents_are_tokens_between_them():
    tokenizer = CharTokenizer("ab")
    assert encode_corpus(corpus("ab", "b", "aa"), tokenizer).tolist() == [0, 1, 2, 1, 2, 0, 0]
    assert encode_corpus(corpus("ab", "b"), CharTokenizer("ab", end_of_document=False)).tolist() == [0, 1, 1]
    assert encode_corpus(corpus(), tokenizer).tolist() == []


def test_ids_are_small_on_disk():
    assert encode_corpus(corpus("ab"), CharTokenizer("ab")).dtype == np.uint8
    assert encode_corpus(corpus("ab"), ByteTokenizer()).dtype == np.uint16
    many = CharTokenizer("".join(map(chr, range(0x10000, 0x10000 + 70_000))))
    assert encode_corpus(corpus(chr(0x10000 + 69_999)), many).tolist() == [69_999]


def test_what_the_tokenizer_does_not_know():
    with pytest.raises(UserError, match="never saw 'c' 'd'"):
        encode_corpus(corpus("ab", "abcd"), CharTokenizer("ab"))
    assert encode_corpus(corpus("ca", "bd"), CharTokenizer("ab"), "skip").tolist() == [0, 2, 1]


def whole(documents, tokenizer):
    """What streaming must give: each document's text at once."""
    ids = []
    for document in filter(None, documents):
        ids += ([tokenizer.end_of_document] if ids else []) + tokenizer.encode(document).tolist()
    return ids


@given(documents=st.lists(st.text(alphabet="aé中😀 \n", max_size=40), max_size=6), size=st.integers(1, 9))
def test_pieces_give_the_ids_of_the_whole(documents, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE_CHARACTERS", size + 3)
        patch.setattr(data, "PIECE_CHARACTERS", size)
        for tokenizer in (CharTokenizer("\n aé中😀"), ByteTokenizer()):
            parts = list(encode_pieces(corpus(*documents).pieces(), tokenizer))
            assert [i for ids in parts for i in ids.tolist()] == whole(documents, tokenizer)


@given(
    st.lists(st.text(alphabet="abé!", min_size=1, max_size=5)), st.integers(12, 20), st.sampled_from([" ", "\n", "  "])
)
def test_pieces_give_the_merges_of_the_whole(words, size, space):
    """No token reaches over the place before a space, so a cut there changes no merge."""
    tokenizer = BpeTokenizer.train(["ab abé! aab! ba"] * 5, vocab_size=270)
    text = space.join(words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "PIECE_CHARACTERS", size)
        patch.setattr(data, "batch_pieces", lambda found: ([piece] for piece in found))
        parts = [ids.tolist() for ids in encode_pieces(corpus(text).pieces(), tokenizer)]
    assert len(parts) >= len(text) / size
    assert [i for ids in parts for i in ids] == tokenizer._encoder.encode(text).ids


@given(documents=st.lists(st.text(alphabet="abé中 \n", max_size=40), min_size=1, max_size=6), size=st.integers(1, 9))
def test_the_parts_are_those_of_the_whole(documents, size):
    text = "".join(documents)
    cut = int(len(text) * 0.9)
    left, train, val = cut, [], []
    for document in documents:
        train.append(document[:left])
        val.append(document[left:])
        left = max(0, left - len(document))
    tokenizer = ByteTokenizer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "PIECE_CHARACTERS", size)
        found = prepare(corpus(*documents), tokenizer)
    assert (found.train.tolist(), found.val.tolist()) == (whole(train, tokenizer), whole(val, tokenizer))


# The cache


def test_prepare_gives_both_parts_and_finds_them_again(monkeypatch):
    tokenizer = CharTokenizer("0123456789")
    first = prepare(corpus("0123456789"), tokenizer)
    assert first.train.tolist() == list(range(9))
    assert first.val.tolist() == [9]
    assert isinstance(first.train, np.memmap)
    monkeypatch.setattr(data, "encode_pieces", None)  # tokenising again would raise
    again = prepare(corpus("0123456789"), tokenizer)
    assert (again.key, again.train.tolist()) == (first.key, first.train.tolist())


def test_a_text_to_validate_on_leaves_the_other_whole():
    found = prepare(corpus("aab"), CharTokenizer("ab"), corpus("bb"))
    assert (found.train.tolist(), found.val.tolist()) == ([0, 0, 1], [1, 1])


def test_every_difference_has_a_place_of_its_own():
    letters = CharTokenizer("ab")
    keys = [
        prepare(corpus("abababababab"), letters).key,
        prepare(corpus("abababababaa"), letters).key,
        prepare(corpus("ababab", "ababab"), letters).key,
        prepare(corpus("ababa", "bababab"), letters).key,
        prepare(corpus("abababababab"), CharTokenizer("ab", end_of_document=False)).key,
        prepare(corpus("abababababab"), ByteTokenizer()).key,
        prepare(corpus("abababababab"), letters, corpus("ab")).key,
        prepare(corpus("ababababababab"), letters, corpus("")).key,
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "other"])
def test_a_damaged_cache_is_made_again(part, damage):
    text = corpus("0123456789" * 100)
    first = prepare(text, CharTokenizer("0123456789"))
    expected = first.train.tolist(), first.val.tolist()
    path = cache_folder() / "tokens" / first.key / f"{part}.npy"
    content = path.read_bytes()
    del first
    path.unlink()
    if damage != "gone":
        path.write_bytes({"empty": b"", "cut": content[:-10], "other": b"text"}[damage])
    again = prepare(text, CharTokenizer("0123456789"))
    assert (again.train.tolist(), again.val.tolist()) == expected


def test_no_cache_no_data():
    assert Dataset.load("0" * 32) is None


# Interrupted


def fails_at(monkeypatch, number, error):
    """The `number`-th part of ids that is written raises."""
    original, calls = TokenFile.write, []

    def write(self, ids):
        calls.append(1)
        if len(calls) == number:
            raise error
        original(self, ids)

    monkeypatch.setattr(TokenFile, "write", write)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("number", [1, 2, 9, 10])
def test_what_is_interrupted_leaves_nothing_and_is_made_anew(monkeypatch, number, error):
    text, letters = corpus("ab " * 30), CharTokenizer(" ab")
    expected = whole([text.text[:81]], letters), whole([text.text[81:]], letters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "PIECE_CHARACTERS", 10)
        patch.setattr(data, "batch_pieces", lambda found: ([piece] for piece in found))
        fails_at(patch, number, error)
        with pytest.raises(type(error)):
            prepare(text, letters)
        assert left_behind() == []
    again = prepare(text, letters)
    assert (again.train.tolist(), again.val.tolist()) == expected
    assert left_behind() == ["train.npy", "val.npy"]


FULL = """
import os, resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from nanogpt.text.corpus import Corpus
from nanogpt.data.dataset import prepare
from nanogpt.text.tokenizer import CharTokenizer
try:
    prepare(Corpus.of_texts("ab " * 50_000), CharTokenizer(" ab"))
except OSError as error:
    print(os.path.basename(error.filename), error.strerror)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_a_file_that_cannot_grow_is_named_and_removed():
    found = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=True)
    assert found.stdout == "train.npy File too large\n"
    assert left_behind() == []


KILLED = """
import sys, time
from nanogpt.text.corpus import load_corpus
from nanogpt.data.dataset import prepare
from nanogpt.data.token_file import TokenFile
from nanogpt.text.tokenizer import CharTokenizer
write = TokenFile.write
def slow(self, ids):
    write(self, ids)
    self._file.flush()
    print("written", flush=True)
    time.sleep(60)
TokenFile.write = slow
prepare(load_corpus(sys.argv[1]), CharTokenizer(" ab"))
"""


@pytest.mark.skipif(os.name != "posix", reason="asks the system whether a process lives")
def test_what_a_killed_process_left_is_removed_and_never_read():
    Path("ab.txt").write_text("ab " * 30)
    process = subprocess.Popen([sys.executable, "-c", KILLED, "ab.txt"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "written\n"
    (half,) = left_behind()
    other = prepare(corpus("ba " * 30), CharTokenizer(" ab"))  # while it lives its file is left alone
    assert half in left_behind()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(prepare(load_corpus("ab.txt"), CharTokenizer(" ab")).train) == 81
    assert left_behind() == ["train.npy", "train.npy", "val.npy", "val.npy"]
    assert other.train[0] == 2


def test_a_text_that_changes_between_its_two_readings():
    texts = iter(["ab ab ab", "ab ab ab ab", "ab ab", "ab", "ab ab ab", "ab ab ab"])

    def changing(notes):
        yield Piece(next(texts), True)

    for _ in range(2):
        with pytest.raises(UserError, match=r"the text 'log.txt' changed while it was read"):
            prepare(Corpus(name="log", source="log.txt", read=changing), CharTokenizer(" ab"))
    assert left_behind() == []
    assert len(prepare(Corpus(name="log", source="log.txt", read=changing), CharTokenizer(" ab")).train) == 7


# Lengths


def dataset(train, val):
    return Dataset(train=np.arange(train), val=np.arange(val), key="")


def test_a_text_of_a_block_and_one_is_enough():
    check_length(dataset(12, 2), 11)


def test_a_text_shorter_than_a_block_names_both_and_the_way_out():
    with pytest.raises(
        UserError, match=r"training part .* has 11 tokens.*block of 11 needs 12.*--block-size 10"
    ) as caught:
        check_length(dataset(11, 2), 11)
    check_length(dataset(11, 2), 10)
    assert "or give a longer text" in str(caught.value)


@pytest.mark.parametrize(("train", "val"), [(100, 1), (100, 0), (1, 100), (0, 0)])
def test_a_text_too_short_for_any_block(train, val):
    with pytest.raises(UserError, match="longer text") as caught:
        check_length(dataset(train, val), 11)
    assert "--block-size" not in str(caught.value)
    assert str(caught.value).count("longer text") == 1
