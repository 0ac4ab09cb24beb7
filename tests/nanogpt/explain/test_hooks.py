"""Which models can be inspected, and generation with a head switched off."""

import pytest
import torch
from kinds import IDS, LETTERS, heads_of, hook_count, logits_of, model_of, without
from tiny import generated, plain_tokens, refuses, tiny_config
from torch import nn

from nanogpt.config import SampleConfig
from nanogpt.explain.head_ablation import ablation_effects, head_importance
from nanogpt.explain.hooks import ablate_heads, evaluating, output_layer_inputs
from nanogpt.explain.predictions import score
from nanogpt.explain.trace import trace
from nanogpt.model.gpt import GPT, Attention, Block

OwnBlock, OwnAttention, OwnGPT = (type(f"Own{one.__name__}", (one,), {}) for one in (Block, Attention, GPT))


def changed(path, part):
    model = model_of("modern")
    model.set_submodule(path, part(model.config) if isinstance(part, type) else part)
    return model


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (lambda: GPT(tiny_config().model, block=OwnBlock), "OwnBlock"),
        (lambda: changed("blocks.1.attention", OwnAttention), "OwnAttention"),
        (lambda: changed("blocks.0", nn.Identity()), "Identity"),
        (lambda: OwnGPT(tiny_config().model), "OwnGPT"),
    ],
)
def test_models_with_custom_parts_are_refused(model, name):
    model = model()
    refuses(lambda: trace(model, IDS), name)
    refuses(lambda: ablation_effects(model, IDS, [(0, 0)]), name)
    refuses(lambda: head_importance(model, IDS), name)
    assert hook_count(model) == 0


def test_a_custom_feed_forward_network_is_allowed():
    model = changed("blocks.0.mlp", nn.Linear(13, 13))
    assert torch.equal(trace(model, IDS).logits, logits_of(model, IDS))


@pytest.mark.parametrize("generate", [generated, plain_tokens])
def test_generation_without_a_head(model, generate):
    """With a cache and without."""
    config, off = SampleConfig(tokens=17, temperature=1.0), heads_of(model)[-1:]
    with ablate_heads(model, off):
        found = generate(model, torch.tensor(IDS), config)
    assert found == generate(without(model, off), torch.tensor(IDS), config)
    assert found != generate(model, torch.tensor(IDS), config)


def test_an_unknown_head_is_refused():
    model = model_of("modern")
    refuses(lambda: ablate_heads(model, [(0, 0), (1, 3)]).__enter__(), "(1, 3)")
    assert hook_count(model) == 0


def test_what_the_output_layer_reads():
    model = model_of("biased")
    with evaluating(model):
        rows = output_layer_inputs(model, IDS)
        assert torch.equal(model.lm_head(rows[None])[0], logits_of(model, IDS))
    assert hook_count(model) == 0


@pytest.mark.parametrize("place", ["blocks.0.attention.proj", "blocks.1.mlp", "lm_head"])
def test_no_hook_is_left_after_an_exception(place):
    model = model_of("modern")
    for call in (
        lambda: trace(model, IDS, [(1, 1)]),
        lambda: score(model, LETTERS, IDS, 1),
        lambda: ablation_effects(model, IDS, [(0, 0), (1, 1)]),
        lambda: head_importance(model, IDS),
    ):
        part = model.train().get_submodule(place)
        part.forward = lambda *args: 1 / 0
        with pytest.raises(ZeroDivisionError):
            call()
        del part.forward
        assert hook_count(model) == 0
        assert all(module.training for module in model.modules())
        assert torch.is_grad_enabled()


def test_other_hooks_stay():
    model, seen = model_of("gpt2"), []
    model.blocks[0].attention.register_forward_hook(lambda module, args, output: seen.append(output))
    trace(model, IDS, [(0, 0)])
    assert (hook_count(model), len(seen)) == (1, 1)
