"""Adapters: few numbers learn, the rest stays, and what is opened afterwards is a plain model that computes the same."""

import pytest
import torch
from safetensors.torch import save_file
from tiny import LAYERS, refuses, tiny_config, tiny_model, token_ids

from nanogpt.model.gpt import GPT
from nanogpt.model.lora import ADAPTED, A, B, add_lora, check_lora, has_lora, merge
from nanogpt.runs.weights import load_model, model_tensors

RANK = 5


def adapted(preset="modern", seed=3, **settings):
    model = tiny_model(preset, **settings)
    add_lora(model, RANK, seed)
    return model


def shake_adapters(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_" in name:
                p.copy_(0.3 * torch.randn(p.shape, generator=generator))


def saved(model, start, folder):
    """Files of a model with adapters, and of the plain model that it began with."""
    save_file(model_tensors(start), folder / "start.safetensors")
    save_file(model_tensors(model), folder / "model.safetensors")
    return folder / "model.safetensors", folder / "start.safetensors"


def test_at_first_nothing_changes_and_only_adapters_learn_and_are_kept():
    plain, model = tiny_model(), adapted()
    idx = token_ids(2, 7)
    assert torch.equal(model(idx), plain(idx))
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert len(learning) == 2 * LAYERS * len(ADAPTED)
    assert model_tensors(model).keys() == learning
    assert has_lora(learning)
    assert not has_lora(model_tensors(plain))


def test_the_adapters_are_a_function_of_the_seed():
    one, same, other = (model_tensors(adapted(seed=seed)) for seed in (3, 3, 4))
    name = "blocks.1.mlp.up.lora_A.default.weight"
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])


@pytest.mark.parametrize("preset", ["modern", "gpt2", "lecture"])
@pytest.mark.parametrize("tied", [True, False])
def test_files_with_adapters_open_as_a_plain_model_that_computes_the_same(preset, tied, tmp_path):
    model, start = adapted(preset, tie_embeddings=tied), tiny_model(preset, tie_embeddings=tied)
    shake_adapters(model)
    opened = load_model(start.config, *saved(model, start, tmp_path)[:1], start=tmp_path / "start.safetensors").eval()
    assert type(opened) is GPT
    assert type(opened.blocks[0].mlp.up) is torch.nn.Linear
    idx = token_ids(3, 11)
    with torch.no_grad():
        assert (model(idx) - start(idx)).abs().max() > 0.1
        torch.testing.assert_close(opened(idx), model(idx), atol=1e-4, rtol=1e-4)


def test_adapters_by_hand():
    w, a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 5.0]]), torch.tensor([[7.0]])
    weights = {"x.weight": w.clone(), "y.weight": w.clone()}
    merge(weights, {"x" + A: a, "x" + B: b})
    assert {name: tensor.tolist() for name, tensor in weights.items()} == {
        "x.weight": [[43.0, 72.0]],
        "y.weight": [[1.0, 2.0]],
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.pop("blocks.0.mlp.up" + A),
        lambda found: found.update({"blocks.0.mlp.up" + A: torch.zeros(RANK, 2)}),
        lambda found: found.update({"blocks.0.mlp.up" + B: torch.zeros(RANK)}),
        lambda found: found.update({"blocks.7.mlp.up" + A: torch.zeros(RANK, 2)}),
    ],
)
def test_adapters_that_do_not_fit(change, tmp_path):
    found = model_tensors(adapted())
    change(found)
    save_file(found, tmp_path / "model.safetensors")
    save_file(model_tensors(tiny_model()), tmp_path / "start.safetensors")
    refuses(
        lambda: load_model(tiny_config().model, tmp_path / "model.safetensors", start=tmp_path / "start.safetensors"),
        "adapters",
    )


def test_adapters_without_what_they_are_of(tmp_path):
    path, _ = saved(adapted(), tiny_model(), tmp_path)
    refuses(lambda: load_model(tiny_config().model, path), "has adapters alone")


def test_without_the_library(monkeypatch):
    monkeypatch.setattr("nanogpt.model.lora.find_spec", lambda name: None)
    refuses(lambda: check_lora(model_tensors(tiny_model())), "--lora needs the package peft", "nanogpt[lora]")


def test_blocks_that_take_no_adapter():
    check_lora(model_tensors(tiny_model()))
    refuses(lambda: check_lora(["blocks.0.mixer.weight", "lm_head.weight"]), "none of the matrices qkv")
