import math

import pytest
import torch
from kinds import IDS, check_left_alone, heads_of, logits_of, model_of, without
from tiny import BLOCK, refuses
from torch.nn import functional as F
from torch.testing import assert_close

from nanogpt.explain.head_ablation import Effect, ablation_effects, head_importance


def loss_of(model, ids):
    """Mean loss of the tokens but the first."""
    return float(F.cross_entropy(logits_of(model, ids[:-1]), torch.tensor(ids[1:])))


@pytest.mark.parametrize("position", [3, -1, -7])
def test_effects_are_differences_of_probabilities(model, position):
    off = heads_of(model)[::2]
    found = ablation_effects(model, IDS, off, position, count=100)
    before = logits_of(model, IDS)[position].softmax(-1)
    after = logits_of(without(model, off), IDS)[position].softmax(-1)
    assert sorted(one.token for one in found) == list(range(37))
    assert [one.before for one in found] == pytest.approx([float(before[one.token]) for one in found], abs=1e-6)
    assert [one.after for one in found] == pytest.approx([float(after[one.token]) for one in found], abs=1e-6)
    changes = [abs(one.change) for one in found]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > 1e-4
    assert ablation_effects(model, IDS, off, position, count=5) == found[:5]


def test_the_sign_of_a_change():
    assert Effect(token=3, before=0.5, after=0.25).change == -0.25
    assert {one.change for one in ablation_effects(model_of("gpt2"), IDS, [])} == {0.0}


def test_importance_is_the_rise_of_the_loss_without_each_head(model):
    found, whole = head_importance(model, IDS), loss_of(model, IDS)
    wanted = [loss_of(without(model, [head]), IDS) - whole for head in heads_of(model)]
    assert found.shape == (model.config.n_layer, model.config.n_head)
    assert_close(found.flatten(), torch.tensor(wanted), atol=2e-6, rtol=1e-4)
    assert found.abs().min() > 1e-5


def test_a_head_that_writes_nothing_has_no_importance():
    passes = []
    found = head_importance(without(model_of("modern"), [(1, 2)]), IDS, watch=passes.append)
    assert found[1, 2] == 0
    assert found.count_nonzero() == found.numel() - 1
    assert passes == list(range(1, 2 * 3 + 2))


def test_logits_are_computed_in_parts(monkeypatch):
    model = model_of("modern")
    whole = head_importance(model, IDS)
    monkeypatch.setattr("nanogpt.explain.head_ablation.MAX_LOGITS", 2 * 37)
    assert_close(head_importance(model, IDS), whole, atol=1e-6, rtol=1e-5)


def test_too_much_work_is_refused(monkeypatch):
    model = model_of("gpt2")  # 2 layers of 3 heads: 7 passes
    per_token = 2 * model.parameter_count * 7
    monkeypatch.setattr("nanogpt.explain.head_ablation.MAX_OPERATIONS", 7 * per_token)
    assert head_importance(model, IDS).shape == (2, 3)
    monkeypatch.setattr("nanogpt.explain.head_ablation.MAX_OPERATIONS", 7 * per_token - 1)
    refuses(lambda: head_importance(model, IDS), "7 passes of 7 tokens", "at most 6")


@pytest.mark.parametrize(
    "call", [lambda m: ablation_effects(m, IDS, [(0, 1)]), lambda m: head_importance(m, IDS).tolist()]
)
def test_the_model_is_left_alone(call):
    check_left_alone(model_of("lecture", dropout=0.5), call)


def test_refusals():
    model = model_of("gpt2")
    refuses(lambda: ablation_effects(model, IDS, [(0, 3)]), "(0, 3)")
    refuses(lambda: ablation_effects(model, IDS, [], 7), "position 7", "0 to 6")
    refuses(lambda: ablation_effects(model, IDS, [], -8), "position -8")
    refuses(lambda: ablation_effects(model, IDS, [], count=0), "count is 0")
    refuses(lambda: ablation_effects(model, [], []), "0 tokens")
    refuses(lambda: ablation_effects(model, [1] * (BLOCK + 1), [], 2), f"{BLOCK + 1} tokens")
    refuses(lambda: head_importance(model, [1]), "nothing to predict in 1 token;")
    refuses(lambda: head_importance(model, [1, 37]), "token 37")
    with torch.no_grad():
        model.lm_head.weight.fill_(math.nan)
    refuses(lambda: ablation_effects(model, IDS, [(0, 0)]), "not numbers")
    refuses(lambda: head_importance(model, IDS), "not numbers")
