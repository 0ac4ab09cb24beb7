"""What changes without a head."""

import math

import pytest
import torch
from kinds import IDS, KINDS, heads_of, hook_count, logits_of, model_of, without
from tiny import BLOCK, refuses
from torch.nn import functional as F
from torch.testing import assert_close

from nanogpt.explain import Effect, effect_of, importance


@pytest.fixture(params=KINDS)
def model(request):
    return model_of(request.param)


def loss_of(model, ids):
    """Of the tokens but the first."""
    return float(F.cross_entropy(logits_of(model, ids[:-1]), torch.tensor(ids[1:])))


# Probabilities before and after


@pytest.mark.parametrize("position", [0, 3, -1, -7])
def test_effects_are_differences_of_probabilities(model, position):
    off = heads_of(model)[::2]
    found = effect_of(model, IDS, off, position, count=100)
    before = logits_of(model, IDS)[position].softmax(-1)
    after = logits_of(without(model, off), IDS)[position].softmax(-1)
    assert sorted(one.token for one in found) == list(range(37))
    assert [one.before for one in found] == pytest.approx([float(before[one.token]) for one in found], abs=1e-6)
    assert [one.after for one in found] == pytest.approx([float(after[one.token]) for one in found], abs=1e-6)
    changes = [abs(one.change) for one in found]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > 1e-4
    assert effect_of(model, IDS, off, position, count=5) == found[:5]


def test_change_has_a_sign():
    assert Effect(token=3, before=0.5, after=0.25).change == -0.25


def test_without_heads_to_switch_off_nothing_changes():
    assert {one.change for one in effect_of(model_of("gpt2"), IDS, [])} == {0.0}


# Importance


def test_importance_is_the_rise_of_the_loss_without_each_head(model):
    found, whole = importance(model, IDS), loss_of(model, IDS)
    wanted = [loss_of(without(model, [head]), IDS) - whole for head in heads_of(model)]
    assert found.shape == (model.config.n_layer, model.config.n_head)
    assert_close(found.flatten(), torch.tensor(wanted), atol=2e-6, rtol=1e-4)
    assert found.abs().min() > 1e-5


def test_a_head_that_writes_nothing_is_not_needed():
    model = without(model_of("modern"), [(1, 2)])
    found = importance(model, IDS)
    assert found[1, 2] == 0
    assert found.count_nonzero() == found.numel() - 1


def test_a_text_in_pieces(monkeypatch):
    model = model_of("modern")
    whole = importance(model, IDS)
    monkeypatch.setitem(importance.__globals__, "LOGITS_AT_ONCE", 2 * 37)
    assert_close(importance(model, IDS), whole, atol=1e-6, rtol=1e-5)


def test_passes_are_told():
    told = []
    importance(model_of("grouped"), IDS, watch=told.append)
    assert told == list(range(1, 3 * 6 + 2))


def test_too_much_work_is_refused(monkeypatch):
    model = model_of("gpt2")  # 2 layers of 3 heads: 7 passes
    a_token = 2 * model.parameter_count * 7
    monkeypatch.setitem(importance.__globals__, "MOST_OPERATIONS", 7 * a_token)
    assert importance(model, IDS).shape == (2, 3)
    monkeypatch.setitem(importance.__globals__, "MOST_OPERATIONS", 7 * a_token - 1)
    refuses(lambda: importance(model, IDS), "7 passes of 7 tokens", f"{model.parameter_count:,}", "at most 6 tokens")


# The model and mistakes


@pytest.mark.parametrize("call", [lambda m: effect_of(m, IDS, [(0, 1)]), lambda m: importance(m, IDS).tolist()])
def test_the_model_stays_as_it_was(call):
    model = model_of("lecture", dropout=0.5).train()
    first = call(model)
    assert first == call(model)
    assert hook_count(model) == 0
    assert all(module.training for module in model.modules())
    assert first == call(model.eval())


def test_what_is_refused():
    model = model_of("gpt2")
    refuses(lambda: effect_of(model, IDS, [(0, 3)]), "no head (0, 3)")
    refuses(lambda: effect_of(model, IDS, [], 7), "no position 7", "0 to 6")
    refuses(lambda: effect_of(model, IDS, [], -8), "no position -8")
    refuses(lambda: effect_of(model, IDS, [], count=0), "count is 0")
    refuses(lambda: effect_of(model, [], []), "0 tokens")
    refuses(lambda: effect_of(model, [1] * (BLOCK + 1), [], 2), f"{BLOCK + 1} tokens")
    refuses(lambda: importance(model, [1]), "1 token(s)", "longer text")
    refuses(lambda: importance(model, [1] * (BLOCK + 1)), f"{BLOCK + 1} tokens")
    refuses(lambda: importance(model, [1, 37]), "no token 37")
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    refuses(lambda: effect_of(model, IDS, [(0, 0)]), "not numbers")
    refuses(lambda: importance(model, IDS), "not numbers")
