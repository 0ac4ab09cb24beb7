"""One update of the weights: what it computes and what it depends on."""

import numpy as np
import pytest
import torch
from tiny import PRESETS, tiny_config
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from nanogpt.data import batches
from nanogpt.data.batches import get_batch
from nanogpt.data.tokenize import Dataset
from nanogpt.parallel.world import ALONE
from nanogpt.training.trainer import TrainStep, build_model


def make_step(preset="gpt2", **settings):
    config = tiny_config(preset, **settings)
    ids = np.random.default_rng(3).integers(0, 37, 500).astype(np.uint16)
    return TrainStep(build_model(config), config.train, Dataset(train=ids, val=ids[:50], key=""), ALONE)


def copy_weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_step_is_loss_gradient_clip_update(preset):
    rates = {"embedding_rate": 1.0, "head_rate": 1.0, "vector_rate": 1.0}
    settings = {"grad_clip": 0.25, "weight_decay": 0.2, "batch_size": 5, "optimizer": "adamw", **rates}
    train_step, twin = make_step(preset, **settings), make_step(preset, **settings).model
    for step, lr in enumerate((1e-2, 3e-3)):
        loss, norm = train_step(step, lr).tolist()
        x, y = get_batch(train_step.data.train, 11, 1337, 5 * step, 5)
        expected = F.cross_entropy(twin(x).flatten(0, 1), y.flatten())
        gradients = torch.autograd.grad(expected, list(twin.parameters()))
        length = torch.stack([g.norm() for g in gradients]).norm().item()
        assert loss == pytest.approx(expected.item(), rel=1e-5)
        assert norm == pytest.approx(length, rel=1e-4)
        with torch.no_grad():
            for (name, p), q, g in zip(train_step.model.named_parameters(), twin.parameters(), gradients):
                if step == 0:  # AdamW's first update: the sign of the gradient, by the learning rate, after the decay
                    small = g * min(1, 0.25 / (length + 1e-6))
                    q.mul_(1 - lr * (0.2 if q.ndim > 1 or preset == "lecture" else 0)).sub_(
                        lr * small / (small.abs() + 1e-8)
                    )
                    torch.testing.assert_close(p, q, rtol=1e-3, atol=2e-4, msg=name)
                q.copy_(p)


def test_accumulation_is_one_big_batch():
    results = []
    for settings in ({"batch_size": 6}, {"batch_size": 2, "accumulation": 3}):
        train_step = make_step(**settings)
        assert sum(map(len, train_step.micro_steps())) == 6
        train_step.model.zero_grad = lambda: None
        results.append((train_step(4, 0.0), {name: p.grad for name, p in train_step.model.named_parameters()}))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-6)


def test_small_micro_steps_are_one_big_batch(monkeypatch):
    settings = {"batch_size": 6, "dropout": 0.3, "attention_dropout": 0.3}
    one = make_step(**settings)
    monkeypatch.setattr(batches, "CACHED_NUMBERS", 2 * 11 * 13)
    other = make_step(**settings)
    assert (one.micro_batch, other.micro_batch) == (6, 2)
    for step in range(3):  # with the same masks of dropout
        torch.testing.assert_close(one(step, 1e-3), other(step, 1e-3), rtol=1e-4, atol=1e-6)


def fail_late(model, **options):
    """Return a compiled model that fails after its first backward pass."""

    def fail(x):
        model(x).sum().backward()
        raise RuntimeError("no memory for the second half")

    return fail


@pytest.mark.parametrize("before", ["a step", "a compilation that fails"])
def test_no_gradient_stays_for_the_next_step(monkeypatch, before):
    monkeypatch.setattr(torch, "compile", fail_late)
    train_step = make_step(compile="off" if before == "a step" else "on")
    if before == "a step":
        train_step(0, 0.0)
    else:
        assert "second half" in train_step.note
    assert all(p.grad is None for p in train_step.model.parameters())
    assert train_step(3, 0.0).tolist() == make_step()(3, 0.0).tolist()


@pytest.mark.parametrize(("lr", "changes"), [(0.0, False), (1e-3, True)])
def test_the_learning_rate_scales_the_update(lr, changes):
    train_step = make_step()
    before = copy_weights(train_step.model)
    train_step(0, lr)
    assert any(not torch.equal(before[name], p) for name, p in train_step.model.named_parameters()) is changes


def test_dropout_is_a_function_of_seed_step_and_sample():
    def loss(step, seed=1337):
        train_step = make_step(dropout=0.5, seed=seed, batch_size=2)
        torch.manual_seed(np.random.randint(10**6))
        state = torch.get_rng_state()
        result = train_step(step, 0.0)[0].item()
        assert torch.equal(state, torch.get_rng_state())  # the caller's random numbers
        return result

    assert loss(3) == loss(3)
    assert len({loss(3), loss(4), loss(3, seed=1338)}) == 3
    # The second micro-step does not repeat the first one's masks: with one window all else would be the same.
    train_step, masks = make_step(dropout=0.5, accumulation=2, batch_size=1), []
    train_step.model.dropout.register_forward_hook(lambda module, args, out: masks.append(out == 0))
    train_step(0, 0.0)
    assert not torch.equal(*masks)


def test_first_weights_are_a_function_of_the_seed():
    one, two, other = (copy_weights(build_model(tiny_config(seed=seed))) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["token_embedding.weight"], other["token_embedding.weight"])


def test_no_number_is_read_inside_a_step(monkeypatch):
    """On a GPU that would wait for all operations before it."""

    class ReadsNothing(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default), func
            return func(*args, **kwargs or {})

    train_step, moved = make_step(dropout=0.2, attention_dropout=0.2, batch_size=3), []
    train_step(0, 1e-3)
    monkeypatch.setattr("nanogpt.training.trainer.to_device", lambda x, device: moved.append(x.shape) or x)
    with ReadsNothing():
        result = train_step(1, 1e-3)
    assert moved == [(3, 11), (3, 11)]
    assert result.isfinite().all()


def test_training_in_bfloat16():
    exact, mixed, formats = make_step(precision="float32"), make_step(precision="bfloat16"), set()
    for module in mixed.model.modules():
        if not isinstance(module, torch.nn.Embedding):
            module.register_forward_hook(lambda module, args, out: formats.add(out.dtype))
    one, other = (train_step(0, 1e-3)[0].item() for train_step in (exact, mixed))
    assert formats == {torch.bfloat16}  # also the residual stream
    assert other == pytest.approx(one, rel=1e-2)
    assert other != one
    assert all(p.dtype == torch.float32 for p in mixed.model.parameters())
