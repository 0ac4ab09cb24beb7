"""Tokenizers of others: read as they encode, or refused with the reason."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers

from nanogpt.errors import UserError
from nanogpt.text import bpe_files
from nanogpt.text.bpe import BpeTokenizer
from nanogpt.text.bpe_files import read_bpe
from nanogpt.text.tokenizer import dump_tokenizer

TEXT = "the cat sat on the mat, and the dog's cat saw 17 mats.\n\n  né 中文中文 😀!\r\n" * 5
SPECIAL = ["<|endoftext|>", "<pad>"]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Hugging Face's own, its special tokens first, in both forms."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([TEXT], vocab_size=317, min_frequency=2, special_tokens=SPECIAL, show_progress=False)
    folder = tmp_path_factory.mktemp("theirs")
    tokenizer.save_model(str(folder))
    (folder / "whole").mkdir()
    tokenizer.save(str(folder / "whole" / "tokenizer.json"))
    return folder


@pytest.fixture
def tables(theirs):
    return json.loads((theirs / "whole" / "tokenizer.json").read_text())


@pytest.fixture
def refused(tables, tmp_path):
    def check(*saying, **changes):
        path = tmp_path / "tokenizer.json"
        path.write_text(json.dumps(tables | changes))
        with pytest.raises(UserError) as caught:
            read_bpe(path)
        message = str(caught.value)
        assert message.startswith(str(path))
        assert all(words in message for words in saying), message

    return check


@pytest.mark.parametrize(
    "named", [".", "vocab.json", "merges.txt", "whole", "whole/tokenizer.json"], ids=lambda name: name.replace("/", "-")
)
def test_each_form_encodes_as_its_maker(theirs, named):
    tokenizer = read_bpe(theirs / named)
    reference = Tokenizer.from_file(str(theirs / "whole" / "tokenizer.json"))
    assert tokenizer.encode(TEXT).tolist() == reference.encode(TEXT).ids
    assert tokenizer.vocab_size == reference.get_vocab_size()
    assert tokenizer.end_of_document == reference.token_to_id("<|endoftext|>") == 0
    assert read_bpe(theirs / named, end_of_document=False).end_of_document is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_text_as_its_maker(theirs, text):
    reference = Tokenizer.from_file(str(theirs / "whole" / "tokenizer.json"))
    assert read_bpe(theirs / "whole").encode(text).tolist() == reference.encode(text).ids


def test_special_tokens_are_never_read_from_text(theirs):
    for tokenizer in (read_bpe(theirs), read_bpe(theirs / "whole")):
        ids = tokenizer.encode("a<|endoftext|>b")
        assert 0 not in ids
        assert tokenizer.decode(ids) == "a<|endoftext|>b"
        assert tokenizer.decode([0, *ids, 0]) == "a<|endoftext|>b"
    assert read_bpe(theirs / "whole").tokens[:2] == (None, None)


def test_a_file_without_an_end_gets_one(tables, tmp_path):
    vocabulary = {token: number - 2 for token, number in tables["model"]["vocab"].items() if number > 1}
    plain = tables | {"added_tokens": [], "model": tables["model"] | {"vocab": vocabulary}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(plain))
    tokenizer = read_bpe(tmp_path)
    assert tokenizer.end_of_document == len(vocabulary) == tokenizer.vocab_size - 1
    assert read_bpe(tmp_path, end_of_document=False).vocab_size == len(vocabulary)


def test_merges_as_words_or_pairs(tables, tmp_path):
    words = [" ".join(merge) for merge in tables["model"]["merges"]]
    (tmp_path / "words.json").write_text(json.dumps(tables | {"model": tables["model"] | {"merges": words}}))
    (tmp_path / "pairs.json").write_text(json.dumps(tables))
    assert read_bpe(tmp_path / "words.json").merges == read_bpe(tmp_path / "pairs.json").merges


def test_merges_with_lines_of_windows_and_a_version(theirs, tmp_path):
    (tmp_path / "vocab.json").write_bytes((theirs / "vocab.json").read_bytes())
    merges = (theirs / "merges.txt").read_text(encoding="utf-8")
    assert merges.startswith("#version")
    for changed in (merges.replace("\n", "\r\n"), merges.split("\n", 1)[1], merges + "\n"):
        (tmp_path / "merges.txt").write_bytes(changed.encode())
        assert read_bpe(tmp_path).merges == read_bpe(theirs).merges


def test_a_model_without_its_kind_as_in_gpt2s_own_file(tables, theirs, tmp_path):
    model = {name: value for name, value in tables["model"].items() if name not in ("type", "byte_fallback")}
    divides = {name: value for name, value in tables["pre_tokenizer"].items() if name != "use_regex"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tables | {"model": model, "pre_tokenizer": divides}))
    assert read_bpe(tmp_path).to_dict() == read_bpe(theirs / "whole").to_dict()


def test_one_of_ours_is_taken(tmp_path):
    ours = BpeTokenizer.train([TEXT], 300)
    (tmp_path / "tokenizer.json").write_text(dump_tokenizer(ours), encoding="utf-8")
    assert read_bpe(tmp_path).to_dict() == ours.to_dict()
    (tmp_path / "tokenizer.json").write_text('{"format": 1, "kind": "char", "characters": "ab"}')
    with pytest.raises(UserError, match="of kind 'char'"):
        read_bpe(tmp_path)


# Refused


def test_another_kind_is_refused_with_the_reason(refused, tables):
    model = tables["model"]
    refused("its model is Unigram, not BPE", model=model | {"type": "Unigram"})
    refused("divides text by Metaspace", pre_tokenizer={"type": "Metaspace"})
    refused("divides text by None", pre_tokenizer=None)
    byte_level = tables["pre_tokenizer"]
    refused("a space before every text", pre_tokenizer=byte_level | {"add_prefix_space": True})
    refused("another rule than GPT-2's", pre_tokenizer=byte_level | {"use_regex": False})
    refused("normalises text", normalizer={"type": "NFC"})
    refused("dropout 0.1", model=model | {"dropout": 0.1})
    refused("ignore_merges True", model=model | {"ignore_merges": True})
    refused("end_of_word_suffix '</w>'", model=model | {"end_of_word_suffix": "</w>"})
    added = {**tables["added_tokens"][0], "content": "the", "id": 317, "special": False}
    refused("matched in text", added_tokens=[*tables["added_tokens"], added])


def test_damage_is_refused(refused, tables):
    model = tables["model"]
    vocabulary = model["vocab"]
    refused("ids of its", model=model | {"vocab": vocabulary | {"the": 0}})
    refused("ids of its", model=model | {"vocab": vocabulary | {"zebra": 10**9}})
    refused("ids of its", model=model | {"vocab": vocabulary | {"zebra": "317"}})
    refused("bytes", model=model | {"vocab": {"a": 2}, "merges": []})
    refused("merge 'zeb' with 'ra'", model=model | {"merges": [["zeb", "ra"]]})
    for damage in (
        {"merges": ["a"]},
        {"merges": 3},
        {"vocab": []},
        {"merges": [["a", "b", "c"]]},
        {"merges": [[1, 2]]},
    ):
        refused("cannot be read", model=model | damage)
    refused("cannot be read", model=None)
    refused("cannot be read", added_tokens=[3])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"[" * 100_000, b'{"model"', b"{}", b"\xff\xfe"])
def test_what_is_no_tokenizer_names_its_file(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_bpe(path)
    assert str(path) in str(caught.value)


def test_a_large_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(bpe_files, "LARGEST_FILE_BYTES", 100)
    (tmp_path / "tokenizer.json").write_text(" " * 101)
    with pytest.raises(UserError, match="larger than 100 bytes"):
        read_bpe(tmp_path)


def test_a_vocabulary_beyond_the_limit(refused, tables):
    many = {f"{n:x}": n for n in range(300_000)}
    refused("larger than 262,144", model=tables["model"] | {"vocab": many, "merges": []}, added_tokens=[])


@pytest.mark.parametrize("named", ["nowhere", "nowhere/tokenizer.json", "nowhere/vocab.json", "."])
def test_what_is_not_there(tmp_path, named):
    with pytest.raises(UserError, match="give a folder with vocab"):
        read_bpe(tmp_path / named)


def test_half_of_a_pair_is_not_enough(theirs, tmp_path):
    (tmp_path / "vocab.json").write_bytes((theirs / "vocab.json").read_bytes())
    with pytest.raises(UserError, match="no tokenizer at"):
        read_bpe(tmp_path)


def test_added_tokens_beyond_the_vocabulary_keep_their_ids(tmp_path):
    tokenizer = Tokenizer(
        models.BPE(vocab={c: n for n, c in enumerate(pre_tokenizers.ByteLevel.alphabet())}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken("<pad>"), AddedToken("<|endoftext|>")])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    read = read_bpe(Path(tmp_path))
    assert (read.vocab_size, read.end_of_document, read.tokens[256]) == (258, 257, None)
