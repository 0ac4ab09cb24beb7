"""How likely tokens were: by hand, and as generation saw them."""

import math

import pytest
import torch
from kinds import KINDS, hook_count, logits_of, model_of
from tiny import BLOCK, V, refuses, token_ids

from nanogpt.config import SampleConfig
from nanogpt.explain import Choice, alternatives, choice, score
from nanogpt.generation import batch
from nanogpt.sampling.filters import draw
from nanogpt.sampling.generate import generate_ids
from nanogpt.text.tokenizer import CharTokenizer

LETTERS = CharTokenizer("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ")  # 36, and the end-of-document token: 37
SMALL = CharTokenizer(" abc")
LOGITS = torch.tensor([1.0, 8.0, 2.0, 4.0, 1.0]).log()  # probabilities 1/16, 1/2, 1/8, 1/4, 1/16


@pytest.fixture(params=KINDS)
def model(request):
    return model_of(request.param)


# One place


def test_the_likeliest_by_hand():
    found = alternatives(LOGITS, SMALL, 3)
    assert [(one.token, one.text, one.rank) for one in found] == [(1, "a", 1), (3, "c", 2), (2, "b", 3)]
    assert [one.probability for one in found] == pytest.approx([1 / 2, 1 / 4, 1 / 8])
    assert [one.bits for one in found] == pytest.approx([1, 2, 3])


def test_of_equally_likely_ones_the_lower_id_comes_first():
    assert [(one.token, one.rank) for one in alternatives(LOGITS, SMALL)] == [(1, 1), (3, 2), (2, 3), (0, 4), (4, 5)]
    assert [(one.token, one.rank) for one in alternatives(torch.zeros(5), SMALL, 4)] == [(n, n + 1) for n in range(4)]


def test_a_choice_is_what_it_is_among_the_alternatives():
    for logits in (LOGITS, torch.zeros(5), torch.tensor([0.1, -0.7, 0.1, 0.1, 2.0])):
        for one in alternatives(logits, SMALL):
            assert choice(logits, SMALL, one.token) == one


def test_the_end_of_a_document_and_a_space_are_shown():
    assert choice(LOGITS, SMALL, 4).text == "<|endoftext|>"
    assert choice(LOGITS, SMALL, 0).text == "␣"


def test_certain_and_impossible_tokens():
    logits = torch.tensor([-torch.inf, 3.0, -torch.inf, -torch.inf, -torch.inf])
    assert choice(logits, SMALL, 1) == Choice(token=1, text="a", probability=1.0, bits=0.0, rank=1)
    assert choice(logits, SMALL, 3) == Choice(token=3, text="c", probability=0.0, bits=math.inf, rank=4)
    assert math.copysign(1, choice(logits, SMALL, 1).bits) == 1


def test_what_is_refused():
    refuses(lambda: alternatives(LOGITS, SMALL, 0), "count is 0")
    refuses(lambda: choice(LOGITS, SMALL, 5), "no token 5", "0 to 4")
    refuses(lambda: choice(LOGITS, SMALL, -1), "no token -1")
    refuses(lambda: alternatives(torch.tensor([0, torch.nan, 0, 0, 0]), SMALL), "not numbers")
    refuses(lambda: choice(torch.tensor([0, torch.inf, 0, 0, 0]), SMALL, 2), "not numbers")


# A text


@pytest.mark.parametrize("length", [1, 3, BLOCK, BLOCK + 2])
@pytest.mark.parametrize("cached", [True, False])
def test_the_probabilities_are_those_that_a_text_was_drawn_by(model, length, cached, monkeypatch):
    seen = []

    def watch(logits, numbers):
        seen.append(logits[0].double().softmax(-1))
        return draw(logits, numbers)

    monkeypatch.setattr(batch, "draw", watch)
    prompt = token_ids(length)
    config = SampleConfig(tokens=3 * BLOCK, temperature=1.0)
    ids = prompt.tolist() + [row[0] for row in generate_ids(model, prompt, config, cached)]
    found = score(model, LETTERS, ids, length)
    assert [one.token for one in found] == ids[length:]
    wanted = [float(shares[token]) for shares, token in zip(seen, ids[length:])]
    assert [one.probability for one in found] == pytest.approx(wanted, rel=2e-4)


def test_every_token_has_the_whole_choice():
    model, ids = model_of("biased"), token_ids(BLOCK).tolist()
    logits = logits_of(model, ids)
    for place, one in enumerate(score(model, LETTERS, ids), start=1):
        wanted = choice(logits[place - 1], LETTERS, ids[place])
        assert (one.token, one.text, one.rank) == (wanted.token, wanted.text, wanted.rank)
        assert (one.probability, one.bits) == pytest.approx((wanted.probability, wanted.bits), rel=1e-4)


def test_where_it_starts_changes_nothing():
    model, ids = model_of("modern"), token_ids(3 * BLOCK + 1).tolist()
    whole = score(model, LETTERS, ids, 1)
    assert len(whole) == 3 * BLOCK
    for start in (2, BLOCK, BLOCK + 1, BLOCK + 2, 2 * BLOCK, 3 * BLOCK):
        found = score(model, LETTERS, ids, start)
        assert [one.token for one in found] == ids[start:]
        wanted = [one.bits for one in whole[start - 1 :]]
        assert [one.bits for one in found] == pytest.approx(wanted, rel=1e-4)
    assert score(model, LETTERS, ids, len(ids)) == []
    assert score(model, LETTERS, []) == score(model, LETTERS, [4]) == []


def test_a_large_vocabulary_is_read_in_pieces(monkeypatch):
    model, ids = model_of("modern"), token_ids(2 * BLOCK).tolist()
    whole, sizes = score(model, LETTERS, ids), []
    monkeypatch.setitem(score.__globals__, "LOGITS_AT_ONCE", 3 * V)
    model.lm_head.register_forward_hook(lambda module, args, output: sizes.append(output.numel() // V))
    found = score(model, LETTERS, ids)
    assert max(sizes) == 3
    assert [one.bits for one in found] == pytest.approx([one.bits for one in whole], rel=1e-5)


def test_texts_that_cannot_be_scored():
    model = model_of("gpt2")
    refuses(lambda: score(model, LETTERS, [1, 2, 3], 0), "start is 0", "predicted from nothing")
    refuses(lambda: score(model, LETTERS, [1, 2, 3], 4), "start is 4", "3 tokens")
    refuses(lambda: score(model, LETTERS, [1, 2, V], 1), f"no token {V}")
    refuses(lambda: score(model, LETTERS, [1, -2, 3], 2), "no token -2")


def test_the_model_stays_as_it_was():
    model = model_of("lecture", dropout=0.5).train()
    first = score(model, LETTERS, [1, 2, 3])
    assert first == score(model, LETTERS, [1, 2, 3])
    assert hook_count(model) == 0
    assert all(module.training for module in model.modules())
