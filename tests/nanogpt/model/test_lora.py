"""Adapters: few numbers are trained, and an opened run is a plain model with the same logits."""

import pytest
import torch
from safetensors.torch import save_file
from tiny import LAYERS, PRESETS, refuses, tiny_config, tiny_model, token_ids

from nanogpt.model.gpt import GPT
from nanogpt.model.lora import ADAPTED, A, B, add_lora, check_lora, merge
from nanogpt.runs.weights import load_model, model_tensors

RANK = 5


def adapted(preset="modern", seed=3, **settings):
    model = tiny_model(preset, **settings)
    add_lora(model, RANK, seed)
    return model


def opened(adapters, tmp_path, preset="modern", **settings):
    """The model of a run folder with these weights."""
    plain, start, path = tiny_model(preset, **settings), tmp_path / "start.safetensors", tmp_path / "model.safetensors"
    save_file(model_tensors(plain), start)
    save_file(adapters, path)
    return load_model(plain.config, path, start=start).eval()


def test_at_first_nothing_changes_and_only_adapters_learn_and_are_kept():
    plain, model, idx = tiny_model(), adapted(), token_ids(2, 7)
    assert torch.equal(model(idx), plain(idx))
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert model_tensors(model).keys() == trained.keys()
    assert sorted(trained) == sorted(
        f"blocks.{layer}.{part}.{name}{end}"
        for layer in range(LAYERS)
        for part, name in zip(("attention", "attention", "mlp", "mlp"), ADAPTED)
        for end in (A, B)
    )
    assert {min(p.shape) for p in trained.values()} == {RANK}


def test_adapters_are_a_function_of_the_seed_and_leave_torchs_generator_alone():
    one, same, other = (model_tensors(adapted(seed=seed)) for seed in (3, 3, 4))
    name = "blocks.1.mlp.up.lora_A.default.weight"
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])
    model, state = tiny_model(), torch.get_rng_state()
    add_lora(model, RANK, 3)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tied", [True, False])
def test_an_opened_run_is_a_plain_model_with_the_same_logits(preset, tied, tmp_path):
    model, idx = adapted(preset, tie_embeddings=tied), token_ids(3, 11)
    for p in model_tensors(model).values():  # shares the model's memory
        p.copy_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    found = opened(model_tensors(model), tmp_path, preset, tie_embeddings=tied)
    assert type(found) is GPT
    assert type(found.blocks[0].mlp.up) is torch.nn.Linear
    with torch.no_grad():
        assert (model(idx) - tiny_model(preset, tie_embeddings=tied)(idx)).abs().max() > 0.1
        torch.testing.assert_close(found(idx), model(idx), atol=1e-4, rtol=1e-4)


def test_adapters_by_hand():
    w, a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 5.0]]), torch.tensor([[7.0]])
    weights = {"x.weight": w.clone(), "y.weight": w.clone()}
    merge(weights, {"x" + A: a, "x" + B: b})
    assert weights["x.weight"].tolist() == [[43.0, 72.0]]
    assert weights["y.weight"].tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    "change",
    [
        {"blocks.0.mlp.up" + A: None},
        {"blocks.0.mlp.up" + A: torch.zeros(RANK, 2)},
        {"blocks.0.mlp.up" + B: torch.zeros(RANK)},
        {"blocks.7.mlp.up" + A: torch.zeros(RANK, 2)},
    ],
)
def test_adapters_that_do_not_match_the_model(change, tmp_path):
    tensors = {name: p for name, p in (model_tensors(adapted()) | change).items() if p is not None}
    refuses(lambda: opened(tensors, tmp_path), "adapters of blocks.")


def test_adapters_without_the_weights_that_they_adapt(tmp_path):
    save_file(model_tensors(adapted()), tmp_path / "model.safetensors")
    refuses(lambda: load_model(tiny_config().model, tmp_path / "model.safetensors"), "start.safetensors")


def test_what_lora_needs(monkeypatch):
    check_lora(model_tensors(tiny_model()))
    refuses(lambda: check_lora(["blocks.0.mixer.weight", "lm_head.weight"]), "qkv, proj, up, down")
    monkeypatch.setattr("nanogpt.model.lora.find_spec", lambda name: None)
    refuses(lambda: check_lora(model_tensors(tiny_model())), "peft", "nanogpt[lora]")
