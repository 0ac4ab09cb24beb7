"""Weights in 8 bits: what they are read as, and what is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny import PRESETS, add_up, flip_a_bit, make_run, refuses, tiny_model

from nanogpt.runs.checkpoint import State
from nanogpt.runs.eight_bits import narrow, wide_layout, widen
from nanogpt.runs.run import load
from nanogpt.runs.weights import model_tensors, read_layout


def rounded(out, preset="modern"):
    """Return the folder of a run whose only checkpoint has 8-bit matrices, its weights, and those that are read."""
    run = make_run(out, preset)
    tensors = model_tensors(run.model)
    run.folder.checkpoints.save(State(step=1, best_step=1, best_loss=1.0), narrow(tensors), {})
    return run.path / "checkpoints/step-1", tensors, widen(narrow(tensors))


@given(st.integers(1, 7), st.integers(1, 11), st.floats(1e-6, 1e4), st.integers(0, 99))
def test_a_weight_moves_by_at_most_half_a_step_of_its_row(rows, columns, size, seed):
    weight = size * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    stored = narrow({"up": weight})
    found = widen(stored)["up"]
    assert found.dtype == torch.float32
    steps = stored["up:scale"].float()[:, None]
    assert ((found - weight).abs() <= 0.5001 * steps).all()
    assert (steps * 127 <= 1.01 * weight.abs().amax(1, keepdim=True) + 127 * 2**-24).all()  # 2^-24: float16's smallest


def test_a_row_too_large_for_a_scale_is_refused():
    refuses(lambda: narrow({"up": torch.full((2, 3), 1e7)}), "up", "8 bits")


@pytest.mark.parametrize("preset", PRESETS)
def test_rounding_again_changes_nothing(preset):
    once = widen(narrow(model_tensors(tiny_model(preset))))
    again = widen(narrow(once))
    assert once.keys() == again.keys()
    assert all(torch.equal(once[name], again[name]) for name in once)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_run_with_rounded_weights_opens(preset):
    checkpoint, tensors, read = rounded("run", preset)
    assert {kind for _, kind in read_layout(checkpoint / "model.safetensors").values()} == {"I8", "F16", "F32"}
    run = load("run")
    assert all(torch.equal(p, read[name]) for name, p in run.model.named_parameters())
    assert any(not torch.equal(p, tensors[name]) for name, p in run.model.named_parameters())
    assert {p.dtype for p in run.model.parameters()} == {torch.float32}
    assert run.generate("hello", tokens=5).startswith("hello")
    flip_a_bit(checkpoint / "model.safetensors")
    refuses(lambda: load("run"), "SHA-256")


NAME, SCALE = "blocks.0.mlp.down.weight", "blocks.0.mlp.down.weight:scale"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda t: {k: v for k, v in t.items() if k != SCALE}, [NAME, "[13, 17] I8 in the file"]),
        (lambda t: t | {SCALE: t[SCALE][:-1].clone()}, [NAME, "I8 in the file"]),
        (lambda t: t | {SCALE: t[SCALE].float()}, [NAME, "I8 in the file"]),
        (lambda t: t | {NAME: t[NAME].float()}, [SCALE, "missing"]),
        (lambda t: t | {NAME: t[NAME].view(torch.uint8)}, [NAME, "U8 in the file"]),
        (lambda t: t | {NAME: t[NAME][:, :-1].clone()}, [NAME, "[13, 16]", "[13, 17]"]),
        (lambda t: t | {"more": t[NAME].clone(), "more:scale": t[SCALE].clone()}, ["more", "missing"]),
    ],
    ids=["no scales", "too few scales", "wide scales", "scales of nothing", "unsigned", "smaller", "more"],
)
def test_weights_that_do_not_match_the_config(how, words):
    checkpoint, _, _ = rounded("run")
    save_file(how(load_file(checkpoint / "model.safetensors")), checkpoint / "model.safetensors")
    add_up(checkpoint)
    refuses(lambda: load("run"), "does not match config.toml", *words)


def test_sizes_are_compared_before_memory_is_allocated(monkeypatch):
    checkpoint, _, _ = rounded("run")
    tensors = load_file(checkpoint / "model.safetensors")
    save_file(tensors | {NAME: torch.zeros(10_000, 1000, dtype=torch.int8)}, checkpoint / "model.safetensors")
    add_up(checkpoint)
    monkeypatch.setattr("nanogpt.runs.weights.load_file", lambda path: pytest.fail("the weights were read"))
    refuses(lambda: load("run"), "does not match config.toml")


def test_vectors_in_8_bits_stay_as_they_are():
    layout = {"gain": ((3,), "I8"), "gain:scale": ((3,), "F16")}
    assert wide_layout(layout) == layout
