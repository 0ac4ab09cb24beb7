import pytest
import torch
from kinds import IDS, heads_of, hook_count, logits_of, model_by_hand, model_of, without
from tiny import BLOCK, C, V, make_run, refuses, tiny_model
from torch.testing import assert_close

from nanogpt.explain.trace import head_outputs, longest_trace, trace, trace_text
from nanogpt.model.documents import document_mask
from nanogpt.sampling.precision import lower_precision

T = len(IDS)


def attention_outputs(model, ids):
    """Each layer's attention output, (L, T, C), as the model computes it."""
    found = []
    handles = [
        block.attention.register_forward_hook(lambda module, args, output: found.append(output[0]))
        for block in model.blocks
    ]
    logits_of(model, ids)
    for handle in handles:
        handle.remove()
    return torch.stack(found)


def test_shapes_and_logits(model):
    found, config = trace(model, IDS), model.config
    assert found.ids == tuple(IDS)
    assert found.attention.shape == (config.n_layer, config.n_head, T, T)
    assert found.stream.shape == (config.n_layer + 1, T, C)
    assert (found.off, found.skipped) == ((), 0)
    assert not any(one.requires_grad for one in (found.attention, found.stream, found.logits))
    assert torch.equal(found.logits, logits_of(model, IDS))
    assert torch.equal(trace(model, IDS[:1]).logits, logits_of(model, IDS[:1]))


def test_weights_sum_to_one_and_are_causal_and_differ_between_heads(model):
    attention = trace(model, IDS).attention
    assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]), atol=1e-6, rtol=0)
    assert attention.triu(1).abs().max() == 0
    assert attention.min() >= 0
    heads = attention.flatten(0, 1)
    assert all((heads[one] - heads[other]).abs().max() > 1e-3 for one in range(len(heads)) for other in range(one))


def test_weights_times_values_are_the_attention_output(model):
    found, wanted = trace(model, IDS), attention_outputs(model, IDS)
    for layer, block in enumerate(model.blocks):
        bias = block.attention.proj.bias
        output = head_outputs(model, found, layer).sum(0) + (0 if bias is None else bias.detach())
        assert_close(output, wanted[layer], atol=1e-5, rtol=0)


def test_the_stream_leads_from_the_embeddings_to_the_logits(model):
    stream, ids = trace(model, IDS).stream, torch.tensor([IDS])
    rotation = model.rotation(slice(T))
    mask = document_mask(ids, model.config.document_token) if model.config.mask_documents else None
    with torch.no_grad():
        assert torch.equal(stream[0], model.embed(ids, slice(T))[0])
        for layer, block in enumerate(model.blocks):
            assert torch.equal(stream[layer + 1], block(stream[layer][None], rotation, None, mask)[0])
        assert torch.equal(model.lm_head(model.final_norm(stream[-1][None]))[0], logits_of(model, IDS))


def test_weights_and_head_outputs_by_hand():
    model = model_by_hand()
    found = trace(model, [0, 1, 2])
    assert_close(found.attention[0, 0], torch.tensor([[1, 0, 0], [1 / 3, 2 / 3, 0], [1 / 4, 1 / 4, 1 / 2]]))
    assert found.stream[0].tolist() == [[1, 0], [0, 1], [1, 1]]
    outputs = head_outputs(model, found, 0)
    assert outputs.shape == (1, 3, 2)
    assert_close(outputs[0], torch.tensor([[3, 0], [3 / 3, 5 * 2 / 3], [3 * 3 / 4, 5 * 3 / 4]]))


def test_attention_stays_inside_a_document():
    attention = trace(model_of("masked"), IDS).attention  # documents: 3 | 5 31 2 | 5 7 36
    documents = torch.tensor([0, 1, 1, 1, 2, 2, 2])
    assert attention[:, :, documents[:, None] != documents].abs().max() == 0
    assert attention[:, :, 3, 1:4].min() > 0
    assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]))


def test_heads_that_share_keys_have_their_own_queries():
    model = model_of("grouped")
    with torch.no_grad():  # the first three heads get the same queries
        queries = model.blocks[0].attention.qkv.weight[:60].view(6, 10, C)
        queries[1:3] = queries[0]
    first = trace(model, IDS).attention[0]
    assert_close(first[1], first[0])
    assert_close(first[2], first[0])
    assert (first[3] - first[0]).abs().max() > 1e-3


def test_an_ablated_head_is_one_without_its_columns_of_the_projection(model):
    for off in ([heads_of(model)[-1]], heads_of(model)[::2]):
        found, wanted = trace(model, IDS, off), trace(without(model, off), IDS)
        for one in ("logits", "stream", "attention"):
            assert_close(getattr(found, one), getattr(wanted, one), atol=1e-6, rtol=1e-6)
        assert (found.logits - logits_of(model, IDS)).abs().max() > 1e-3


def test_without_any_head_attention_adds_the_bias(model):
    found = trace(model, IDS, heads_of(model))
    for block in model.blocks:
        bias = block.attention.proj.bias
        alone = torch.zeros(C) if bias is None else bias
        block.attention.forward = lambda x, rotation, cache, mask, alone=alone: alone.expand_as(x)
    assert_close(found.logits, logits_of(model, IDS), atol=1e-6, rtol=1e-6)


def test_an_ablated_head_attends_and_outputs_zeros():
    model = model_of("modern")
    whole, found = trace(model, IDS), trace(model, IDS, [(0, 1)])
    assert torch.equal(found.attention[0], whole.attention[0])  # the first layer reads the same embeddings
    assert (found.attention[1] - whole.attention[1]).abs().max() > 1e-4
    assert head_outputs(model, found, 0)[1].abs().max() == 0
    assert torch.equal(head_outputs(model, found, 0)[[0, 2]], head_outputs(model, whole, 0)[[0, 2]])
    assert head_outputs(model, found, 1).abs().amax((1, 2)).min() > 0
    assert trace(model, IDS, [(1, 2), [0, 1], (1, 2)]).off == ((0, 1), (1, 2))


@pytest.mark.parametrize("off", [[], [(0, 0)]])
def test_nothing_of_it_stays(model, off):
    state, before = {name: one.clone() for name, one in model.state_dict().items()}, logits_of(model, IDS)
    trace(model, IDS, off)
    assert hook_count(model) == 0
    assert torch.equal(logits_of(model, IDS), before)
    assert all(torch.equal(one, state[name]) for name, one in model.state_dict().items())
    assert all(one.grad is None and one.requires_grad for one in model.parameters())


def test_dropout_is_off_and_each_module_keeps_its_mode():
    model = tiny_model("lecture", dropout=0.5).train()
    model.blocks[1].mlp.eval()
    modes = [module.training for module in model.modules()]
    found = trace(model, IDS)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(found.logits, logits_of(model.eval(), IDS))


def test_float32_under_mixed_precision():
    model = model_of("modern")
    with torch.autocast("cpu", torch.bfloat16):
        found = trace(model, IDS)
    assert torch.equal(found.logits, trace(model, IDS).logits)
    assert {one.dtype for one in (found.attention, found.stream, found.logits)} == {torch.float32}


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_models_of_lower_precision(precision):
    model = lower_precision(model_of("grouped"), precision)
    found = trace(model, IDS)
    assert torch.equal(found.logits, logits_of(model, IDS))
    assert_close(head_outputs(model, found, 1).sum(0), attention_outputs(model, IDS)[1], atol=0.1, rtol=0)


def test_refusals():
    model = model_of("gpt2")
    refuses(lambda: trace(model, []), "0 tokens", f"1 to {BLOCK}")
    refuses(lambda: trace(model, [1] * (BLOCK + 1)), f"{BLOCK + 1} tokens", f"1 to {BLOCK}")
    assert len(trace(model, [1] * BLOCK).ids) == BLOCK
    refuses(lambda: trace(model, [1, V]), f"token {V}", f"0 to {V - 1}")
    refuses(lambda: trace(model, [-1]), "token -1")
    refuses(lambda: head_outputs(model, trace(model, IDS), 2), "layer 2", "0 to 1")
    refuses(lambda: head_outputs(model, trace(model, IDS), -1), "layer -1")
    for head in [(2, 0), (0, 3), (-1, 0), (0, -1)]:
        refuses(lambda head=head: trace(model, IDS, [(0, 0), head]), str(head), "layers 0 to 1", "heads 0 to 2")
    assert hook_count(model) == 0


def test_a_trace_that_would_be_too_large(monkeypatch):
    model = model_of("gpt2")  # 2 layers of 3 heads, 37 tokens, 3 x 13 channels
    monkeypatch.setattr("nanogpt.explain.trace.MAX_NUMBERS", 6 * 5 * 5)
    assert longest_trace(model) == 3  # 150 // 39, of the stream
    monkeypatch.setattr("nanogpt.explain.trace.MAX_NUMBERS", 6 * 7 * 7 - 1)
    assert longest_trace(model) == 6
    assert trace(model, IDS[:6]).ids == tuple(IDS[:6])
    refuses(lambda: trace(model, IDS), "7 tokens", "2 layers of 3 heads", "293 numbers", "at most 6 tokens")


TEXT = "hello there, old world"


def test_the_newest_tokens_of_a_text(monkeypatch):
    run = make_run("run", text=TEXT)  # block_size 11
    found = trace_text(run, "hello", off=[(1, 2)])
    assert (run.tokenizer.decode(found.ids), found.skipped, found.off) == ("hello", 0, ((1, 2),))
    assert torch.equal(found.logits, trace(run.model, run.tokenizer.encode("hello").tolist(), [(1, 2)]).logits)
    found = trace_text(run, TEXT)
    assert (run.tokenizer.decode(found.ids), found.skipped) == (TEXT[-11:], len(TEXT) - 11)
    monkeypatch.setattr("nanogpt.explain.trace.MAX_NUMBERS", 6 * 5 * 5)
    found = trace_text(run, TEXT)
    assert (run.tokenizer.decode(found.ids), found.skipped) == (TEXT[-3:], len(TEXT) - 3)


def test_empty_texts_and_unknown_characters():
    run = make_run("run", text=TEXT)
    assert len(trace_text(run, "").ids) == 1
    refuses(lambda: trace_text(run, "hello?"), "'?'")
    assert run.tokenizer.decode(trace_text(run, "hello?", unknown="skip").ids) == "hello"
    run = make_run("lines", text="one\ntwo")
    assert run.tokenizer.decode(trace_text(run, "").ids) == "\n"
