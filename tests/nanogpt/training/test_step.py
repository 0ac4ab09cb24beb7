"""One update: what it does, what it depends on."""

import numpy as np
import pytest
import torch
from tiny import PRESETS, tiny_config
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from nanogpt.data import batches
from nanogpt.data.batches import Dataset, get_batch
from nanogpt.training.trainer import TrainStep, build_model

EACH_PRESET = pytest.mark.parametrize("preset", PRESETS)


def stepper(preset="gpt2", **settings):
    config = tiny_config(preset, **settings)
    ids = np.random.default_rng(3).integers(0, 37, 500).astype(np.uint16)
    return TrainStep(build_model(config), config.train, Dataset(train=ids, val=ids[:50], key=""))


def state_of(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@EACH_PRESET
def test_a_step_is_loss_gradient_clip_update(preset):
    rates = {"embedding_rate": 1.0, "head_rate": 1.0, "vector_rate": 1.0}
    settings = {"grad_clip": 0.25, "weight_decay": 0.2, "batch_size": 5, "optimizer": "adamw", **rates}
    made = stepper(preset, **settings)
    model, data = made.model, made.data
    twin = stepper(preset, **settings).model
    for step, rate in enumerate((1e-2, 3e-3)):
        loss, norm = made.step(step, rate).tolist()
        x, y = get_batch(data.train, 11, 1337, 5 * step, 5)
        expected = F.cross_entropy(twin(x).flatten(0, 1), y.flatten())
        gradients = torch.autograd.grad(expected, list(twin.parameters()))
        length = torch.stack([g.norm() for g in gradients]).norm().item()
        assert loss == pytest.approx(expected.item(), rel=1e-5)
        assert norm == pytest.approx(length, rel=1e-4)
        if step == 0:  # AdamW's first update: the sign of the gradient, by the rate, after the decay
            shrink = min(1, 0.25 / (length + 1e-6))
            with torch.no_grad():
                for p, g in zip(twin.parameters(), gradients):
                    small = g * shrink
                    p.mul_(1 - rate * (0.2 if p.ndim > 1 else 0)).sub_(rate * small / (small.abs() + 1e-8))
        for (name, p), q in zip(model.named_parameters(), twin.parameters()):
            if step == 0:
                torch.testing.assert_close(p, q, rtol=1e-3, atol=2e-4, msg=name)
        with torch.no_grad():
            for p, q in zip(model.parameters(), twin.parameters()):
                q.copy_(p)


def test_accumulation_is_one_big_batch():
    big, small = stepper(batch_size=6), stepper(batch_size=2, accumulation=3)
    assert big.tokens_per_step == small.tokens_per_step == 6 * 11
    seen = []
    for made in (big, small):
        made.optimizer.zero_grad = lambda **kwargs: None
        losses = made.step(4, 0.0)
        seen.append((losses, {name: p.grad.clone() for name, p in made.model.named_parameters()}))
    (one, gradients), (other, others) = seen
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[name], rtol=1e-4, atol=1e-6, msg=name)


def test_gradients_do_not_pile_up():
    made = stepper()
    made.step(0, 0.0)
    assert all(p.grad is None for p in made.model.parameters())
    assert made.step(3, 0.0).tolist() == stepper().step(3, 0.0).tolist()


def test_a_compilation_that_fails_late_leaves_no_gradient(monkeypatch):
    """The first step would add to it."""

    def compiled(model, **options):
        def fail(x):
            model(x).sum().backward()
            raise RuntimeError("no memory for the second half")

        return fail

    monkeypatch.setattr(torch, "compile", compiled)
    made = stepper(compile="on")
    assert "second half" in made.note
    assert all(p.grad is None for p in made.model.parameters())
    assert made.step(3, 0.0).tolist() == stepper().step(3, 0.0).tolist()


def test_the_rate_is_the_optimizers():
    made = stepper()
    before = state_of(made.model)
    made.step(0, 0.0)
    assert all(torch.equal(before[name], p) for name, p in made.model.named_parameters())
    made.step(0, 1e-3)
    assert not all(torch.equal(before[name], p) for name, p in made.model.named_parameters())


def test_dropout_is_a_function_of_seed_step_and_micro_step():
    def loss(step, seed=1337, accumulation=1):
        made = stepper(dropout=0.5, seed=seed, accumulation=accumulation, batch_size=2)
        torch.manual_seed(np.random.randint(10**6))
        torch.rand(7)
        return made.step(step, 0.0)[0].item()

    assert loss(3) == loss(3)
    assert loss(3) != loss(4)
    assert loss(3) != loss(3, seed=1338)
    # The second micro-step does not repeat the first one's masks: with one window all else would be the same.
    made = stepper(dropout=0.5, accumulation=2, batch_size=1)
    masks = []
    made.model.dropout.register_forward_hook(lambda module, args, out: masks.append(out == 0))
    made.step(0, 0.0)
    assert not torch.equal(*masks)


def test_a_step_leaves_the_callers_random_numbers_alone():
    made = stepper(dropout=0.5)
    before = torch.get_rng_state()
    made.step(0, 1e-3)
    assert torch.equal(before, torch.get_rng_state())


def test_first_weights_are_a_function_of_the_seed():
    one, two, other = (state_of(build_model(tiny_config(seed=seed))) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["token_embedding.weight"], other["token_embedding.weight"])


def test_micro_steps_that_fit_a_cache_are_one_big_batch(monkeypatch):
    settings = {"batch_size": 6, "dropout": 0.3, "attention_dropout": 0.3}
    whole = stepper(**settings)
    monkeypatch.setattr(batches, "CACHED_NUMBERS", 2 * 11 * 13)
    parts = stepper(**settings)
    assert (whole.micro_batch, parts.micro_batch) == (6, 2)
    for step in range(3):  # with the same masks of dropout
        torch.testing.assert_close(whole.step(step, 1e-3), parts.step(step, 1e-3), rtol=1e-4, atol=1e-6)


def test_the_stream_has_the_format_of_the_products():
    made, seen = stepper(precision="bfloat16", dropout=0.2), set()
    for module in made.model.modules():
        if not isinstance(module, torch.nn.Embedding):
            module.register_forward_hook(lambda module, args, out: seen.add(out.dtype))
    made.step(0, 1e-3)
    assert seen == {torch.bfloat16}


def test_no_number_is_read_inside_a_step(monkeypatch):
    """On a GPU that would wait for all that was asked of it before."""
    made, moved = stepper(dropout=0.2, attention_dropout=0.2, batch_size=3), []
    made.step(0, 1e-3)
    monkeypatch.setattr("nanogpt.training.step.to_device", lambda x, device: moved.append(x.shape) or x)
    with ReadsNothing():
        result = made.step(1, 1e-3)
    assert moved == [(3, 11), (3, 11)]
    assert result.isfinite().all()


class ReadsNothing(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default), func
        return func(*args, **kwargs or {})


def test_training_in_bfloat16():
    exact, mixed = stepper(precision="float32").step(0, 1e-3)[0], stepper(precision="bfloat16").step(0, 1e-3)[0]
    assert mixed.item() == pytest.approx(exact.item(), rel=1e-2)
    assert mixed.item() != exact.item()
    assert all(p.dtype == torch.float32 for p in stepper(precision="bfloat16").model.parameters())
