"""A decoded token has the logits of the model's own forward pass, for every part."""

import pytest
import torch
from tiny import BLOCK, PARTS, PRESETS, B, V, plain_tokens, tiny_model, token_ids
from torch import nn
from torch.nn import functional as F

from nanogpt.config import SampleConfig
from nanogpt.model.gpt import GPT, Block
from nanogpt.model.kv_cache import KVCache
from nanogpt.sampling.decoder import Decoder, can_decode, linear_function
from nanogpt.sampling.generate import Batch, generate_ids
from nanogpt.sampling.precision import lower_precision

X = torch.randn(3, 7, generator=torch.Generator().manual_seed(3))


def check_decoder(model, lengths, tolerance=1e-4):
    """Decode two tokens for rows of these lengths; each has the logits that the whole row has."""
    rows, idx, second = len(lengths), token_ids(len(lengths), BLOCK), token_ids(len(lengths), 1, seed=5)
    cache, decoder = KVCache(model.config, rows, model.token_embedding.weight), Decoder(model)
    with torch.no_grad():
        for row, length in enumerate(lengths):
            if length:
                model(idx[[row], :length], cache.select([row]))
        newest = idx.gather(1, torch.tensor(lengths)[:, None])
        found = [decoder(tokens, cache.select([*range(rows)])) for tokens in (newest, second)]
        for row, length in enumerate(lengths):
            whole = model(torch.cat([idx[[row], : length + 1], second[[row]]], dim=1))[0, -2:]
            torch.testing.assert_close(torch.stack([f[row] for f in found]), whole, rtol=tolerance, atol=tolerance)
    assert cache.lengths == [length + 2 for length in lengths]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("parts", PARTS, ids=str)
@pytest.mark.parametrize("lengths", [(7,), (0,), (7,) * B, (3, 0, 9, 8, 1)], ids=str)
def test_a_decoded_token_has_the_models_logits(preset, parts, lengths):
    check_decoder(tiny_model(preset, **parts), lengths)


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_models_of_lower_precision_are_decoded(precision):
    model = lower_precision(tiny_model(), precision)
    assert can_decode(model)
    check_decoder(model, (7,), tolerance=0.05)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("rows", "M"), [(1, 10), (3, 10), (1, 11)])
def test_linear_layers_as_functions(bias, rows, M):
    layer, x = nn.Linear(7, M, bias=bias), X[:rows]
    torch.testing.assert_close(linear_function(layer)(x), F.linear(x, layer.weight, layer.bias))
    wide = linear_function(layer.double())(x.double())
    torch.testing.assert_close(wide, F.linear(x.double(), layer.weight, layer.bias))


class Negative(Block):
    """A block that does something else."""

    def forward(self, x, rotation=None, cache=None, mask=None):
        return -super().forward(x, rotation, cache, mask)


def test_a_block_of_ones_own_is_not_decoded_but_generates():
    model = GPT(tiny_model().config, torch.Generator().manual_seed(7), Negative).eval()
    assert not can_decode(model)
    prompts, config = [token_ids(3), token_ids(5)], SampleConfig(tokens=2 * BLOCK)
    found = zip(*(step.values() for step in generate_ids(model, prompts, config)))
    assert [list(row) for row in found] == [plain_tokens(model, prompt, config) for prompt in prompts]


def test_hooks_are_called():
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
