"""The model against formulas written out, torch's own layers, and figures from the papers and the lecture."""

import math
from dataclasses import fields

import pytest
import torch
from tiny import BLOCK, HEADS, HIDDEN, LAYERS, PRESETS, B, C, D, T, V, shake, tiny_config, tiny_model, token_ids
from torch import nn
from torch.nn import functional as F

from nanogpt.config import ModelConfig, load_preset
from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT, Attention, Block, FeedForward, initialise, make_norm
from nanogpt.model.positions import rotate, rotations, sinusoids
from nanogpt.sampling.cache import KeyValueCache

EXCHANGES = [
    {"norm": "rms"},
    {"norm": "layer"},
    {"norm_position": "post"},
    {"norm_eps": 0.1},
    {"position": "learned"},
    {"position": "sinusoidal"},
    {"position": "rope"},
    {"position": "rope", "rope_theta": 100.0},
    {"activation": "relu"},
    {"activation": "gelu"},
    {"activation": "gelu_tanh"},
    {"activation": "swiglu"},
    {"mlp_hidden": 19},
    {"qk_norm": True},
    {"qkv_bias": True},
    {"bias": True},
    {"bias": False},
    {"head_bias": True},
    {"tie_embeddings": True},
    {"n_kv_head": 1},
    {"head_size": 6},
    {"head_size": 5, "position": "learned"},
]
EACH_PART = pytest.mark.parametrize(
    "parts", EXCHANGES, ids=lambda parts: "-".join(f"{k}={v}" for k, v in parts.items())
)
EACH_PRESET = pytest.mark.parametrize("preset", PRESETS)


def explicit_attention(layer: Attention, x, turn=None):
    """The paper's formula, one head at a time, from the layer's own weights."""
    T = x.size(1)
    H, K, D = layer.n_head, layer.kv_heads, layer.size
    out = layer.qkv(x)
    heads = []
    for h in range(H):
        k_head = h // (H // K)
        q = out[..., h * D : (h + 1) * D]
        k = out[..., (H + k_head) * D : (H + k_head + 1) * D]
        v = out[..., (H + K + k_head) * D : (H + K + k_head + 1) * D]
        q, k = layer.q_norm(q), layer.k_norm(k)
        if turn is not None:
            q, k = rotate(q[:, None], turn)[:, 0], rotate(k[:, None], turn)[:, 0]
        scores = q @ k.transpose(1, 2) / math.sqrt(D)
        future = torch.ones(T, T).triu(1).bool()
        heads.append(scores.masked_fill(future, -torch.inf).softmax(-1) @ v)
    return layer.proj(torch.cat(heads, dim=-1))


# Shapes, causality, first loss


@EACH_PRESET
@pytest.mark.parametrize("length", [1, 2, T, BLOCK])
def test_logits_have_a_row_for_each_token(preset, length):
    assert tiny_model(preset)(token_ids(B, length)).shape == (B, length, V)


@EACH_PRESET
@EACH_PART
def test_no_position_sees_its_future_and_each_sees_its_past(preset, parts):
    model, idx = tiny_model(preset, **parts), token_ids(B, T)
    changed = idx.clone()
    changed[:, 4] = (changed[:, 4] + 1) % V
    before, after = model(idx), model(changed)
    torch.testing.assert_close(after[:, :4], before[:, :4], rtol=0, atol=1e-6)
    for t in range(4, T):
        assert (after[:, t] - before[:, t]).abs().max() > 1e-4, f"position {t} does not see position 4"


@EACH_PRESET
@EACH_PART
def test_rows_of_a_batch_do_not_see_each_other(preset, parts):
    model, idx = tiny_model(preset, **parts), token_ids(B, T)
    torch.testing.assert_close(model(idx)[3:4], model(idx[3:4]), rtol=1e-5, atol=1e-5)


@EACH_PRESET
@EACH_PART
def test_a_cache_gives_the_logits_of_the_whole(preset, parts):
    model, idx = tiny_model(preset, **parts), token_ids(B, T)
    cache = KeyValueCache(model.config, B, model.lm_head.weight).rows([*range(B)])
    pieces = [model(part, cache) for part in idx.split([2, 1, 3, 1], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(idx), rtol=1e-5, atol=1e-5)
    assert cache.length == T


@EACH_PRESET
@EACH_PART
def test_an_untrained_model_is_as_good_as_a_guess(preset, parts):
    config = tiny_config(preset, **parts)
    model = GPT(config.model, torch.Generator().manual_seed(5)).eval()
    idx = token_ids(29, BLOCK)
    loss = F.cross_entropy(model(idx).flatten(0, 1), token_ids(29, BLOCK, seed=8).flatten())
    assert loss.item() == pytest.approx(math.log(V), abs=0.05)


@EACH_PRESET
def test_every_weight_gets_a_gradient(preset):
    model = tiny_model(preset)
    F.cross_entropy(model(token_ids(B, BLOCK)).flatten(0, 1), token_ids(B, BLOCK, seed=8).flatten()).backward()
    for name, p in model.named_parameters():
        assert p.grad is not None, name
        if "k_norm" not in name and not name.endswith("qkv.bias"):
            assert p.grad.abs().max() > 1e-7, name


@EACH_PRESET
def test_a_context_longer_than_the_block_names_both_lengths(preset):
    with pytest.raises(UserError, match="13 tokens is longer than block_size 11"):
        tiny_model(preset)(token_ids(1, 13))


def test_a_cache_counts_towards_the_block():
    model = tiny_model()
    cache = KeyValueCache(model.config, 1, model.lm_head.weight).rows([0])
    model(token_ids(1, 9), cache)
    with pytest.raises(UserError, match="12 tokens is longer than block_size 11"):
        model(token_ids(1, 3), cache)


# Parts against their formulas


def test_layer_norm_is_the_formula():
    x = torch.randn(B, T, C) * 3 + 2
    norm = make_norm(ModelConfig(norm="layer", norm_eps=0.1, bias=True), C)
    shake(norm)
    centered = x - x.mean(-1, keepdim=True)
    expected = centered / (centered.pow(2).mean(-1, keepdim=True) + 0.1).sqrt() * norm.weight + norm.bias
    torch.testing.assert_close(norm(x), expected)


def test_rms_norm_is_the_formula():
    x = torch.randn(B, T, C) * 3 + 2
    norm = make_norm(ModelConfig(norm="rms", norm_eps=0.1), C)
    shake(norm)
    torch.testing.assert_close(norm(x), x / (x.pow(2).mean(-1, keepdim=True) + 0.1).sqrt() * norm.weight)
    assert not hasattr(norm, "bias") or norm.bias is None


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("relu", lambda x: x.clamp(min=0)),
        ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))),
        ("gelu_tanh", lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
    ],
)
def test_the_feed_forward_network_is_two_layers_around_its_activation(activation, function):
    layer = FeedForward(tiny_config("gpt2", activation=activation).model)
    shake(layer)
    x = torch.randn(B, T, C)
    hidden = function(x @ layer.up.weight.T + layer.up.bias)
    assert hidden.shape == (B, T, HIDDEN)
    torch.testing.assert_close(layer(x), hidden @ layer.down.weight.T + layer.down.bias)


def test_swiglu_is_gated():
    layer = FeedForward(tiny_config("modern").model)
    shake(layer)
    x = torch.randn(B, T, C)
    gate, value = x @ layer.up.weight[:HIDDEN].T, x @ layer.up.weight[HIDDEN:].T
    torch.testing.assert_close(layer(x), (gate * torch.sigmoid(gate) * value) @ layer.down.weight.T)


@pytest.mark.parametrize(
    ("parts", "hidden"),
    [
        ({"n_embd": 12, "activation": "gelu"}, 48),
        ({"n_embd": 384, "activation": "swiglu"}, 1024),
        ({"n_embd": 128, "activation": "swiglu"}, 352),  # 8/3 of 128 is 341.3, to the next multiple of 32
        ({"n_embd": 12, "activation": "swiglu", "mlp_hidden": 7}, 7),
    ],
)
def test_the_hidden_width(parts, hidden):
    assert ModelConfig(**parts).hidden == hidden


@pytest.mark.parametrize("n_kv_head", [1, 3])
@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_attention_is_the_papers_formula(n_kv_head, qk_norm, turned):
    layer = Attention(tiny_config("modern", n_kv_head=n_kv_head, qk_norm=qk_norm, qkv_bias=True, bias=True).model)
    shake(layer)
    x = torch.randn(B, T, C)
    turn = rotations(T, D, 10_000.0) if turned else None
    torch.testing.assert_close(layer(x, turn, None), explicit_attention(layer, x, turn), rtol=1e-5, atol=1e-5)


def test_attention_equals_torchs_own():
    config = tiny_config("gpt2", n_embd=21, head_size=None).model
    layer, reference = Attention(config), nn.MultiheadAttention(21, HEADS, bias=True, batch_first=True)
    shake(layer)
    with torch.no_grad():
        reference.in_proj_weight.copy_(layer.qkv.weight)
        reference.in_proj_bias.copy_(layer.qkv.bias)
        reference.out_proj.weight.copy_(layer.proj.weight)
        reference.out_proj.bias.copy_(layer.proj.bias)
    x = torch.randn(B, T, 21)
    expected, _ = reference(x, x, x, attn_mask=torch.ones(T, T).triu(1).bool(), need_weights=False)
    torch.testing.assert_close(layer(x, None, None), expected, rtol=1e-5, atol=1e-5)


def test_grouped_queries_are_key_and_value_heads_repeated():
    grouped = Attention(tiny_config("modern", n_head=6, n_kv_head=2).model)
    full = Attention(tiny_config("modern", n_head=6).model)
    shake(grouped)
    q, k, v = grouped.qkv.weight.split([6 * D, 2 * D, 2 * D])
    repeated = [part.view(2, D, C).repeat_interleave(3, dim=0).reshape(6 * D, C) for part in (k, v)]
    with torch.no_grad():
        full.qkv.weight.copy_(torch.cat([q, *repeated]))
        full.proj.weight.copy_(grouped.proj.weight)
        full.q_norm.weight.copy_(grouped.q_norm.weight)
        full.k_norm.weight.copy_(grouped.k_norm.weight)
    x, turn = torch.randn(B, T, C), rotations(T, D, 10_000.0)
    torch.testing.assert_close(grouped(x, turn, None), full(x, turn, None), rtol=1e-5, atol=1e-5)


def test_positions_are_added_to_the_embeddings():
    for position in ("learned", "sinusoidal"):
        model = tiny_model("lecture", position=position)
        table = model.position_embedding.weight if position == "learned" else sinusoids(BLOCK, C)
        seen = []
        model.blocks[0].register_forward_pre_hook(lambda module, args, seen=seen: seen.append(args[0]))
        idx = token_ids(B, T)
        model(idx)
        torch.testing.assert_close(seen[0], model.token_embedding.weight[idx] + table[:T])


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_a_block_adds_both_sub_layers_to_the_stream(norm_position):
    block = Block(tiny_config("gpt2", norm_position=norm_position).model).eval()
    shake(block)
    x = torch.randn(B, T, C)
    n1, n2 = block.attention_norm, block.mlp_norm
    if norm_position == "pre":
        middle = x + block.attention(n1(x), None, None)
        expected = middle + block.mlp(n2(middle))
    else:
        middle = n1(x + block.attention(x, None, None))
        expected = n2(middle + block.mlp(middle))
    torch.testing.assert_close(block(x), expected)


def test_post_norm_has_no_further_norm_at_the_end():
    assert isinstance(tiny_model("gpt2", norm_position="post").final_norm, nn.Identity)
    assert isinstance(tiny_model("gpt2", norm_position="pre").final_norm, nn.LayerNorm)


def test_the_model_is_embedding_blocks_norm_head():
    model, idx = tiny_model("modern"), token_ids(B, T)
    x, turn = model.token_embedding(idx), rotations(T, D, 10_000.0)
    for block in model.blocks:
        x = block(x, turn)
    torch.testing.assert_close(model(idx), model.final_norm(x) @ model.lm_head.weight.T, rtol=1e-5, atol=1e-5)


def test_a_block_of_ones_own_takes_the_place():
    class Still(Block):
        def forward(self, x, turn=None, cache=None):
            return x

    model = GPT(tiny_config().model, block=Still)
    assert all(type(block) is Still for block in model.blocks)
    shake(model)
    idx = token_ids(B, T)
    torch.testing.assert_close(model(idx), model.lm_head(model.final_norm(model.token_embedding(idx))))


# Documents

END = 3  # opens a document


def packed(*lengths, seed=11):
    """Documents of so many tokens each, every one but the first opened by END, and their ids in one row (1, T)."""
    documents = []
    for number, length in enumerate(lengths):
        ids = END + 1 + token_ids(length, vocab_size=V - END - 1, seed=seed + number)
        if number:
            ids[0] = END
        documents.append(ids[None])
    return documents, torch.cat(documents, dim=1)


def masked_model(preset="modern", **settings):
    return tiny_model(preset, mask_documents=True, document_token=END, **settings)


def test_which_keys_are_seen_by_hand():
    idx = torch.tensor([[7, 8, END, 5, END], [END, 4, 4, 4, 4]])
    rows = [[[0], [0, 1], [2], [2, 3], [4]], [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]]]
    seen = masked_model()._see_own_document(idx, None)
    assert seen.shape == (2, 1, 5, 5)
    assert [[torch.nonzero(keys).flatten().tolist() for keys in row[0]] for row in seen] == rows


@pytest.mark.parametrize("lengths", [(4, 7), (5, 1, 3), (1, 1, 1), (11,)])
@pytest.mark.parametrize("n_kv_head", [None, 1])
def test_documents_in_one_window_are_read_as_each_alone(lengths, n_kv_head):
    """Turned queries and keys know distances alone, so where a document lies in the window changes nothing."""
    documents, idx = packed(*lengths)
    model = masked_model(position="rope", n_kv_head=n_kv_head)
    alone = torch.cat([model(document) for document in documents], dim=1)
    torch.testing.assert_close(model(idx), alone, rtol=1e-5, atol=1e-5)
    if len(lengths) > 1:
        plain = tiny_model(position="rope", n_kv_head=n_kv_head)
        assert (plain(idx) - alone).abs().max() > 1e-2


def test_so_are_their_gradients():
    documents, idx = packed(4, 2, 5)
    model = masked_model()

    def gradient(*parts):
        model.zero_grad()
        for ids in parts:
            logits = model(ids)
            # A document's last token is not asked for the next document's first, which it alone does not know.
            F.cross_entropy(logits[0], (ids[0] * 5 + 1) % V, reduction="sum").backward()
        return [p.grad.clone() for p in model.parameters()]

    for packed_gradient, alone in zip(gradient(idx), gradient(*documents)):
        torch.testing.assert_close(packed_gradient, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
@pytest.mark.parametrize("dropped", [False, True])
def test_attention_within_documents_is_the_masked_formula(position, dropped):
    """With positions added to the embeddings: against the formula with a mask made by a loop."""
    _, idx = packed(3, 2, 4)
    model = masked_model("gpt2", n_layer=1, position=position, attention_dropout=1e-9 if dropped else 0.0)
    model.train(dropped)  # the path by hand, dropping nothing
    number, of = -1, []
    for token in idx[0].tolist():
        number += token == END
        of.append(number)
    hidden = torch.tensor([[j > i or of[i] != of[j] for j in range(9)] for i in range(9)])
    block, x = model.blocks[0], model._embed(idx, slice(9))
    q, k, v = block.attention.qkv(block.attention_norm(x)).view(1, 9, 3, HEADS, D).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / math.sqrt(D)).masked_fill(hidden, -torch.inf).softmax(-1)
    x = x + block.attention.proj((weights @ v).transpose(1, 2).reshape(1, 9, -1))
    x = x + block.mlp(block.mlp_norm(x))
    torch.testing.assert_close(model(idx), model.lm_head(model.final_norm(x)), rtol=1e-4, atol=1e-4)


@EACH_PRESET
@pytest.mark.parametrize("pieces", [(1,) * 11, (5, 6), (4, 1, 1, 5)])
def test_a_cache_keeps_documents_apart(preset, pieces):
    rows = [packed(*lengths)[1] for lengths in ((4, 7), (11,), (1, 1, 9), (5, 6), (10, 1))]
    idx, model = torch.cat(rows), masked_model(preset)
    cache = KeyValueCache(model.config, len(rows), model.lm_head.weight).rows([*range(len(rows))])
    found = torch.cat([model(part, cache) for part in idx.split(pieces, dim=1)], dim=1)
    torch.testing.assert_close(found, model(idx), rtol=1e-5, atol=1e-5)


def test_without_an_end_of_a_document_the_mask_changes_nothing():
    idx = packed(9)[1]
    torch.testing.assert_close(masked_model()(idx), tiny_model()(idx), rtol=1e-5, atol=1e-5)


def test_documents_cannot_be_told_apart_without_their_token():
    with pytest.raises(UserError, match="mask_documents needs the end-of-document token"):
        GPT(tiny_config(mask_documents=True).model)


def test_a_model_that_knows_no_token_is_not_made():
    with pytest.raises(UserError, match=r"vocab_size is 0.*: give it"):
        GPT(ModelConfig())


# Parameters


def test_the_lectures_model_has_the_lectures_parameters():
    with torch.device("meta"):
        assert GPT(load_preset("lecture").override(vocab_size=65).model).parameter_count == 10_788_929


def test_gpt2_has_gpt2s_parameters():
    sizes = {"vocab_size": 50257, "block_size": 1024, "n_layer": 12, "n_head": 12, "n_embd": 768}
    with torch.device("meta"):
        assert GPT(load_preset("gpt2").override(**sizes).model).parameter_count == 124_439_808


def test_modern_has_qwen3s_parameters():
    sizes = {"vocab_size": 151_936, "block_size": 64, "n_layer": 28, "n_head": 16, "n_kv_head": 8, "n_embd": 1024}
    parts = {"head_size": 128, "mlp_hidden": 3072, "tie_embeddings": True}
    with torch.device("meta"):
        assert GPT(load_preset("modern").override(**sizes, **parts).model).parameter_count == 596_049_920  # Qwen3-0.6B


def test_modern_counted_by_hand():
    attention = C * 3 * HEADS * D + HEADS * D * C + 2 * D  # query, key, value; projection; two norms of a head
    mlp = C * 2 * HIDDEN + HIDDEN * C
    assert tiny_model().parameter_count == V * C + LAYERS * (attention + mlp + 2 * C) + C + C * V


def test_tied_embeddings_are_one_tensor():
    free, tied = tiny_model(tie_embeddings=False), tiny_model(tie_embeddings=True)
    assert tied.lm_head.weight is tied.token_embedding.weight
    assert free.lm_head.weight is not free.token_embedding.weight
    assert free.parameter_count - tied.parameter_count == V * C


BIASES = {
    "qkv_bias": {"qkv"},
    "bias": {"proj", "up", "down", "attention_norm", "mlp_norm", "final_norm"},
    "head_bias": {"lm_head"},
}


@pytest.mark.parametrize("name", BIASES)
def test_each_bias_switch_rules_its_own_layers(name):
    model = tiny_model("lecture", **{"qkv_bias": False, "bias": False, "head_bias": False} | {name: True})
    assert {p.split(".")[-2] for p, _ in model.named_parameters() if p.endswith("bias")} == BIASES[name]


# First weights

WIDE = {"vocab_size": 211, "block_size": 101, "n_layer": 3, "n_head": 4, "n_embd": 128, "head_size": None}


def spreads(preset, **settings):
    config = tiny_config(preset, **WIDE | {"mlp_hidden": 257} | settings).model
    model = GPT(config, torch.Generator().manual_seed(11))
    return {name: p.std().item() for name, p in model.named_parameters() if p.ndim == 2}, model


def test_gpt2_starts_at_0_02_and_smaller_into_the_stream():
    found, _ = spreads("gpt2")
    for name, std in found.items():
        into_stream = name.endswith(("attention.proj.weight", "mlp.down.weight"))
        assert std == pytest.approx(0.02 / math.sqrt(2 * 3) if into_stream else 0.02, rel=0.04), name
    assert len(found) == 2 + 3 * 4


def test_the_lecture_starts_at_0_02_everywhere():
    found, model = spreads("lecture")
    assert all(std == pytest.approx(0.02, rel=0.04) for std in found.values())
    assert all(p.abs().max() == 0 for name, p in model.named_parameters() if name.endswith("bias"))


def test_modern_starts_as_the_identity_and_uniform():
    found, model = spreads("modern")
    for name, std in found.items():
        if name.endswith(("attention.proj.weight", "mlp.down.weight")) or name == "lm_head.weight":
            assert std == 0, name
        elif name != "token_embedding.weight":
            assert std == pytest.approx(1 / math.sqrt(128), rel=0.04), name
    assert found["token_embedding.weight"] == pytest.approx(0.3, rel=0.04)
    idx = token_ids(2, T, vocab_size=211)
    assert model(idx).abs().max() == 0
    block = model.blocks[0](x := torch.randn(1, T, 128), rotations(T, 32, 10_000.0))
    assert torch.equal(block, x)


def test_a_tied_zero_start_still_predicts_nearly_uniformly():
    found, model = spreads("modern", tie_embeddings=True)
    assert found["token_embedding.weight"] == pytest.approx(0.02, rel=0.04)
    assert model(token_ids(2, T, vocab_size=211)).abs().max() > 0


@EACH_PRESET
def test_first_weights_come_from_the_generator_alone(preset):
    config = tiny_config(preset).model
    one = GPT(config, torch.Generator().manual_seed(5)).state_dict()
    torch.manual_seed(99)
    two = GPT(config, torch.Generator().manual_seed(5)).state_dict()
    other = GPT(config, torch.Generator().manual_seed(6)).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_initialise_sets_every_matrix():
    model = GPT(tiny_config("lecture").model)
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(7.0)
    initialise(model)
    for name, p in model.named_parameters():
        assert (p == 7).all() == ("norm" in name), name


# Every setting does something

EFFECTS = {
    "vocab_size": ("modern", {"vocab_size": 41}),
    "block_size": ("lecture", {"block_size": 13}),
    "n_layer": ("modern", {"n_layer": 3}),
    "n_head": ("modern", {"n_head": 1}),
    "n_embd": ("modern", {"n_embd": 17}),
    "n_kv_head": ("modern", {"n_kv_head": 1}),
    "head_size": ("modern", {"head_size": 6}),
    "mlp_hidden": ("modern", {"mlp_hidden": 19}),
    "norm": ("modern", {"norm": "layer"}),
    "norm_position": ("gpt2", {"norm_position": "post"}),
    "norm_eps": ("modern", {"norm_eps": 0.5}),
    "position": ("lecture", {"position": "sinusoidal"}),
    "rope_theta": ("modern", {"rope_theta": 3.0}),
    "activation": ("gpt2", {"activation": "relu"}),
    "qk_norm": ("modern", {"qk_norm": False}),
    "qkv_bias": ("modern", {"qkv_bias": True}),
    "bias": ("gpt2", {"bias": False}),
    "head_bias": ("gpt2", {"head_bias": True}),
    "tie_embeddings": ("modern", {"tie_embeddings": True}),
    "mask_documents": ("modern", {"mask_documents": True, "document_token": 27}),
    "document_token": ("modern", {"mask_documents": True, "document_token": 35}),
    "dropout": ("gpt2", {"dropout": 0.5}),
    "attention_dropout": ("gpt2", {"attention_dropout": 0.5}),
    "embedding_dropout": ("gpt2", {"embedding_dropout": 0.5}),
    "init": ("gpt2", {"init": "normal"}),
}


def test_each_setting_has_a_case_here():
    assert EFFECTS.keys() == {field.name for field in fields(ModelConfig)}


@pytest.mark.parametrize("name", EFFECTS)
def test_changing_a_setting_changes_the_model(name):
    preset, change = EFFECTS[name]
    results = []
    for settings in ({}, change):
        model = GPT(tiny_config(preset, **settings).model, torch.Generator().manual_seed(5))
        if name != "init":
            shake(model)
        torch.manual_seed(0)
        results.append((model.train()(token_ids(B, T)), model.parameter_count))
    (before, count), (after, other_count) = results
    assert count != other_count or (after - before).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["dropout", "attention_dropout", "embedding_dropout"])
def test_dropout_is_off_in_evaluation(name):
    plain, dropped = tiny_model("gpt2"), tiny_model("gpt2", **{name: 0.5})
    torch.testing.assert_close(plain(token_ids(B, T)), dropped(token_ids(B, T)))


def test_the_two_further_dropouts_follow_the_first_unless_given():
    model = tiny_model("gpt2", dropout=0.3)
    assert (model.dropout.share, model.blocks[0].attention.dropout.share, model.blocks[0].dropout.share) == (
        0.3,
        0.3,
        0.3,
    )
    model = tiny_model("gpt2", dropout=0.3, attention_dropout=0.0, embedding_dropout=0.1)
    assert (model.dropout.share, model.blocks[0].attention.dropout.share, model.blocks[0].dropout.share) == (
        0.1,
        0.0,
        0.3,
    )
