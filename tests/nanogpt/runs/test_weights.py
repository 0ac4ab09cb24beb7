"""Weights to and from files that are not trusted."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import PRESETS, add_up, finish, refuses, resume_run, start, tiny_config, tiny_model, token_ids

from nanogpt.config import TrainConfig
from nanogpt.model.gpt import Block
from nanogpt.optim.optimizers import make_optimizers
from nanogpt.runs import weights
from nanogpt.runs.custom_blocks import check_savable
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.run import load
from nanogpt.training.trainer import build_model

MODEL, OPTIMIZER = Path("model.safetensors"), Path("optimizer.safetensors")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tied", [False, True])
def test_weights_come_back_bit_for_bit(preset, tied):
    model, other = (tiny_model(preset, seed=seed, tie_embeddings=tied) for seed in (1, 2))
    save_file(weights.model_tensors(model), MODEL)
    weights.load_model_tensors(other, MODEL)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters()))
    assert ("lm_head.weight" in load_file(MODEL)) != tied
    assert torch.equal(model(token_ids(2, 5)), other(token_ids(2, 5)))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_the_optimizers_come_back_bit_for_bit(kind):
    models = [tiny_model(seed=1) for _ in range(2)]
    optimizers = [make_optimizers(model, TrainConfig(optimizer=kind, learning_rate=0.01)) for model in models]

    def step(which, gradient):
        for p in models[which].parameters():
            p.grad = torch.full_like(p, gradient)
        for optimizer in optimizers[which]:
            optimizer.step()

    step(0, 1.0)
    save_file(weights.optimizer_tensors(models[0], optimizers[0]), OPTIMIZER)
    save_file(weights.model_tensors(models[0]), MODEL)
    weights.load_model_tensors(models[1], MODEL)
    weights.load_optimizer_tensors(models[1], optimizers[1], OPTIMIZER)
    step(0, -0.3)
    step(1, -0.3)
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models)))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("n_embd = 32", "n_embd = 36", ["qkv.weight is [96, 32]", "[108, 36]"]),
        ("n_layer = 2", "n_layer = 3", ["blocks.2."]),
        ("n_layer = 2", "n_layer = 1", ["blocks.1.", "missing"]),
        ("bias = false", "bias = true", ["bias is missing in the file"]),
        ("tie_embeddings = false", "tie_embeddings = true", ["lm_head.weight"]),
    ],
)
def test_weights_that_do_not_match_their_config(finished_run, old, new, words):
    shutil.copytree(finished_run, "run")
    config = Path("run/config.toml")
    text = config.read_text()
    assert f"\n{old}\n" in text
    config.write_text(text.replace(f"\n{old}\n", f"\n{new}\n"))
    refuses(lambda: load("run"), "model.safetensors does not match config.toml", *words)


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "cut", "huge header", "large header"])
def test_damaged_weights(damage):
    model = tiny_model()
    save_file(weights.model_tensors(model), MODEL)
    content = MODEL.read_bytes()
    MODEL.unlink()
    broken = {"empty": b"", "text": b"weights", "cut": content[:-100], "huge header": b"\xff" * 8 + content[8:]}
    broken["large header"] = (20_000_000).to_bytes(8, "little") + b" " * 20_000_000
    if damage != "missing":
        MODEL.write_bytes(broken[damage])
    for call in (lambda: weights.load_model(model.config, MODEL), lambda: weights.load_model_tensors(model, MODEL)):
        refuses(call, "model.safetensors", "missing" if damage == "missing" else "damaged")


def test_another_number_format_is_refused():
    model = tiny_model()
    save_file(weights.model_tensors(model) | {"final_norm.weight": model.final_norm.weight.detach().double()}, MODEL)
    refuses(lambda: weights.load_model(model.config, MODEL), "final_norm.weight is [13] F64", "[13] F32")


@pytest.mark.parametrize(
    ("sizes", "block"),
    [
        *(({name: size}, Block) for name, size in (("n_embd", 2**30), ("vocab_size", 2**40), ("n_layer", 4096))),
        ({"n_embd": 2**30, "mlp_hidden": 2**30}, type("Own", (Block,), {})),
    ],
    ids=str,
)
def test_a_config_far_larger_than_its_weights_takes_no_memory(sizes, block):
    """Shapes are compared before memory is allocated: these would need terabytes."""
    save_file(weights.model_tensors(tiny_model()), MODEL)
    refuses(lambda: weights.load_model(tiny_config(**sizes).model, MODEL, block), "model.safetensors", "restore")


def test_tables_of_positions_have_a_limit():
    sizes = {"head_size": 2**10, "n_head": 1}
    save_file(weights.model_tensors(tiny_model(**sizes)), MODEL)
    refuses(lambda: weights.load_model(tiny_config(block_size=2**20, **sizes).model, MODEL), "1,048,576 positions")


def test_a_checkpoint_whose_optimizer_does_not_match():
    finish(start("run", stop_at=3))
    checkpoint = RunFolder("run").checkpoints.find("last")
    tensors = load_file(file := checkpoint.path / "optimizer.safetensors")
    tensors.pop("lm_head.weight:exp_avg")
    save_file(tensors, file)
    add_up(checkpoint.path)
    refuses(
        lambda: finish(resume_run("run")), "optimizer.safetensors does not match", "lm_head.weight:exp_avg is missing"
    )


def counting(kind):
    """Return a class of blocks that count their calls in training, in a tensor of this kind."""

    class Counting(Block):
        def __init__(self, config):
            super().__init__(config)
            if kind == "parameter":
                self.calls = torch.nn.Parameter(torch.zeros(1), requires_grad=False)
            else:
                self.register_buffer("calls", torch.zeros(1), persistent=kind == "buffer")

        def forward(self, x, *rest):
            with torch.no_grad():
                self.calls += self.training
            return super().forward(x, *rest)

    return Counting


@pytest.mark.parametrize("tied", [False, True])
def test_a_buffer_that_no_checkpoint_would_hold_is_refused(tied):
    """It would have its first value again after each resume and load."""
    for block in (Block, counting("transient"), counting("parameter")):
        check_savable(build_model(tiny_config(tie_embeddings=tied), block=block))
    refuses(
        lambda: start("run", block=counting("buffer"), tie_embeddings=tied),
        *("the buffer blocks.0.calls", "requires_grad=False", "persistent=False"),
    )


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_parameter_that_does_not_learn_is_kept(optimizer):
    """What the refusal advises."""
    block = counting("parameter")
    finish(start("run", stop_at=3, block=block, optimizer=optimizer))
    trainer = resume_run("run", block=block)
    finish(trainer)
    run = load("run", block=block, checkpoint="last")
    assert [model.blocks[0].calls.item() for model in (trainer.model, run.model)] == [8, 8]  # as many as steps
