"""Weights to and from files that are not trusted."""

import shutil
from pathlib import Path

import pytest
import torch
from nanogpt.training.launch import resume_run
from safetensors.torch import load_file, save_file
from tiny import PRESETS, add_up, finish, refuses, start, tiny_config, tiny_model, token_ids

from nanogpt.config import TrainConfig
from nanogpt.model.gpt import Block
from nanogpt.optim.optimizers import make_optimizers
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.run import load
from nanogpt.runs.weights import (
    check_savable,
    load_model,
    load_model_tensors,
    load_optimizer_tensors,
    model_tensors,
    optimizer_tensors,
)
from nanogpt.training.trainer import build_model


@pytest.fixture
def run(finished_run):
    """A finished run of one's own to damage."""
    return Path(shutil.copytree(finished_run, "run"))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tied", [False, True])
def test_weights_come_back_bit_for_bit(preset, tied):
    model, other = (tiny_model(preset, seed=seed, tie_embeddings=tied) for seed in (1, 2))
    save_file(model_tensors(model), "model.safetensors")
    load_model_tensors(other, Path("model.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters()))
    assert ("lm_head.weight" in load_file("model.safetensors")) != tied
    assert torch.equal(model(token_ids(2, 5)), other(token_ids(2, 5)))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_optimizer_comes_back_bit_for_bit(kind):
    models = [tiny_model(seed=1) for _ in range(2)]
    optimizers = [make_optimizers(model, TrainConfig(optimizer=kind)) for model in models]
    for p in models[0].parameters():
        p.grad = torch.ones_like(p)
    optimizers[0].step(7, 0.01)
    save_file(optimizer_tensors(models[0], optimizers[0]), "optimizer.safetensors")
    save_file(model_tensors(models[0]), "model.safetensors")
    load_model_tensors(models[1], Path("model.safetensors"))
    load_optimizer_tensors(models[1], optimizers[1], Path("optimizer.safetensors"))
    for model, optimizer in zip(models, optimizers):
        for p in model.parameters():
            p.grad = torch.full_like(p, -0.3)
        optimizer.step(7, 0.01)
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters()))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("n_embd = 32", "n_embd = 36", ["k_norm.weight is [16] in the file and [18] by the config"]),
        ("n_layer = 2", "n_layer = 3", ["blocks.2.", "is missing in the file"]),
        ("n_layer = 2", "n_layer = 1", ["blocks.1.", "missing by the config"]),
        ("bias = false", "bias = true", ["bias is missing in the file"]),
        ("tie_embeddings = false", "tie_embeddings = true", ["lm_head.weight"]),
    ],
)
def test_weights_that_do_not_match_their_config(run, old, new, words):
    config = (run / "config.toml").read_text()
    assert f"\n{old}\n" in config
    (run / "config.toml").write_text(config.replace(f"\n{old}\n", f"\n{new}\n"))
    refuses(
        lambda: load(run),
        "model.safetensors does not match config.toml",
        "restore",
        *words,
    )


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "cut", "huge header", "large header"])
def test_damaged_weights(damage):
    model = tiny_model()
    path = Path("model.safetensors")
    save_file(model_tensors(model), path)
    content = path.read_bytes()
    path.unlink()
    broken = {"empty": b"", "text": b"weights", "cut": content[:-100], "huge header": b"\xff" * 8 + content[8:]}
    broken["large header"] = (20_000_000).to_bytes(8, "little") + b" " * 20_000_000
    if damage != "missing":
        path.write_bytes(broken[damage])
    word = "missing" if damage == "missing" else "damaged"
    refuses(lambda: load_model(model.config, path), "model.safetensors", word, "restore")
    refuses(lambda: load_model_tensors(model, path), "model.safetensors", word, "restore")


def test_another_number_format_is_not_taken():
    model = tiny_model()
    tensors = model_tensors(model) | {"final_norm.weight": model.final_norm.weight.detach().double()}
    save_file(tensors, "model.safetensors")
    refuses(
        lambda: load_model(model.config, Path("model.safetensors")),
        "final_norm.weight is [13] of F64 in the file and [13] by the config",
    )


def test_a_config_far_larger_than_its_weights_takes_no_memory():
    """Shapes are compared before anything is allocated: these would need terabytes."""
    save_file(model_tensors(tiny_model()), "model.safetensors")
    for sizes in ({"n_embd": 2**30, "mlp_hidden": 2**30}, {"vocab_size": 2**40}, {"n_layer": 4096}):
        config = tiny_config(**sizes).model
        refuses(lambda config=config: load_model(config, Path("model.safetensors")), "model.safetensors", "restore")


def test_a_table_of_positions_has_a_limit():
    model = tiny_model(head_size=2**10, n_head=1)
    save_file(model_tensors(model), "model.safetensors")
    config = tiny_config(head_size=2**10, n_head=1, block_size=2**20).model
    refuses(lambda: load_model(config, Path("model.safetensors")), "tables of 4,294,967,296 bytes", "block_size")


def test_a_resumed_optimizer_that_does_not_match():
    finish(start("run", stop_at=3))
    checkpoint = RunFolder("run").checkpoints.find("last")
    tensors = load_file(checkpoint.optimizer)
    tensors.pop("lm_head.weight:exp_avg")
    save_file(tensors, checkpoint.optimizer)
    add_up(checkpoint.path)
    refuses(lambda: resume_run("run"), "optimizer.safetensors does not match", "lm_head.weight:exp_avg", "missing")


class Counting(Block):
    """A block that counts its calls in training, in a tensor that `keep` puts into it."""

    def __init__(self, config):
        super().__init__(config)
        self.keep(torch.zeros(1))

    def forward(self, x, *rest):
        with torch.no_grad():
            self.calls += self.training
        return super().forward(x, *rest)


class Buffer(Counting):
    def keep(self, calls):
        self.register_buffer("calls", calls)


class Passing(Counting):
    def keep(self, calls):
        self.register_buffer("calls", calls, persistent=False)


class Fixed(Counting):
    def keep(self, calls):
        self.calls = torch.nn.Parameter(calls, requires_grad=False)


def test_a_buffer_that_no_checkpoint_would_hold_is_refused():
    """It was trained with, and had its first value again after each resuming and loading, without a word."""
    model = build_model(tiny_config(), block=Buffer)
    refuses(lambda: check_savable(model), "the buffer blocks.0.calls", "requires_grad=False", "persistent=False")


@pytest.mark.parametrize("block", [Block, Passing, Fixed])
@pytest.mark.parametrize("tied", [False, True])
def test_what_is_savable(block, tied):
    check_savable(build_model(tiny_config(tie_embeddings=tied), block=block))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_parameter_that_does_not_learn_is_kept(optimizer):
    """What the refusal advises."""
    finish(start("run", stop_at=3, block=Fixed, optimizer=optimizer))
    trainer = resume_run("run", block=Fixed)
    finish(trainer)
    run = load("run", block=Fixed, checkpoint="last")
    assert [model.blocks[0].calls.item() for model in (trainer.model, run.model)] == [8, 8]  # as many as steps
