"""A context for a text that is too short for the one that was planned."""

from dataclasses import replace

from tiny import write_text

from nanogpt.config import load_preset
from nanogpt.data.batches import windows_per_epoch
from nanogpt.data.dataset import prepare
from nanogpt.text.corpus import load_corpus
from nanogpt.text.short_texts import fit_block
from nanogpt.text.tokenizer import train_tokenizer


def test_the_longest_block_for_four_windows():
    write_text("tale.txt", 20_000)
    corpus = load_corpus("tale.txt")
    data = prepare(corpus, train_tokenizer("char", corpus.documents))
    config = load_preset("modern").override(vocab_size=37)
    for tokens in (2, 5, 6, 11, 320, 321, 5000):
        short = replace(data, train=data.train[:tokens])
        block = fit_block(config, short, ()).model.block_size
        assert block == min(64, max(1, (tokens - 1) // 5))
        assert windows_per_epoch(tokens, block) >= min(4, max(1, tokens - 2))
        assert fit_block(config, short, {"block_size"}) == config
