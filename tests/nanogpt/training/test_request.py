"""What a new run is asked for: refused before anything is written, or made."""

from pathlib import Path

import pytest
from tiny import SMALL_RUN, refuses, weights, write_text

import nanogpt
from nanogpt.text.corpus import Corpus

QUIET = SMALL_RUN | {"progress": False}


@pytest.mark.parametrize("length", [{"steps": 2}, {"minutes": 0.05}], ids=str)
def test_adapters_in_a_file_of_settings_need_weights_too(length):
    """Without them the run could never be opened."""
    Path("mine.toml").write_text("[train]\nlora = 3\n")
    text = write_text()
    refuses(lambda: nanogpt.train(text, preset="mine.toml", **length, **QUIET), "lora 3", "--from RUN")
    assert not Path("runs").exists()
    assert nanogpt.train(text, preset="mine.toml", lora=None, steps=1, **QUIET).config.train.lora is None


def test_a_text_in_memory_is_trained_on_as_its_file_is(monkeypatch, tmp_path):
    file = nanogpt.train(write_text(), steps=3, out="file", **QUIET)
    memory = Corpus.of_texts(Path("tale.txt").read_text(encoding="utf-8"))
    run = nanogpt.train(memory, val=Corpus.of_texts("7 cats ran.\n"), steps=3, out="validated", **QUIET)
    assert len(run.data().val) == len("7 cats ran.\n")
    run = nanogpt.train(memory, steps=3, out="memory", **QUIET)
    assert weights(run.path) == weights(file.path)
    assert run.evaluate(memory) == file.evaluate("tale.txt")
    monkeypatch.setenv("NANOGPT_CACHE", str(tmp_path / "another"))
    refuses(run.evaluate, "'memory' came from standard input or from memory", "nanogpt train TEXT --from memory")


def test_a_pattern_is_of_no_use_to_a_text_in_memory():
    refuses(lambda: nanogpt.train(Corpus.of_texts("one"), pattern="*.md", steps=1, **QUIET), "pattern '*.md'")
