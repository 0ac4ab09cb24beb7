"""Training on Georgian, by characters and by bytes: the samples and the run's name keep the script."""

import random

import pytest

import nanogpt

SYLLABLES = ["ქა", "რთ", "ლი", "მზე", "წყა", "ლი", "მთა", "ვა", "რე", "ბი", "სა", "ხლი"]
GEORGIAN = set("აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ")


@pytest.fixture
def georgian(tmp_path):
    """A file with 4,000 words of made-up Georgian, three UTF-8 bytes per letter."""
    draw = random.Random(1337)
    words = ("".join(draw.choices(SYLLABLES, k=draw.randint(1, 3))) for _ in range(4000))
    path = tmp_path / "ზღაპარი.txt"
    path.write_text(" ".join(words) + ".\n", encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("tokenizer", ["char", "byte"])
def test_learns_and_writes_a_third_script(georgian, tokenizer):
    settings = {"n_layer": 2, "n_embd": 32, "n_head": 2, "block_size": 48, "sample_tokens": 12, "log_every": 7}
    run = nanogpt.train(georgian, steps=150, tokenizer=tokenizer, progress=False, **settings)
    untrained, *_, trained = [line["bits_per_byte"] for line in run.folder.metrics() if line["event"] == "eval"]
    assert trained < 0.6 * untrained
    text = run.generate("მზე", tokens=240, temperature=0.5)
    assert text.startswith("მზე")
    letters = [character for character in text if character not in " .\n"]
    # A model of bytes can still write a broken character.
    known = sum(letter in GEORGIAN for letter in letters) / len(letters)
    assert known == 1 if tokenizer == "char" else known > 0.9


def test_the_run_is_named_after_the_text_in_its_own_script(georgian):
    run = nanogpt.train(georgian, steps=1, progress=False, n_layer=1, n_embd=16, n_head=1, block_size=8)
    assert run.path.name == "ზღაპარი-modern-1"
