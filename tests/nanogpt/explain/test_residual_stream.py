import pytest
import torch
from kinds import IDS, check_left_alone, hook_count, model_by_hand, model_of
from tiny import V, refuses
from torch.nn import functional as F
from torch.testing import assert_close

from nanogpt.explain.trace import Trace, logit_lens, logit_lens_at, relative_updates, stream_rms, trace


def test_sizes_and_updates_by_hand():
    # Two layers, three positions, two channels.
    stream = [[[3.0, 4.0], [0, 0], [0, 2]], [[6.0, 8.0], [0, 0], [0, -2]], [[6.0, 8.0], [1, 7], [0, -1]]]
    nothing = torch.empty(0)
    found = Trace(ids=(1, 2, 3), attention=nothing, stream=torch.tensor(stream), logits=nothing)
    assert_close(stream_rms(found), torch.tensor([[12.5, 0, 2], [50, 0, 2], [50, 25, 0.5]]).sqrt())
    updates = relative_updates(found)
    assert updates.shape == (2, 3)
    assert updates[:, [0, 2]].tolist() == [[1, 2], [0, 0.5]]
    assert updates[0, 1] == 0  # no change of an all-zero stream
    assert updates[1, 1] > 1e20


def test_sizes_and_updates_of_a_model(model):
    found = trace(model, IDS)
    sizes, updates = stream_rms(found), relative_updates(found)
    assert sizes.shape == (model.config.n_layer + 1, 7)
    assert updates.shape == (model.config.n_layer, 7)
    x, after = found.stream[-2, 4], found.stream[-1, 4]
    assert_close(updates[-1, 4], (after - x).norm() / x.norm())
    assert_close(sizes[-1, 4], after.norm() / 13**0.5)


@pytest.mark.parametrize("off", [[], [(0, 0)]])
def test_the_last_layers_lens_gives_the_models_logits(model, off):
    found = trace(model, IDS, off)
    logits = logit_lens(model, found)
    assert logits.shape == (model.config.n_layer + 1, len(IDS), V)
    assert torch.equal(logits[-1], found.logits)
    assert (logits[-2] - found.logits).abs().max() > 1e-3
    assert (logits.dtype, logits.requires_grad, hook_count(model)) == (torch.float32, False, 0)
    for position in (0, 4, -1, -7):
        assert_close(logit_lens_at(model, found, position), logits[:, position], atol=1e-5, rtol=1e-5)


def test_the_lens_applies_the_final_norm():
    model = model_of("biased")  # RMSNorm, and a bias in the output layer
    found = trace(model, IDS)
    x = found.stream[1]
    normed = x / (x.square().mean(-1, keepdim=True) + model.config.norm_eps).sqrt() * model.final_norm.weight
    wanted = F.linear(normed, model.lm_head.weight, model.lm_head.bias).detach()
    assert_close(logit_lens(model, found)[1], wanted, atol=1e-5, rtol=1e-5)


def test_the_lens_by_hand():
    model = model_by_hand()  # post-norm: the embeddings are read as they are
    with torch.no_grad():
        model.lm_head.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]]))
    assert logit_lens(model, trace(model, [0, 1, 2]))[0].tolist() == [[1, 3, 7], [2, 5, 11], [3, 8, 18]]


def test_refusals():
    model = model_of("gpt2")
    found = trace(model, IDS)
    refuses(lambda: logit_lens_at(model, found, 7), "position 7", "0 to 6")
    refuses(lambda: logit_lens_at(model, found, -8), "position -8")


def test_the_model_is_left_alone():
    check_left_alone(
        model_of("lecture", dropout=0.3), lambda model: logit_lens_at(model, trace(model, IDS), 0).tolist()
    )
