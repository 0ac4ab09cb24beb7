"""Data sets in the form of the Hugging Face hub, from a folder of this machine."""

import json
import sys
from pathlib import Path

import pytest

from nanogpt.errors import UserError
from nanogpt.files import cache_folder
from nanogpt.text import hub
from nanogpt.text.corpus import load_corpus


@pytest.fixture
def data_set(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name, texts in {"train": ["one\r\n", "zwei é"], "validation": ["three"]}.items():
        path = Path("stories", f"{name}.jsonl")
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps({"text": text, "n": 3, "body": "b"}) + "\n" for text in texts))


def test_a_folder(data_set, monkeypatch):
    found = load_corpus("hf:./stories")
    assert found.documents == ("one\n", "zwei é")
    assert (found.name, found.source) == ("stories", f"hf:{Path('stories').absolute()}:train")
    monkeypatch.setattr(hub, "read_rows", None)  # a second download would raise
    assert found.documents == ("one\n", "zwei é")
    assert load_corpus(found.source).source == found.source


def test_a_split_and_a_column(data_set):
    assert load_corpus("hf:./stories:validation").text == "three"
    assert load_corpus("hf:./stories", column="body").documents == ("b", "b")
    assert not [path for path in cache_folder().rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("source", "settings", "words"),
    [
        ("hf:./nowhere", {}, ["no data set 'hf:./nowhere'", "hf:owner/name:split"]),
        ("hf:", {}, ["no data set 'hf:'"]),
        ("hf:./stories:test", {}, ["split 'test'", "check its name and the network"]),
        ("hf:./stories", {"column": "txt"}, ["row 1 has no column 'txt'", "there are 'text', 'n', 'body'"]),
        ("hf:./stories", {"column": "n"}, ["row 1: 'n' is int, not a string"]),
    ],
    ids=str,
)
def test_what_is_wrong(data_set, source, settings, words):
    with pytest.raises(UserError) as caught:
        _ = load_corpus(source, **settings).text
    for word in words:
        assert word in str(caught.value), caught.value


def test_without_a_network(monkeypatch, tmp_path):
    """The hub is asked, and cannot be reached; whatever the library says of that, it is one line."""

    class Library:
        def load_dataset(self, name, split, streaming):
            assert (name, split, streaming) == ("owner/name", "test", True)
            raise ConnectionError("Couldn't reach\nthe Hub")

    monkeypatch.setitem(sys.modules, "datasets", Library())
    with pytest.raises(UserError, match="cannot read the data set 'owner/name', split 'test': Couldn't reach the Hub;"):
        _ = load_corpus("hf:owner/name:test").text


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"datasets is not installed: pip install 'nanogpt\[hf\]'"):
        _ = load_corpus("hf:owner/name").text
