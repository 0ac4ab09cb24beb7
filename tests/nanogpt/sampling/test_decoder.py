"""A decoded token has the logits of the model's own forward, for every part; what cannot be decoded is not."""

import pytest
import torch
from tiny import BLOCK, PRESETS, B, V, tiny_model, token_ids
from torch import nn
from torch.nn import functional as F

from nanogpt.config import SampleConfig
from nanogpt.model.gpt import GPT, Block
from nanogpt.sampling.batch import Batch
from nanogpt.sampling.cache import KeyValueCache
from nanogpt.sampling.decoder import Decoder, can_decode, norm_of, product_of
from nanogpt.sampling.generate import generate_ids
from nanogpt.sampling.precision import lower_precision

EACH_PRESET = pytest.mark.parametrize("preset", PRESETS)
EXCHANGES = [
    *({"norm": kind} for kind in ("rms", "layer")),
    {"norm_position": "post"},
    *({"position": kind} for kind in ("learned", "sinusoidal", "rope")),
    *({"activation": kind} for kind in ("relu", "gelu", "gelu_tanh", "swiglu")),
    {"qk_norm": True},
    {"qkv_bias": True},
    {"bias": True},
    {"bias": False},
    {"head_bias": True},
    {"tie_embeddings": True},
    {"n_kv_head": 1},
    {"n_head": 6, "n_kv_head": 2},
    {"head_size": 6},
]


def cached(model, rows, lengths):
    """A cache whose rows have read so many tokens."""
    cache, idx = KeyValueCache(model.config, rows, model.token_embedding.weight), token_ids(rows, BLOCK)
    for row, length in enumerate(lengths):
        if length:
            model(idx[row : row + 1, :length], cache.rows([row]))
    return cache, idx


@EACH_PRESET
@pytest.mark.parametrize("parts", EXCHANGES, ids=str)
@pytest.mark.parametrize("lengths", [(7,), (0,), (7,) * B, (3, 0, 9, 10, 1)], ids=str)
def test_a_decoded_token_has_the_models_logits(preset, parts, lengths):
    model, rows = tiny_model(preset, **parts), len(lengths)
    with torch.no_grad():
        cache, idx = cached(model, rows, lengths)
        last = idx.gather(1, torch.tensor(lengths)[:, None])
        found = Decoder(model)(last, cache.first(rows))
        again = Decoder(model)(token_ids(rows, 1, seed=5), cache.first(rows)) if max(lengths) < BLOCK - 1 else None
        for row, length in enumerate(lengths):
            whole = idx[row : row + 1, : length + 1]
            torch.testing.assert_close(found[row], model(whole)[0, -1], rtol=1e-4, atol=1e-4)
            if again is not None:
                more = torch.cat([whole, token_ids(rows, 1, seed=5)[row : row + 1]], dim=1)
                torch.testing.assert_close(again[row], model(more)[0, -1], rtol=1e-4, atol=1e-4)
    assert cache.lengths == [length + (1 if again is None else 2) for length in lengths]


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_lowered_models_are_decoded(precision):
    model = lower_precision(tiny_model(), precision)
    assert can_decode(model)
    with torch.no_grad():
        cache, idx = cached(model, 1, [7])
        torch.testing.assert_close(
            Decoder(model)(idx[:, 7:8], cache.first(1)), model(idx[:, :8])[:, -1], rtol=0.05, atol=0.05
        )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("rows", "M"), [(1, 10), (3, 10), (1, 11)])
def test_products(bias, rows, M):
    layer, x = nn.Linear(7, M, bias=bias), torch.randn(rows, 7, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(product_of(layer)(x), F.linear(x, layer.weight, layer.bias))
    torch.testing.assert_close(product_of(layer.double())(x.double()), F.linear(x.double(), layer.weight, layer.bias))


@pytest.mark.parametrize("bias", [True, False])
def test_norms(bias):
    layer, x = nn.LayerNorm(7, eps=0.1, bias=bias), torch.randn(3, 7, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(norm_of(layer)(x), layer(x))


class Negative(Block):
    """A block that does something else."""

    def forward(self, x, turn=None, cache=None, seen=None):
        return -super().forward(x, turn, cache, seen)


def test_a_block_of_ones_own_is_not_decoded_but_generates():
    model = GPT(tiny_model().config, torch.Generator().manual_seed(7), Negative).eval()
    assert not can_decode(model)
    prompts, config = [token_ids(3), token_ids(5)], SampleConfig(tokens=2 * BLOCK)
    found = list(generate_ids(model, prompts, config))
    assert found == list(generate_ids(model, prompts, config, cached=False))


def test_what_hooks_see_is_not_passed_by():
    model, seen = tiny_model(), []
    assert can_decode(model)
    model.blocks[1].attention.register_forward_hook(lambda module, args, y: seen.append(y.shape))
    assert not can_decode(model)
    batch = Batch(model, 1)
    batch.join(token_ids(1), SampleConfig())
    batch.step()
    assert seen == [(1, 1, model.config.n_embd)]


def test_models_that_mask_documents_are_not_decoded():
    assert not can_decode(tiny_model(mask_documents=True, document_token=V - 1))
