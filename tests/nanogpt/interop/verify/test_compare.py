"""Comparisons see differences, allow ties, and pass nothing that was not run."""

import unicodedata

import pytest
import torch
from tiny import make_run, tiny_model

from nanogpt.interop.verify.compare import (
    FLOAT32,
    PlainTorch,
    allowed_difference,
    compare,
    find_other_ids,
    make_contexts,
)
from nanogpt.text.bpe import BYTE_OF, BpeTokenizer
from nanogpt.text.tokenizer import CharTokenizer

ALPHABET = "".join(map(chr, range(60, 96)))


class Changed(PlainTorch):
    """A model whose logits or greedy tokens are changed on the way out."""

    def __init__(self, model, logits=lambda logits: logits, tokens=lambda ids: ids):
        super().__init__(model)
        self.change_logits, self.change_tokens = logits, tokens

    def logits(self, ids):
        return self.change_logits(super().logits(ids).clone())

    def greedy(self, ids, tokens):
        return self.change_tokens(PlainTorch(self.model).greedy(ids, tokens))


@pytest.fixture
def model():
    return tiny_model()


@pytest.fixture
def contexts(model):
    return make_contexts(model, make_run("run", vocab_size=37, text=ALPHABET).tokenizer)


def test_contexts(model, contexts):
    assert len(contexts.drawn) == len(contexts.random) == model.config.block_size
    assert contexts.prompt == contexts.drawn[:5]
    assert len(contexts.prompt) + contexts.tokens == model.config.block_size
    assert len(set(contexts.random)) > 5
    assert make_contexts(model, make_run("again", vocab_size=37, text=ALPHABET).tokenizer) == contexts


def test_contexts_of_a_block_of_one_and_of_a_large_vocabulary(monkeypatch):
    run = make_run("one", block_size=1)
    contexts = make_contexts(run.model, run.tokenizer)
    assert (len(contexts.drawn), len(contexts.prompt), contexts.tokens) == (1, 1, 1)
    assert compare("same", run.model, PlainTorch(run.model), contexts).passed
    monkeypatch.setattr("nanogpt.interop.verify.compare.MAX_LOGITS", 37 * 20)
    run = make_run("large", block_size=29, vocab_size=37, text=ALPHABET)
    assert len(make_contexts(run.model, run.tokenizer).drawn) == 20


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (str, None),
        (lambda text: unicodedata.normalize("NFC", text), "combining marks"),
        (lambda text: text.replace("\r\n", "\n"), "line ends"),
        (lambda text: text.replace("\x00", ""), "control characters"),
        (lambda text: text.replace("<|endoftext|>", ""), "special tokens"),
        (lambda text: text.replace("<|unused_", ""), "names of special tokens"),
        (lambda text: text.replace("generated", "written"), "the text that it wrote"),
        (lambda text: text.replace("\u200d", ""), "emoji"),
        (lambda text: text[:-1], "the text that it wrote"),
    ],
)
def test_the_first_id_that_another_program_reads_differently(change, kind):
    tokenizer = BpeTokenizer([*BYTE_OF, None, None], [], 256)
    found = find_other_ids(tokenizer, lambda text: tokenizer.encode(change(text)).tolist(), "the generated text")
    assert (found is None) == (kind is None)
    if kind is not None:
        assert f"differ in {kind}, at token " in found


def test_where_ids_first_differ():
    tokenizer = CharTokenizer("abcdé")  # other characters are dropped
    found = find_other_ids(
        tokenizer, lambda text: [3 if one == 2 else one for one in tokenizer.encode(text, "skip")], "abc!d"
    )
    assert found == "its token ids differ in the text that it wrote, at token 2 (near 'abcd'): [3], the run's [2]"
    short = find_other_ids(tokenizer, lambda text: tokenizer.encode(text, "skip").tolist()[:3], "dadd")
    assert short.endswith("at token 3 (near 'dadd'): none, the run's [3]")


def test_the_allowed_difference_grows_with_the_logits_but_not_below_a_deviation_of_one():
    logits = torch.tensor([[1.0, -1.0, 3.0]])  # their standard deviation is 2
    assert allowed_difference(0.3, logits * 10) == pytest.approx(6)
    assert allowed_difference(0.3, logits * 0) == 0.3


def test_the_same_model_agrees(model, contexts):
    row = compare("same", model, PlainTorch(model), contexts)
    assert row.passed
    assert (row.difference, row.text) == (0.0, "6 of 6 tokens")


def test_logits_beyond_the_allowed_difference(model, contexts):
    spread = torch.cat([PlainTorch(model).logits(ids) for ids in (contexts.drawn, contexts.random)]).std().item()
    allowed = FLOAT32 * max(1.0, spread)

    def add(size):
        return lambda logits: logits.index_put((torch.tensor(3), torch.tensor(5)), torch.tensor(size), accumulate=True)

    assert compare("near", model, Changed(model, add(0.9 * allowed)), contexts).passed
    row = compare("far", model, Changed(model, add(2 * allowed)), contexts)
    assert not row.passed
    assert row.difference == pytest.approx(2 * allowed, rel=0.1)
    assert row.allowed == pytest.approx(allowed, rel=1e-4)


@pytest.mark.parametrize("factors", [(torch.nan, torch.nan), (1.0, torch.nan)])
def test_nan_does_not_pass(model, contexts, factors):
    calls = iter(factors)
    assert not compare("nan", model, Changed(model, lambda logits: logits * next(calls)), contexts).passed


def test_another_text_does_not_pass(model, contexts):
    other = Changed(model, tokens=lambda ids: [*ids[:2], (ids[2] + 1) % 37, *ids[3:]])
    row = compare("other", model, other, contexts)
    assert not row.passed
    assert row.text.startswith("2 of 6 tokens, then")
    short = compare("short", model, Changed(model, tokens=lambda ids: ids[:4]), contexts)
    assert short.problems == ("4 tokens, not 6",)


def test_texts_may_diverge_at_a_tie(model, contexts):
    """The two likeliest tokens are made equally likely."""
    first, second = PlainTorch(model).logits(contexts.prompt)[-1].topk(2).indices.tolist()
    with torch.no_grad():
        model.lm_head.weight[second] = model.lm_head.weight[first]
    ids = PlainTorch(model).greedy(contexts.prompt, contexts.tokens)
    place = next(n for n, one in enumerate(ids) if one in (first, second))
    swapped = {first: second, second: first}
    other = Changed(model, tokens=lambda ids: [*ids[:place], swapped[ids[place]], *ids[place + 1 :]])
    row = compare("tie", model, other, contexts)
    assert row.passed
    assert row.text.startswith(f"{place} of 6 tokens, then a tie")
