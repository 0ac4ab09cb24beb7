"""The model compared with formulas written out, torch's own layers, and figures from the papers and the lecture."""

import math
from dataclasses import fields

import pytest
import torch
from tiny import BLOCK, HEADS, PARTS, PRESETS, B, C, D, T, V, refuses, shake, tiny_config, tiny_model, token_ids
from torch import nn
from torch.nn import functional as F

from nanogpt.config import ModelConfig, load_preset
from nanogpt.model.documents import document_mask
from nanogpt.model.gpt import GPT, Attention, Block, FeedForward, make_norm, rotate, rotations, sinusoids
from nanogpt.model.kv_cache import KVCache

EACH_PART = pytest.mark.parametrize("parts", PARTS, ids=str)
EACH_PRESET = pytest.mark.parametrize("preset", PRESETS)
CAUSAL = torch.ones(T, T).triu(1).bool()


def cache_of(model, rows):
    return KVCache(model.config, rows, model.lm_head.weight)


# The whole model


@EACH_PRESET
@EACH_PART
def test_each_position_sees_itself_and_its_past(preset, parts):
    """And no other row; and keys and values from a cache change nothing."""
    model, idx = tiny_model(preset, **parts), token_ids(B, T)
    changed = idx.clone()
    changed[:, 4] = (changed[:, 4] + 1) % V
    with torch.no_grad():
        before, after, cache = model(idx), model(changed), cache_of(model, B)
        assert before.shape == (B, T, V)
        torch.testing.assert_close(after[:, :4], before[:, :4], rtol=0, atol=1e-6)
        assert ((after - before)[:, 4:].abs().amax((0, 2)) > 1e-4).all()
        torch.testing.assert_close(model(idx[3:4]), before[3:4], rtol=1e-5, atol=1e-5)
        parts = [model(part, cache) for part in idx.split([2, 1, 3, 1], dim=1)]
        torch.testing.assert_close(torch.cat(parts, dim=1), before, rtol=1e-5, atol=1e-5)
        assert cache.lengths == [T] * B


@EACH_PRESET
@EACH_PART
def test_an_untrained_model_predicts_uniformly(preset, parts):
    model = GPT(tiny_config(preset, **parts).model, torch.Generator().manual_seed(5)).eval()
    loss = F.cross_entropy(model(token_ids(29, BLOCK)).flatten(0, 1), token_ids(29, BLOCK, seed=8).flatten())
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
    model = tiny_model(preset)
    cache = cache_of(model, 1)
    model(token_ids(1, 9), cache)
    for call in (lambda: model(token_ids(1, 12)), lambda: model(token_ids(1, 3), cache)):
        refuses(call, "12 tokens", "block_size 11")


def test_the_model_is_embedding_blocks_norm_head():
    model, idx = tiny_model("modern"), token_ids(B, T)
    x, rotation = model.token_embedding(idx), rotations(T, D, 10_000.0)
    for block in model.blocks:
        x = block(x, rotation)
    torch.testing.assert_close(model(idx), model.final_norm(x) @ model.lm_head.weight.T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
def test_positions_are_added_to_the_embeddings(position):
    model, idx = tiny_model("lecture", position=position), token_ids(B, T)
    table = model.position_embedding.weight if position == "learned" else sinusoids(BLOCK, C)
    torch.testing.assert_close(model.embed(idx, slice(T)), model.token_embedding.weight[idx] + table[:T])


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_a_block_adds_both_sub_layers_to_the_stream(norm_position):
    model = tiny_model("gpt2", norm_position=norm_position)
    block, x = model.blocks[0], torch.randn(B, T, C)
    n1, n2 = block.attention_norm, block.mlp_norm
    if norm_position == "pre":
        middle = x + block.attention(n1(x), None, None)
        expected = middle + block.mlp(n2(middle))
    else:
        middle = n1(x + block.attention(x, None, None))
        expected = n2(middle + block.mlp(middle))
    torch.testing.assert_close(block(x), expected)
    assert type(model.final_norm) is (nn.LayerNorm if norm_position == "pre" else nn.Identity)


def test_a_block_of_ones_own():
    class Identity(Block):
        def forward(self, x, rotation=None, cache=None, mask=None):
            return x

    model, idx = GPT(tiny_config().model, block=Identity), token_ids(B, T)
    shake(model)
    torch.testing.assert_close(model(idx), model.lm_head(model.final_norm(model.token_embedding(idx))))


def test_the_stream_has_autocasts_number_format():
    model, seen = tiny_model(), []
    model.blocks[0].register_forward_pre_hook(lambda module, args: seen.append(args[0].dtype))
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled):
            model(token_ids(B, T))
    assert seen == [torch.float32, torch.bfloat16]


# Parts and their formulas


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_norms_by_their_formulas(norm):
    layer, x = make_norm(tiny_config("gpt2", norm=norm, norm_eps=0.1).model), torch.randn(B, T, C) * 3 + 2
    shake(layer)
    centered = x - x.mean(-1, keepdim=True) if norm == "layer" else x
    expected = centered / (centered.pow(2).mean(-1, keepdim=True) + 0.1).sqrt() * layer.weight
    torch.testing.assert_close(layer(x), expected + layer.bias if norm == "layer" else expected)


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        ("relu", lambda x: x.clamp(min=0)),
        ("gelu", lambda x: x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))),
        ("gelu_tanh", lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))),
        ("swiglu", lambda x: x[..., :17] * torch.sigmoid(x[..., :17]) * x[..., 17:]),
    ],
)
def test_the_feed_forward_network_is_two_layers_around_its_activation(activation, function):
    layer, x = FeedForward(tiny_config("gpt2", activation=activation).model), torch.randn(B, T, C)
    shake(layer)
    hidden = function(x @ layer.up.weight.T + layer.up.bias)
    assert hidden.shape == (B, T, 17)
    torch.testing.assert_close(layer(x), hidden @ layer.down.weight.T + layer.down.bias)


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


@pytest.mark.parametrize(("heads", "kv_heads"), [(3, 3), (3, 1), (6, 2)])
@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("rotated", [False, True])
def test_attention_is_the_papers_formula(heads, kv_heads, qk_norm, rotated):
    """One head at a time, from the layer's own weights; neighbouring heads share keys and values."""
    parts = {"n_head": heads, "n_kv_head": kv_heads, "qk_norm": qk_norm, "qkv_bias": True, "bias": True}
    layer, x, outputs = Attention(tiny_config("modern", **parts).model), torch.randn(B, T, C), []
    shake(layer)
    rotation = rotations(T, D, 10_000.0) if rotated else None
    queries, keys, values = layer.qkv(x).split([heads * D, kv_heads * D, kv_heads * D], -1)
    for h in range(heads):
        shared = h // (heads // kv_heads)
        q, k, v = queries[..., h * D :][..., :D], keys[..., shared * D :][..., :D], values[..., shared * D :][..., :D]
        q, k = layer.q_norm(q), layer.k_norm(k)
        if rotation is not None:
            q, k = rotate(q[:, None], rotation)[:, 0], rotate(k[:, None], rotation)[:, 0]
        scores = q @ k.transpose(1, 2) / math.sqrt(D)
        outputs.append(scores.masked_fill(CAUSAL, -torch.inf).softmax(-1) @ v)
    expected = layer.proj(torch.cat(outputs, dim=-1))
    torch.testing.assert_close(layer(x, rotation, None), expected, rtol=1e-5, atol=1e-5)


def test_attention_equals_torchs_own():
    layer = Attention(tiny_config("gpt2", n_embd=21, head_size=None).model)
    reference, x = nn.MultiheadAttention(21, HEADS, bias=True, batch_first=True), torch.randn(B, T, 21)
    shake(layer)
    names = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
    reference.load_state_dict(dict(zip(names, (p for m in (layer.qkv, layer.proj) for p in (m.weight, m.bias)))))
    expected, _ = reference(x, x, x, attn_mask=CAUSAL, need_weights=False)
    torch.testing.assert_close(layer(x, None, None), expected, rtol=1e-5, atol=1e-5)


# Positions


def test_rotation_of_pairs_of_halves_by_position_times_rate():
    x = torch.tensor([1.0, 10.0, 2.0, 20.0])[None, None, None].expand(1, 1, 4, 4)  # (1, 1, T, D)
    rotated = rotate(x, rotations(4, 4, 100.0))
    for t in range(4):
        for pair, rate in enumerate((1.0, 0.1)):  # 100^0 and 100^(-2/4)
            a, b, angle = x[0, 0, t, pair], x[0, 0, t, pair + 2], t * rate
            expected = (a * math.cos(angle) - b * math.sin(angle), b * math.cos(angle) + a * math.sin(angle))
            torch.testing.assert_close(rotated[0, 0, t, [pair, pair + 2]], torch.stack(expected), rtol=0, atol=1e-5)


def test_rotations_have_the_bits_of_transformers():
    rates = 1.0 / (1e6 ** (torch.arange(0, 26, 2, dtype=torch.int64).float() / 26))
    angles = torch.outer(torch.arange(40_961).float(), rates)
    cos, sin = rotations(40_961, 26, 1e6)
    assert torch.equal(cos, angles.cos().repeat(1, 2))
    assert torch.equal(sin, torch.cat([-angles.sin(), angles.sin()], -1))
    old, _ = rotations(40_961, 26, 1e6, run_format=1)
    assert not torch.equal(old, cos)


def test_rotated_products_depend_on_the_distance_alone():
    rotation = rotations(53, D, 10_000.0)
    q, k = (rotate(torch.randn(1, HEADS, 1, D).expand(-1, -1, 53, -1), rotation) for _ in range(2))
    product = q @ k.transpose(2, 3)  # (1, H, 53, 53)
    for distance in (0, 1, 17):
        same = product.diagonal(-distance, 2, 3)
        torch.testing.assert_close(same, same[..., :1].expand_as(same), rtol=1e-4, atol=1e-4)
    assert (product.diagonal(-1, 2, 3)[..., 0] - product.diagonal(-17, 2, 3)[..., 0]).abs().min() > 1e-3


@pytest.mark.parametrize("n_embd", [C, 12])
def test_sinusoids_are_the_papers(n_embd):
    table = sinusoids(19, n_embd)
    assert table.shape == (19, n_embd)
    for position in (0, 1, 18):
        for channel in range(n_embd):
            angle = position / 10_000 ** (channel // 2 * 2 / n_embd)
            expected = math.cos(angle) if channel % 2 else math.sin(angle)
            assert table[position, channel].item() == pytest.approx(expected, abs=1e-5)


# Documents

END = 3  # opens a document


def packed(*lengths, seed=11):
    """Documents of these lengths, every one but the first opened by END, and their ids in one row (1, T)."""
    documents = []
    for number, length in enumerate(lengths):
        ids = END + 1 + token_ids(length, vocab_size=V - END - 1, seed=seed + number)
        if number:
            ids[0] = END
        documents.append(ids[None])
    return documents, torch.cat(documents, dim=1)


def masked_model(preset="modern", **settings):
    return tiny_model(preset, mask_documents=True, document_token=END, **settings)


def test_visible_keys_by_hand():
    idx = torch.tensor([[7, 8, END, 5, END], [END, 4, 4, 4, 4]])
    rows = [[[0], [0, 1], [2], [2, 3], [4]], [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4]]]
    mask = document_mask(idx, END)
    assert mask.shape == (2, 1, 5, 5)
    assert [[torch.nonzero(keys).flatten().tolist() for keys in row[0]] for row in mask] == rows


@pytest.mark.parametrize("lengths", [(4, 7), (5, 1, 3), (1, 1, 1), (11,)])
@pytest.mark.parametrize("n_kv_head", [None, 1])
def test_documents_in_one_window_are_read_as_each_alone(lengths, n_kv_head):
    """Rotated queries and keys know distances only, so a document's position in the window changes nothing."""
    documents, idx = packed(*lengths)
    model, plain = (make(position="rope", n_kv_head=n_kv_head) for make in (masked_model, tiny_model))
    alone = torch.cat([model(document) for document in documents], dim=1)
    torch.testing.assert_close(model(idx), alone, rtol=1e-5, atol=1e-5)
    assert (len(lengths) == 1) == ((plain(idx) - alone).abs().max() < 1e-2)


@pytest.mark.parametrize("position", ["learned", "sinusoidal"])
@pytest.mark.parametrize("p", [0.0, 1e-9])
def test_attention_within_documents_is_the_masked_formula(position, p):
    """The mask is made by a loop; with a dropout that drops nothing, attention takes the blockwise path."""
    _, idx = packed(3, 2, 4)
    model = masked_model("gpt2", n_layer=1, position=position, attention_dropout=p).train(p > 0)
    document = [sum(token == END for token in idx[0, : i + 1].tolist()) for i in range(9)]
    hidden = torch.tensor([[j > i or document[i] != document[j] for j in range(9)] for i in range(9)])
    block, x = model.blocks[0], model.embed(idx, slice(9))
    q, k, v = block.attention.qkv(block.attention_norm(x)).view(1, 9, 3, HEADS, D).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / math.sqrt(D)).masked_fill(hidden, -torch.inf).softmax(-1)
    x = x + block.attention.proj((weights @ v).transpose(1, 2).reshape(1, 9, -1))
    x = x + block.mlp(block.mlp_norm(x))
    torch.testing.assert_close(model(idx), model.lm_head(model.final_norm(x)), rtol=1e-4, atol=1e-4)


@EACH_PRESET
@pytest.mark.parametrize("parts", [(1,) * 11, (5, 6), (4, 1, 1, 5)])
def test_a_cache_keeps_documents_apart(preset, parts):
    idx = torch.cat([packed(*lengths)[1] for lengths in ((4, 7), (11,), (1, 1, 9), (5, 6), (10, 1))])
    model = masked_model(preset)
    cache = cache_of(model, len(idx))
    found = torch.cat([model(part, cache) for part in idx.split(parts, dim=1)], dim=1)
    torch.testing.assert_close(found, model(idx), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "words"),
    [({"mask_documents": True, "vocab_size": V}, "document_token"), ({}, "vocab_size is 0")],
)
def test_a_config_that_no_model_can_have(config, words):
    refuses(lambda: GPT(ModelConfig(**config)), words)


# Parameters


@pytest.mark.parametrize(
    ("preset", "settings", "count"),
    [
        ("lecture", {"vocab_size": 65}, 10_788_929),
        ("gpt2", {"vocab_size": 50257, "block_size": 1024, "n_layer": 12, "n_head": 12, "n_embd": 768}, 124_439_808),
        (  # Qwen3-0.6B
            "modern",
            {"vocab_size": 151_936, "block_size": 64, "n_layer": 28, "n_head": 16, "n_kv_head": 8, "n_embd": 1024}
            | {"head_size": 128, "mlp_hidden": 3072, "tie_embeddings": True},
            596_049_920,
        ),
    ],
)
def test_parameter_counts_are_those_of_the_known_models(preset, settings, count):
    with torch.device("meta"):
        assert GPT(load_preset(preset).override(**settings).model).parameter_count == count


def test_modern_counted_by_hand():
    attention = C * 3 * HEADS * D + HEADS * D * C + 2 * D  # query, key, value; projection; two norms of a head
    mlp = C * 2 * 17 + 17 * C
    free, tied = tiny_model(tie_embeddings=False), tiny_model(tie_embeddings=True)
    assert free.parameter_count == V * C + 2 * (attention + mlp + 2 * C) + C + C * V
    assert tied.parameter_count == free.parameter_count - V * C
    assert tied.lm_head.weight is tied.token_embedding.weight


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("qkv_bias", {"qkv"}),
        ("bias", {"proj", "up", "down", "attention_norm", "mlp_norm", "final_norm"}),
        ("head_bias", {"lm_head"}),
    ],
)
def test_each_bias_switch_rules_its_own_layers(name, layers):
    model = tiny_model("lecture", **{"qkv_bias": False, "bias": False, "head_bias": False} | {name: True})
    assert {p.split(".")[-2] for p, _ in model.named_parameters() if p.endswith("bias")} == layers


# First weights

WIDE = {"vocab_size": 211, "block_size": 101, "n_layer": 3, "n_head": 4, "n_embd": 128, "head_size": None}
STREAM = 0.02 / math.sqrt(2 * 3)  # 3 layers


@pytest.mark.parametrize(
    ("preset", "tied", "expected"),
    [  # of embeddings, matrices, those that write into the residual stream, and the output layer
        ("lecture", False, (0.02, 0.02, 0.02, 0.02)),
        ("gpt2", True, (0.02, 0.02, STREAM, None)),
        ("modern", False, (0.3, 1 / math.sqrt(128), 0, 0)),
        ("modern", True, (0.02, 1 / math.sqrt(128), 0, None)),
    ],
)
def test_initial_standard_deviations(preset, tied, expected):
    config = tiny_config(preset, **WIDE, mlp_hidden=257, tie_embeddings=tied).model
    model = GPT(config, torch.Generator().manual_seed(11))
    ends = {"embedding.weight": 0, "proj.weight": 2, "down.weight": 2, "lm_head.weight": 3}
    for name, p in model.named_parameters():
        if p.ndim == 2:
            std = expected[next((number for end, number in ends.items() if name.endswith(end)), 1)]
            assert p.std().item() == pytest.approx(std, rel=0.04), name
            assert abs(p.mean().item()) <= 0.02 * std, name
        else:
            assert (p == ("norm" in name and name.endswith("weight"))).all(), name
    if preset == "modern":  # each block starts as the identity, and only a tied prediction is not quite uniform
        x = torch.randn(1, T, 128)
        assert torch.equal(model.blocks[0](x, rotations(T, 32, 10_000.0)), x)
        assert (model(token_ids(2, T, vocab_size=211)).abs().max() == 0) == (not tied)
        assert model.blocks[0].mlp.up.weight.abs().max() <= math.sqrt(3 / 128)  # uniform


@EACH_PRESET
def test_first_weights_come_from_the_generator_alone(preset):
    def drawn(seed):
        return GPT(tiny_config(preset).model, torch.Generator().manual_seed(seed)).state_dict()

    one = drawn(5)
    torch.manual_seed(99)
    two, other = drawn(5), drawn(6)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


# Every setting does something

EFFECTS = {
    "modern": {
        "vocab_size": 41, "n_layer": 3, "n_head": 1, "n_embd": 17, "n_kv_head": 1, "head_size": 6, "mlp_hidden": 19,
        "norm": "layer", "norm_eps": 0.5, "rope_theta": 3.0, "qk_norm": False, "qkv_bias": True, "tie_embeddings": True,
        "mask_documents": True, "document_token": 35, "format": 1,
    },
    "gpt2": {
        "norm_position": "post", "activation": "relu", "bias": False, "head_bias": True, "init": "normal",
        "dropout": 0.5, "attention_dropout": 0.5, "embedding_dropout": 0.5,
    },
    "lecture": {"block_size": 13, "position": "sinusoidal"},
}  # fmt: skip


@pytest.mark.parametrize("name", [field.name for field in fields(ModelConfig)])
def test_changing_a_setting_changes_the_model(name):
    ((preset, value),) = ((preset, values[name]) for preset, values in EFFECTS.items() if name in values)
    results, before = [], {"document_token": 27, "mask_documents": name == "document_token"}
    for settings in (before, before | {name: value}):
        model = GPT(tiny_config(preset, **settings).model, torch.Generator().manual_seed(5))
        if name != "init":
            shake(model)
        torch.manual_seed(0)
        results.append((model.train()(token_ids(B, T)), model.parameter_count))
    (logits, count), (other_logits, other_count) = results
    # The tables of rotary positions of formats 1 and 2 differ by rounding.
    assert count != other_count or (other_logits - logits).abs().max() > (1e-4 if name != "format" else 0)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"dropout": 0.3}, [0.3, 0.3, 0.3]),
        ({"dropout": 0.3, "attention_dropout": 0.0, "embedding_dropout": 0.1}, [0.1, 0.0, 0.3]),
        ({"attention_dropout": 0.2}, [0.0, 0.2, 0.0]),
    ],
)
def test_the_two_further_dropouts_follow_the_first_unless_given(settings, expected):
    model = tiny_model("gpt2", **settings)
    layers = (model.dropout, model.blocks[0].attention.dropout, model.blocks[0].dropout)
    assert [getattr(layer, "p", 0.0) for layer in layers] == expected
    torch.testing.assert_close(model(token_ids(B, T)), tiny_model("gpt2")(token_ids(B, T)))  # off in evaluation
