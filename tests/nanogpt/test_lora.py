"""Adapters: few numbers learn, the rest stays, and what is opened afterwards is a plain model that computes the same."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import HEADS, LAYERS, make_run, refuses, tiny_config, tiny_model, token_ids

from nanogpt.lora import ADAPTED, add_lora, has_lora, merge, merged_layout
from nanogpt.model import GPT
from nanogpt.tensors import load_model, model_tensors, read_layout

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


def test_at_first_nothing_changes_and_only_adapters_learn():
    plain, model = tiny_model(), adapted()
    idx = token_ids(2, 7)
    assert torch.equal(model(idx), plain(idx))
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert len(learning) == 2 * LAYERS * len(ADAPTED)
    assert all("lora_" in name for name in learning)
    assert has_lora(model_tensors(model))
    assert not has_lora(model_tensors(plain))


def test_the_adapters_are_a_function_of_the_seed():
    one, same, other = (model_tensors(adapted(seed=seed)) for seed in (3, 3, 4))
    name = "blocks.1.mlp.up.lora_A.default.weight"
    assert torch.equal(one[name], same[name])
    assert not torch.equal(one[name], other[name])


@pytest.mark.parametrize("preset", ["modern", "gpt2", "lecture"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_file_with_adapters_opens_as_a_plain_model_that_computes_the_same(preset, tied, tmp_path):
    model = adapted(preset, tie_embeddings=tied)
    shake_adapters(model)
    file = tmp_path / "model.safetensors"
    save_file(model_tensors(model), file)
    opened = load_model(tiny_config(preset, tie_embeddings=tied).model, file).eval()
    assert type(opened) is GPT
    assert type(opened.blocks[0].mlp.up) is torch.nn.Linear
    idx = token_ids(3, 11)
    with torch.no_grad():
        assert (model(idx) - tiny_model(preset, tie_embeddings=tied)(idx)).abs().max() > 0.1
        torch.testing.assert_close(opened(idx), model(idx), atol=1e-4, rtol=1e-4)


def test_adapters_by_hand():
    w, a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 5.0]]), torch.tensor([[7.0]])
    found = merge({"x.base_layer.weight": w, "x.lora_A.default.weight": a, "x.lora_B.default.weight": b, "y": w})
    assert {name: tensor.tolist() for name, tensor in found.items()} == {"x.weight": [[43.0, 72.0]], "y": [[1.0, 2.0]]}


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.pop("blocks.0.mlp.up.lora_A.default.weight"),
        lambda found: found.update({"blocks.0.mlp.up.lora_A.default.weight": torch.zeros(RANK, 2)}),
        lambda found: found.update({"blocks.0.mlp.up.lora_B.default.weight": torch.zeros(RANK)}),
        lambda found: found.pop("blocks.0.mlp.up.base_layer.weight"),
    ],
)
def test_adapters_that_do_not_fit(change, tmp_path):
    found = model_tensors(adapted())
    change(found)
    save_file(found, tmp_path / "model.safetensors")
    refuses(lambda: merged_layout(read_layout(tmp_path / "model.safetensors")), "adapters")


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    refuses(adapted, "--lora needs the package peft", "nanogpt[lora]")


def test_the_bits_of_what_is_not_adapted_stay(tmp_path):
    run = make_run("run")
    before = model_tensors(run.model)
    add_lora(run.model, RANK, 1)
    save_file(model_tensors(run.model), "with.safetensors")
    after = merge(load_file("with.safetensors"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert run.config.model.n_head == HEADS
