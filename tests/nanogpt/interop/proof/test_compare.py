"""What is held against what: differences are seen, ties are ties, and nothing passes that was not run."""

import pytest
import torch
from tiny import make_run, tiny_model

from nanogpt.interop.proof.compare import FLOAT32, Contexts, Ours, Row, compare, make_contexts


class Changed(Ours):
    """A model whose logits are changed on the way out."""

    def __init__(self, model, change, greedy=None):
        super().__init__(model)
        self.change, self.instead = change, greedy

    def logits(self, ids):
        return self.change(super().logits(ids).clone())

    def greedy(self, ids, tokens):
        return super().greedy(ids, tokens) if self.instead is None else self.instead(super().greedy(ids, tokens))


@pytest.fixture
def model():
    return tiny_model()


@pytest.fixture
def contexts(model):
    run = make_run("run", vocab_size=37, text="".join(map(chr, range(60, 96))))
    return make_contexts(model, run.tokenizer)


def test_what_is_asked(model, contexts):
    assert len(contexts.drawn) == len(contexts.random) == model.config.block_size
    assert contexts.prompt == contexts.drawn[:5]
    assert len(contexts.prompt) + contexts.tokens == model.config.block_size
    assert len(set(contexts.random)) > 5
    again = make_contexts(model, make_run("again", vocab_size=37, text="".join(map(chr, range(60, 96)))).tokenizer)
    assert again == contexts


def test_a_block_of_one():
    run = make_run("run", block_size=1)
    contexts = make_contexts(run.model, run.tokenizer)
    assert (len(contexts.drawn), len(contexts.prompt), contexts.tokens) == (1, 1, 1)
    assert compare("same", run.model, Ours(run.model), contexts).passed


def test_the_same_model_agrees_in_all(model, contexts):
    row = compare("same", model, Ours(model), contexts)
    assert row.passed
    assert (row.difference, row.text) == (0.0, "6 of 6 tokens")


def test_a_difference_beyond_what_is_allowed(model, contexts):
    spread = torch.cat([Ours(model).logits(ids) for ids in (contexts.drawn, contexts.random)]).std().item()
    allowed = FLOAT32 * max(1.0, spread)

    def add(size):
        def change(logits):
            logits[3, 5] += size
            return logits

        return change

    assert compare("near", model, Changed(model, add(0.9 * allowed)), contexts).passed
    row = compare("far", model, Changed(model, add(2 * allowed)), contexts)
    assert not row.passed
    assert row.difference == pytest.approx(2 * allowed, rel=0.1)
    assert row.allowed == pytest.approx(allowed, rel=1e-4)


def test_what_is_no_number_does_not_pass(model, contexts):
    """Also where it comes after numbers that agree."""
    assert not compare("nan", model, Changed(model, lambda logits: logits * torch.nan), contexts).passed
    calls = iter([1.0, torch.nan])
    row = compare("late", model, Changed(model, lambda logits: logits * next(calls)), contexts)
    assert not row.passed


def test_another_text_does_not_pass(model, contexts):
    other = Changed(model, lambda logits: logits, lambda ids: [*ids[:2], (ids[2] + 1) % 37, *ids[3:]])
    row = compare("other", model, other, contexts)
    assert not row.passed
    assert row.text.startswith("2 of 6 tokens, then another though it is")
    short = compare("short", model, Changed(model, lambda logits: logits, lambda ids: ids[:4]), contexts)
    assert short.problems == ("4 tokens, not 6",)


def test_texts_may_part_at_a_tie(model, contexts):
    """The two likeliest tokens made as likely as each other, all the rest the same."""
    first, second = Ours(model).logits(contexts.prompt)[-1].topk(2).indices.tolist()
    with torch.no_grad():
        model.lm_head.weight[second] = model.lm_head.weight[first]
    ids = Ours(model).greedy(contexts.prompt, contexts.tokens)
    place = next(n for n, one in enumerate(ids) if one in (first, second))
    swapped = {first: second, second: first}
    other = Changed(model, lambda logits: logits, lambda ids: [*ids[:place], swapped[ids[place]], *ids[place + 1 :]])
    row = compare("tie", model, other, contexts)
    assert row.passed
    assert row.text.startswith(f"{place} of 6 tokens, then a tie")


def test_what_was_not_run_is_no_pass():
    assert not Row(name="x", not_run="no compiler").passed
    assert not Row(name="x", problems=("differs",)).passed
    assert Row(name="x").passed


def test_a_large_vocabulary_is_asked_for_less(monkeypatch):
    monkeypatch.setattr("nanogpt.interop.proof.compare.MOST_LOGITS", 37 * 20)
    run = make_run("run", block_size=29, vocab_size=37, text="".join(map(chr, range(60, 96))))
    contexts = make_contexts(run.model, run.tokenizer)
    assert isinstance(contexts, Contexts)
    assert len(contexts.drawn) == 20
