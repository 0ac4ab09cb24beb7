"""A trace: what it holds is what the model computed."""

import importlib
from types import SimpleNamespace

import pytest
import torch
from kinds import IDS, KINDS, by_hand, heads_of, hook_count, logits_of, model_of, without
from tiny import BLOCK, C, V, refuses, tiny_model
from torch.testing import assert_close

from nanogpt.config import ModelConfig
from nanogpt.explain import longest, trace, writes
from nanogpt.sampling.precision import lower_precision

T = len(IDS)


@pytest.fixture(params=KINDS)
def model(request):
    return model_of(request.param)


def attention_outputs(model, ids):
    """What each layer's attention gives out, (L, T, C), as the model computes it."""
    found, handles = [], []
    for block in model.blocks:
        handles.append(block.attention.register_forward_hook(lambda module, args, output: found.append(output[0])))
    logits_of(model, ids)
    for handle in handles:
        handle.remove()
    return torch.stack(found)


# What it holds


def test_shapes(model):
    found, config = trace(model, IDS), model.config
    assert found.ids == tuple(IDS)
    assert found.attention.shape == (config.n_layer, config.n_head, T, T)
    assert found.stream.shape == (config.n_layer + 1, T, C)
    assert found.logits.shape == (T, V)
    assert (found.off, found.skipped) == ((), 0)
    assert not any(one.requires_grad for one in (found.attention, found.stream, found.logits))


def test_weights_add_up_to_one_and_are_zero_in_the_future(model):
    attention = trace(model, IDS).attention
    assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]), atol=1e-6, rtol=0)
    assert attention.triu(1).abs().max() == 0
    assert attention.min() >= 0


def test_weights_differ_between_layers_and_heads(model):
    attention = trace(model, IDS).attention.flatten(0, 1)
    for one in range(len(attention)):
        for other in range(one):
            assert (attention[one] - attention[other]).abs().max() > 1e-3


def test_logits_are_the_models(model):
    assert torch.equal(trace(model, IDS).logits, logits_of(model, IDS))
    assert torch.equal(trace(model, IDS[:1]).logits, logits_of(model, IDS[:1]))


def test_weights_times_values_are_the_attentions_output(model):
    found, wanted = trace(model, IDS), attention_outputs(model, IDS)
    for layer, block in enumerate(model.blocks):
        bias = block.attention.proj.bias
        output = writes(model, found, layer).sum(0) + (0 if bias is None else bias.detach())
        assert_close(output, wanted[layer], atol=1e-5, rtol=0)


def test_the_stream_leads_from_the_embeddings_to_the_logits(model):
    stream, ids = trace(model, IDS).stream, torch.tensor([IDS])
    turn = (model.cos[:T], model.sin[:T]) if model.config.position == "rope" else None
    masks = (model._see_own_document(ids, None),) if model.config.mask_documents else ()
    with torch.no_grad():
        assert torch.equal(stream[0], model._embed(ids, slice(T))[0])
        for layer, block in enumerate(model.blocks):
            assert torch.equal(stream[layer + 1], block(stream[layer][None], turn, None, *masks)[0])
        assert torch.equal(model.lm_head(model.final_norm(stream[-1][None]))[0], logits_of(model, IDS))


def test_weights_by_hand():
    found = trace(by_hand(), [0, 1, 2])
    wanted = [[1, 0, 0], [1 / 3, 2 / 3, 0], [1 / 4, 1 / 4, 1 / 2]]
    assert_close(found.attention[0, 0], torch.tensor(wanted))
    assert found.stream[0].tolist() == [[1, 0], [0, 1], [1, 1]]


def test_what_a_head_writes_by_hand():
    model = by_hand()
    found = writes(model, trace(model, [0, 1, 2]), 0)
    assert found.shape == (1, 3, 2)
    assert_close(found[0], torch.tensor([[3, 0], [3 / 3, 5 * 2 / 3], [3 * 3 / 4, 5 * 3 / 4]]))


def test_attention_stays_inside_a_document():
    attention = trace(model_of("masked"), IDS).attention  # documents: 3 | 5 31 2 | 5 7 36
    documents = torch.tensor([0, 1, 1, 1, 2, 2, 2])
    assert attention[:, :, documents[:, None] != documents].abs().max() == 0
    assert attention[:, :, 3, 1:4].min() > 0
    assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]))


def test_heads_that_share_keys_ask_differently():
    model = model_of("grouped")
    with torch.no_grad():  # the first three heads ask alike
        queries = model.blocks[0].attention.qkv.weight[:60].view(6, 10, C)
        queries[1:3] = queries[0]
    first = trace(model, IDS).attention[0]
    assert_close(first[1], first[0])
    assert_close(first[2], first[0])
    assert (first[3] - first[0]).abs().max() > 1e-3


# Heads that are switched off


def test_a_head_switched_off_is_one_without_its_columns_of_the_projection(model):
    for off in ([heads_of(model)[-1]], heads_of(model)[::2]):
        found, wanted = trace(model, IDS, off), trace(without(model, off), IDS)
        assert_close(found.logits, wanted.logits, atol=1e-6, rtol=1e-6)
        assert_close(found.stream, wanted.stream, atol=1e-6, rtol=1e-6)
        assert_close(found.attention, wanted.attention, atol=1e-6, rtol=1e-6)
        assert (found.logits - logits_of(model, IDS)).abs().max() > 1e-3


def test_with_all_heads_off_attention_adds_the_bias_alone(model):
    found = trace(model, IDS, heads_of(model))
    for block in model.blocks:
        bias = block.attention.proj.bias
        alone = torch.zeros(C) if bias is None else bias
        block.attention.forward = lambda x, turn, cache, seen, alone=alone: alone.expand_as(x)
    assert_close(found.logits, logits_of(model, IDS), atol=1e-6, rtol=1e-6)


def test_a_head_that_is_off_still_looks_and_writes_nothing():
    model = model_of("modern")
    whole, found = trace(model, IDS), trace(model, IDS, [(0, 1)])
    assert torch.equal(found.attention[0], whole.attention[0])  # the first layer reads the same embeddings
    assert (found.attention[1] - whole.attention[1]).abs().max() > 1e-4
    assert writes(model, found, 0)[1].abs().max() == 0
    assert torch.equal(writes(model, found, 0)[[0, 2]], writes(model, whole, 0)[[0, 2]])
    assert writes(model, found, 1).abs().amax((1, 2)).min() > 0


def test_which_heads_were_off_is_told_once_and_in_order():
    assert trace(model_of("gpt2"), IDS, [(1, 2), [0, 1], (1, 2)]).off == ((0, 1), (1, 2))


# The model stays as it was


@pytest.mark.parametrize("off", [[], [(0, 0)]])
def test_nothing_of_it_stays(model, off):
    state, before = {name: one.clone() for name, one in model.state_dict().items()}, logits_of(model, IDS)
    trace(model, IDS, off)
    assert hook_count(model) == 0
    assert torch.equal(logits_of(model, IDS), before)
    assert all(torch.equal(one, state[name]) for name, one in model.state_dict().items())
    assert all(one.grad is None and one.requires_grad for one in model.parameters())


@pytest.mark.parametrize("place", ["blocks.0.attention.proj", "blocks.1.mlp", "lm_head"])
def test_nothing_of_it_stays_after_an_exception(place):
    model = model_of("modern").train()
    part = model.get_submodule(place)
    part.forward = lambda *args: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trace(model, IDS, [(1, 1)])
    del part.forward
    assert hook_count(model) == 0
    assert all(module.training for module in model.modules())
    assert torch.is_grad_enabled()


def test_dropout_is_off_and_each_part_goes_back_to_its_mode():
    model = tiny_model("lecture", dropout=0.5).train()
    model.blocks[1].mlp.eval()
    modes = [module.training for module in model.modules()]
    found = trace(model, IDS)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(found.logits, logits_of(model.eval(), IDS))


def test_it_is_in_float32_also_under_mixed_precision():
    model = model_of("modern")
    with torch.autocast("cpu", torch.bfloat16):
        found = trace(model, IDS)
    assert torch.equal(found.logits, trace(model, IDS).logits)
    assert {one.dtype for one in (found.attention, found.stream, found.logits)} == {torch.float32}


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_models_of_lower_precision_can_be_looked_into(precision):
    model = lower_precision(model_of("grouped"), precision)
    found = trace(model, IDS)
    assert torch.equal(found.logits, logits_of(model, IDS))
    assert_close(writes(model, found, 1).sum(0), attention_outputs(model, IDS)[1], atol=0.1, rtol=0)


def test_a_model_all_of_bfloat16():
    model = model_of("gpt2").bfloat16()
    found = trace(model, IDS)
    assert found.logits.dtype == found.stream.dtype == torch.float32
    assert torch.equal(found.logits, logits_of(model, IDS).float())
    assert writes(model, found, 1).dtype == torch.float32


# What is refused


def test_ids_that_are_no_window():
    model = model_of("gpt2")
    refuses(lambda: trace(model, []), "0 tokens", f"1 to {BLOCK}")
    refuses(lambda: trace(model, [1] * (BLOCK + 1)), f"{BLOCK + 1} tokens", f"1 to {BLOCK}", "newest")
    assert len(trace(model, [1] * BLOCK).ids) == BLOCK
    refuses(lambda: trace(model, [1, V]), f"no token {V}", f"0 to {V - 1}")
    refuses(lambda: trace(model, [-1]), "no token -1")


@pytest.mark.parametrize("head", [(2, 0), (0, 3), (-1, 0), (0, -1)])
def test_heads_that_there_are_not(head):
    model = model_of("gpt2")
    refuses(lambda: trace(model, IDS, [(0, 0), head]), f"no head {head}", "layers 0 to 1", "heads 0 to 2")
    assert hook_count(model) == 0


def test_a_layer_that_there_is_not():
    model = model_of("gpt2")
    refuses(lambda: writes(model, trace(model, IDS), 2), "no layer 2", "0 to 1")
    refuses(lambda: writes(model, trace(model, IDS), -1), "no layer -1")


def test_a_trace_that_would_be_too_large(monkeypatch):
    model = model_of("gpt2")  # 2 layers of 3 heads, 37 tokens, 3 x 13 channels
    monkeypatch.setattr(importlib.import_module("nanogpt.explain.trace"), "MOST_NUMBERS", 6 * 5 * 5)
    assert longest(model) == 3  # 150 // 39, of the stream
    monkeypatch.setattr(importlib.import_module("nanogpt.explain.trace"), "MOST_NUMBERS", 6 * 7 * 7 - 1)
    assert longest(model) == 6
    assert trace(model, IDS[:6]).ids == tuple(IDS[:6])
    refuses(lambda: trace(model, IDS), "7 tokens", "2 layers of 3 heads", "293 numbers", "at most 6 tokens")


def test_how_much_fits():
    def most(**sizes):
        return longest(SimpleNamespace(config=ModelConfig(**sizes)))

    assert most(vocab_size=65, n_layer=6, n_head=6, n_embd=384, block_size=256) == 256
    assert most(vocab_size=65, n_layer=6, n_head=6, n_embd=384, block_size=4096) == 1024  # 150 MB of attention
    assert most(vocab_size=50257, n_layer=12, n_head=12, n_embd=768, block_size=1024) == 512  # GPT-2
    assert most(vocab_size=151936, n_layer=28, n_head=16, n_embd=1024, block_size=40960) == 248  # Qwen3 0.6B: logits
