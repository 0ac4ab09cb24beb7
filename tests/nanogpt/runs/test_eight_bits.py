"""Weights in 8 bits: what they are read as, and what is refused."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tiny import PRESETS, add_up, make_run, refuses, tiny_model, token_ids

from nanogpt.runs.checkpoint import State
from nanogpt.runs.eight_bits import narrow, wide_layout, widen
from nanogpt.runs.run import load
from nanogpt.runs.weights import load_model_tensors, model_tensors, read_layout


@pytest.fixture
def rounded(tmp_path):
    """The folder of a run whose only checkpoint has its matrices in 8 bits, and the weights that they are read as."""
    run = make_run(tmp_path / "run")
    tensors = narrow(model_tensors(run.model))
    run.folder.checkpoints.save(State(step=1, best_step=1, best_loss=1.0), tensors, {})
    return run.path, widen(tensors)


@given(st.integers(1, 7), st.integers(1, 11), st.floats(1e-6, 1e4), st.integers(0, 99))
def test_a_weight_moves_by_half_a_step_of_its_row_at_most(rows, columns, size, seed):
    weight = size * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    kept = narrow({"up": weight})
    found = widen(kept)["up"]
    assert found.dtype == torch.float32
    steps = kept["up:scale"].float()[:, None]
    assert ((found - weight).abs() <= 0.5001 * steps).all()
    assert (steps * 127 <= 1.01 * weight.abs().amax(1, keepdim=True) + 127 * 2**-24).all()  # 2^-24: float16's smallest


@pytest.mark.parametrize("preset", PRESETS)
def test_rounding_again_changes_nothing(preset):
    once = widen(narrow(model_tensors(tiny_model(preset))))
    again = widen(narrow(once))
    assert once.keys() == again.keys()
    assert all(torch.equal(once[name], again[name]) for name in once)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_model_reads_what_was_rounded(preset):
    model, other = (tiny_model(preset, seed=seed) for seed in (1, 2))
    tensors = narrow(model_tensors(model))
    save_file(tensors, "model.safetensors")
    assert {kind for _, kind in read_layout(Path("model.safetensors")).values()} == {"I8", "F16", "F32"}
    load_model_tensors(other, Path("model.safetensors"))
    wide = widen(tensors)
    assert all(torch.equal(p, wide[name]) for name, p in other.named_parameters())
    assert not torch.equal(model(token_ids(2, 5)), other(token_ids(2, 5)))


def test_a_run_opens_and_trains_on(rounded):
    path, wide = rounded
    run = load(path)
    assert all(torch.equal(p, wide[name]) for name, p in run.model.named_parameters())
    assert {p.dtype for p in run.model.parameters()} == {torch.float32}
    assert run.generate("hello", tokens=5).startswith("hello")


def change(path, how):
    """Change a checkpoint's weights on purpose, its sums with them."""
    checkpoint = path / "checkpoints" / "step-1"
    tensors = load_file(checkpoint / "model.safetensors")
    save_file(how(tensors), checkpoint / "model.safetensors")
    add_up(checkpoint)


NAME = "blocks.0.mlp.down.weight"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (lambda t: {k: v for k, v in t.items() if k != NAME + ":scale"}, [NAME, "[13, 17] of I8 in the file"]),
        (lambda t: t | {NAME + ":scale": t[NAME + ":scale"][:-1].clone()}, [NAME, "of I8 in the file"]),
        (lambda t: t | {NAME + ":scale": t[NAME + ":scale"].float()}, [NAME, "of I8 in the file"]),
        (lambda t: t | {NAME: t[NAME].float()}, [NAME + ":scale", "missing by the config"]),
        (lambda t: t | {NAME: t[NAME].view(torch.uint8)}, [NAME, "of U8 in the file"]),
        (lambda t: t | {NAME: t[NAME][:, :-1].clone()}, [NAME, "[13, 16] in the file and [13, 17] by the config"]),
        (
            lambda t: t | {"more": t[NAME].clone(), "more:scale": t[NAME + ":scale"].clone()},
            ["more", "missing by the config"],
        ),
    ],
    ids=["no scales", "too few scales", "wide scales", "scales of nothing", "unsigned", "smaller", "more"],
)
def test_what_does_not_fit_is_refused(rounded, how, words):
    path, _ = rounded
    change(path, how)
    refuses(lambda: load(path), "does not match config.toml", *words)


def test_sizes_are_compared_before_memory_is_taken(rounded, monkeypatch):
    path, _ = rounded
    change(path, lambda t: t | {NAME: torch.zeros(10_000, 1000, dtype=torch.int8)})
    monkeypatch.setattr("nanogpt.runs.weights.load_file", lambda path: pytest.fail("the weights were read"))
    refuses(lambda: load(path), "does not match config.toml")


def test_damage_is_seen_by_the_sum(rounded):
    path, _ = rounded
    file = path / "checkpoints" / "step-1" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    refuses(lambda: load(path), "is damaged: its SHA-256")


def test_the_layout_of_vectors_in_8_bits_is_left_alone():
    layout = {"gain": ((3,), "I8"), "gain:scale": ((3,), "F16")}
    assert wide_layout(layout) == layout
