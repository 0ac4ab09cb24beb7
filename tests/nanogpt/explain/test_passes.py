"""Looking into a model from outside: which models, and what switching a head off does to generation."""

import copy

import numpy as np
import pytest
import torch
from kinds import IDS, KINDS, heads_of, hook_count, logits_of, model_of, without
from tiny import refuses, tiny_config
from torch import nn

from nanogpt.config import SampleConfig
from nanogpt.explain import effect_of, importance, score, switched_off, trace
from nanogpt.explain.passes import at_rest, before_output
from nanogpt.model.gpt import GPT, Attention, Block
from nanogpt.sampling.generate import generate_ids
from nanogpt.text.tokenizer import CharTokenizer


class OwnBlock(Block):
    """Only named otherwise, but who knows."""


class OwnAttention(Attention):
    """The same."""


class OwnGPT(GPT):
    """The same."""


def test_models_with_parts_of_ones_own_are_refused():
    own = GPT(tiny_config().model, block=OwnBlock)
    mixed = model_of("modern")
    mixed.blocks[1].attention = OwnAttention(mixed.config)
    flat = model_of("modern")
    flat.blocks[0] = nn.Identity()
    for model, word in (
        (own, "OwnBlock"),
        (mixed, "OwnAttention"),
        (flat, "Identity"),
        (OwnGPT(tiny_config().model), "OwnGPT"),
    ):
        for call in (
            lambda model=model: trace(model, IDS),
            lambda model=model: effect_of(model, IDS, [(0, 0)]),
            lambda model=model: importance(model, IDS),
        ):
            refuses(call, word, "looked into")
        assert hook_count(model) == 0


def test_a_feed_forward_network_of_ones_own_is_none_of_its_business():
    model = model_of("modern")
    model.blocks[0].mlp = nn.Linear(13, 13)
    assert torch.equal(trace(model, IDS).logits, logits_of(model, IDS))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cached", [True, False])
def test_generation_without_a_head(kind, cached):
    model, config = model_of(kind), SampleConfig(tokens=17, temperature=1.0)
    off = heads_of(model)[-1:]
    with switched_off(model, off):
        found = list(generate_ids(model, torch.tensor(IDS), config, cached))
    assert found == list(generate_ids(without(model, off), torch.tensor(IDS), config, cached))
    assert found != list(generate_ids(model, torch.tensor(IDS), config, cached))


def test_a_head_that_there_is_not_is_not_switched_off():
    model = model_of("modern")

    def call():
        with switched_off(model, [(0, 0), (1, 3)]):
            raise AssertionError("it was")

    refuses(call, "no head (1, 3)")
    assert hook_count(model) == 0


@pytest.mark.parametrize("kind", [torch.tensor, lambda ids: np.array(ids, dtype=np.int32)])
def test_ids_may_be_an_array(kind):
    model, tokenizer, ids = model_of("modern"), CharTokenizer("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"), kind(IDS)
    found = trace(model, ids)
    assert found.ids == tuple(IDS)
    assert {type(token) for token in found.ids} == {int}
    assert score(model, tokenizer, ids) == score(model, tokenizer, IDS)
    assert effect_of(model, ids, [(0, 0)]) == effect_of(model, IDS, [(0, 0)])
    assert torch.equal(importance(model, ids), importance(model, IDS))


def test_what_the_output_layer_reads():
    model = model_of("biased")
    with at_rest(model):
        rows = before_output(model, IDS)
        assert torch.equal(model.lm_head(rows[None])[0], logits_of(model, IDS))
    assert hook_count(model) == 0


def test_no_hook_is_left_after_an_exception():
    model, tokenizer = model_of("modern"), CharTokenizer("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ")
    for call in (
        lambda: score(model, tokenizer, IDS, 1),
        lambda: effect_of(model, IDS, [(0, 0), (1, 1)]),
        lambda: importance(model, IDS),
    ):
        model.train()
        model.blocks[1].mlp.forward = lambda x: 1 / 0
        with pytest.raises(ZeroDivisionError):
            call()
        del model.blocks[1].mlp.forward
        assert hook_count(model) == 0
        assert all(module.training for module in model.modules())


def test_other_peoples_hooks_stay():
    model, seen = model_of("gpt2"), []
    model.blocks[0].attention.register_forward_hook(lambda module, args, output: seen.append(output))
    trace(model, IDS, [(0, 0)])
    assert (hook_count(model), len(seen)) == (1, 1)


def test_a_copy_made_while_a_head_is_off_has_it_off():
    model = model_of("gpt2")
    with switched_off(model, [(1, 0)]):
        kept = copy.deepcopy(model)
    assert torch.equal(logits_of(kept, IDS), trace(model, IDS, [(1, 0)]).logits)
