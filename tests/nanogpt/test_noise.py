"""What noise replaces, by what, and what it leaves alone."""

import numpy as np
import pytest
import torch
from test_stepper import stepper

from nanogpt.batches import batch
from nanogpt.noise import replace_tokens
from nanogpt.streams import stream

TEXT = np.random.default_rng(3).choice(7, size=1009, p=[0.4, 0.3, 0.1, 0.08, 0.06, 0.04, 0.02]).astype(np.uint16)
B, T = 211, 31


KEYS = [stream(5, "noise", sample) for sample in range(B)]


def noisy(inputs, share=0.25, keys=KEYS, **more):
    return replace_tokens(inputs, TEXT, share, keys=keys, **more)


def test_its_share_is_replaced_by_tokens_as_frequent_as_in_the_text():
    inputs = torch.full((B, T), 99)
    found = noisy(inputs)
    replaced = found[found != 99]
    assert abs(len(replaced) / (B * T) - 0.25) < 0.02
    frequencies = torch.bincount(replaced, minlength=7) / len(replaced)
    expected = torch.from_numpy(np.bincount(TEXT, minlength=7) / len(TEXT)).float()
    torch.testing.assert_close(frequencies, expected, rtol=0, atol=0.04)
    assert inputs.eq(99).all(), "what was given is left as it is"


def test_another_key_replaces_elsewhere():
    inputs = torch.full((B, T), 99)
    found = noisy(inputs)
    assert (found != noisy(inputs, keys=KEYS[::-1])).float().mean() > 0.2
    assert (found[0] != found[1]).any()


def test_a_sample_is_the_same_in_any_batch():
    inputs = torch.arange(B * T).view(B, T) % 97
    whole = noisy(inputs)
    torch.testing.assert_close(whole[17:23], noisy(inputs[17:23], keys=KEYS[17:23]))


def test_the_token_between_documents_is_neither_replaced_nor_put_in():
    inputs = torch.full((B, T), 99)
    inputs[:, ::5] = 0
    found = noisy(inputs, share=0.9, kept=0)
    assert found.eq(0).equal(inputs.eq(0))
    assert found.eq(99).float().mean() < 0.5


def test_training_reads_noise_and_predicts_the_text_in_any_micro_batch():
    made, plain = (stepper(batch_size=6, token_noise=share) for share in (0.3, 0.0))
    seen = []
    made.model.token_embedding.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    plain.model.token_embedding.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    loss = made.step(0, 0.0)[0].item()
    assert loss != plain.step(0, 0.0)[0].item()
    noise, text = seen
    assert 0.1 < (noise != text).float().mean() < 0.4
    made.micro_batch = 2
    seen.clear()
    assert made.step(0, 0.0)[0].item() == pytest.approx(loss, abs=1e-5)
    torch.testing.assert_close(torch.cat(seen), noise)


def test_noise_is_other_noise_at_each_step_and_seed():
    seen = []
    for seed, step in ((1337, 0), (1337, 1), (1338, 0)):
        made = stepper(batch_size=6, token_noise=0.3, seed=seed)
        made.model.token_embedding.register_forward_hook(lambda module, args, out: seen.append(args[0]))
        made.step(step, 0.0)
        inputs, _ = batch(made.data.train, 11, seed, 6 * step, 6)
        seen[-1] = seen[-1] != inputs
    assert not seen[0].equal(seen[1])
    assert not seen[0].equal(seen[2])
