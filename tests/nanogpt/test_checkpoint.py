"""A run's folder is whole at every moment, and what is damaged in it is named."""

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import PRESETS, finish, outcome, start, tiny_config, tiny_model, token_ids, trained, weights

from nanogpt import checkpoint
from nanogpt.checkpoint import (
    RunFolder,
    State,
    load_model_tensors,
    load_optimizer_tensors,
    model_tensors,
    optimizer_tensors,
    read_state,
)
from nanogpt.config import TrainConfig
from nanogpt.errors import UserError
from nanogpt.files import FORMAT
from nanogpt.launch import resume_run
from nanogpt.model import GPT
from nanogpt.optim import make_optimizer
from nanogpt.run import load


@pytest.fixture
def run(finished_run):
    """A finished run of one's own to damage."""
    return Path(shutil.copytree(finished_run, "run"))


def refuses(call, *words):
    with pytest.raises(UserError) as caught:
        call()
    for word in words:
        assert word in str(caught.value), caught.value


# What is there


def test_what_a_run_holds(run):
    assert sorted(path.name for path in run.iterdir()) == [
        "checkpoints",
        "config.toml",
        "metrics.jsonl",
        "plan.toml",
        "tokenizer.json",
    ]
    for folder in run.glob("checkpoints/step-*"):
        assert sorted(path.name for path in folder.iterdir()) == [
            "model.safetensors",
            "optimizer.safetensors",
            "state.json",
        ]
    assert (run / "checkpoints/last").read_text() == "step-30\n"


def test_the_best_the_last_and_the_one_before_are_kept(monkeypatch):
    folder, config = RunFolder.create("run"), tiny_config()
    model = GPT(config.model)
    optimizer = make_optimizer(model, config.train)
    for step in (0, 3, 5, 11):
        folder.save_checkpoint(model, optimizer, State(step=step, best_step=3 if step >= 3 else 0, best_loss=1.0))
    assert sorted(path.name for path in Path("run/checkpoints").iterdir()) == [
        "best",
        "last",
        "step-11",
        "step-3",
        "step-5",
    ]
    assert folder.checkpoint("best").name == "step-3"
    assert folder.checkpoint("last").name == "step-11"


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tied", [False, True])
def test_weights_come_back_bit_for_bit(preset, tied):
    model, other = (tiny_model(preset, seed=seed, tie_embeddings=tied) for seed in (1, 2))
    save_file(model_tensors(model), "model.safetensors")
    load_model_tensors(other, Path("model.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters()))
    assert ("lm_head.weight" in load_file("model.safetensors")) != tied
    assert torch.equal(model(token_ids(2, 5)), other(token_ids(2, 5)))


def test_the_optimizer_comes_back_bit_for_bit():
    models = [tiny_model(seed=1) for _ in range(2)]
    optimizers = [make_optimizer(model, TrainConfig()) for model in models]
    for p in models[0].parameters():
        p.grad = torch.ones_like(p)
    optimizers[0].step()
    save_file(optimizer_tensors(models[0], optimizers[0]), "optimizer.safetensors")
    save_file(model_tensors(models[0]), "model.safetensors")
    load_model_tensors(models[1], Path("model.safetensors"))
    load_optimizer_tensors(models[1], optimizers[1], Path("optimizer.safetensors"))
    for model, optimizer in zip(models, optimizers):
        for p in model.parameters():
            p.grad = torch.full_like(p, -0.3)
        optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters()))


def test_the_state_comes_back():
    state = State(step=7, best_step=5, best_loss=1.25, stale=2, seconds=3.5, pending=(1.5, 0.1))
    Path("state.json").write_text(json.dumps({"format": FORMAT, **asdict(state)}))
    assert read_state(Path()) == state


def test_files_are_plain_bytes(run):
    for path in run.rglob("*"):
        if path.is_file() and path.suffix != ".safetensors":
            path.read_text(encoding="utf-8")
        elif path.is_file():
            load_file(path)


# Whole at every moment


@pytest.mark.parametrize("name", [".step-8.123", "this process'"])
def test_what_a_killed_run_left_behind_does_no_harm(name):
    whole = trained("whole")
    finish(start("killed", stop_at=3))
    left = Path("killed/checkpoints", f".step-8.{os.getpid()}" if name == "this process'" else name)
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    Path("killed/checkpoints/step-7").mkdir()  # renamed, but no pointer names it yet
    with Path("killed/metrics.jsonl").open("a") as file:
        file.write('{"event": "step", "ste')
    finish(resume_run("killed"))
    assert outcome(Path("killed")) == outcome(whole)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("moment", ["save_file", "_flush", "last", "best"])
@pytest.mark.parametrize("step", [0, 4, 8])
def test_killed_while_saving(monkeypatch, moment, step):
    whole = trained("whole")
    trainer = start("killed")
    original = checkpoint.write_atomically

    def kill(*args, **kwargs):
        raise Killed

    def kill_pointer(path, data):
        if path.name == moment and trainer.state.step == step:
            raise Killed
        original(path, data)

    def train(patch):
        for _ in trainer.events():
            if moment in ("save_file", "_flush") and trainer.state.step == step:
                patch.setattr(checkpoint, moment, kill)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_atomically", kill_pointer)
        with pytest.raises(Killed):
            train(patch)
    finish(resume_run("killed"))
    assert outcome(Path("killed")) == outcome(whole)
    assert load("killed").evaluate() == load("whole").evaluate()


def test_a_full_disk_leaves_the_last_checkpoint(monkeypatch):
    trainer = start("run", eval_every=2)

    def full(*args):
        raise OSError(28, "No space left on device")

    def train(patch):
        for _ in trainer.events():
            if trainer.state.step == 2:
                patch.setattr(checkpoint, "save_file", full)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        train(patch)
    assert [path.name for path in Path("run/checkpoints").iterdir() if path.name.startswith(".")] == []
    assert load("run", checkpoint="last").step in (0, 2)
    finish(resume_run("run"))
    assert weights(Path("run")) == weights(trained("whole", eval_every=2))


def test_a_last_line_that_was_cut_off_is_left_out():
    folder = RunFolder.create("run")
    folder.append_metrics({"event": "step", "step": 1})
    with Path("run/metrics.jsonl").open("a") as file:
        file.write('{"event": "step", "st')
    assert list(folder.metrics()) == [{"event": "step", "step": 1}]


def test_metrics_are_cut_back_to_a_step():
    folder = RunFolder.create("run")
    for step in (0, 1, 2, 3):
        folder.append_metrics({"event": "step", "step": step, "loss": 0.1 + step})
    folder.cut_metrics(2)
    assert [line["step"] for line in folder.metrics()] == [0, 1, 2]
    folder.cut_metrics(-1)
    assert list(folder.metrics()) == []


def test_an_existing_folder_is_never_taken():
    Path("run").mkdir()
    Path("file").write_text("mine")
    for name in ("run", "file"):
        refuses(
            lambda name=name: RunFolder.create(name),
            f"'{name}' exists already",
            "never overwritten",
            "--out",
            f"--resume {name}",
        )
    refuses(lambda: RunFolder.create("file/run"), "cannot make the folder 'file/run'", "--out")
    assert Path("file").read_text() == "mine"


# What is wrong is named


def test_no_run_folder():
    refuses(lambda: RunFolder.open("nowhere"), "no run folder 'nowhere'", "`nanogpt runs`")
    Path("empty").mkdir()
    refuses(
        lambda: RunFolder.open("empty"),
        "'empty' is not a run folder",
        "config.toml and no plan.toml and no tokenizer.json",
    )


@pytest.mark.parametrize("name", ["config.toml", "plan.toml", "tokenizer.json"])
def test_a_file_is_missing(run, name):
    (run / name).unlink()
    refuses(lambda: load(run), "not a run folder", f"no {name}")


@pytest.mark.parametrize("name", ["config.toml", "plan.toml", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[[[", b"[]"])
def test_a_file_is_damaged(run, name, content):
    if name == "config.toml" and content == b"":
        pytest.skip("an empty config is all defaults, which the weights then do not match")
    (run / name).write_bytes(content)
    refuses(lambda: load(run), name)


@pytest.mark.parametrize("name", ["config.toml", "plan.toml", "tokenizer.json", "state.json"])
def test_a_file_from_a_newer_version(run, name):
    path = run / name if name != "state.json" else RunFolder(run).checkpoint("best") / name
    old = path.read_text()
    assert '"format": 1' in old or "format = 1" in old
    path.write_text(old.replace('"format": 1', '"format": 2').replace("format = 1", "format = 2"))
    refuses(lambda: load(run), name, "newer nanogpt", "format 2", "reads 1", "upgrade")


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


@pytest.mark.parametrize("damage", ["missing", "empty", "text", "cut", "huge header"])
def test_damaged_weights(run, damage):
    path = RunFolder(run).checkpoint("best") / "model.safetensors"
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        broken = {"empty": b"", "text": b"weights", "cut": content[:-100], "huge header": b"\xff" * 8 + content[8:]}
        path.write_bytes(broken[damage])
    refuses(lambda: load(run), "model.safetensors", "missing" if damage == "missing" else "damaged", "restore")


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"step": 3}', "3", '{"pending": 5}'])
def test_a_damaged_state(run, content):
    (RunFolder(run).checkpoint("best") / "state.json").write_text(content)
    refuses(lambda: load(run), "state.json", "damaged", "restore")


@pytest.mark.parametrize("name", ["step-99", "../../elsewhere", "step-30/../step-30", "", "step-", "step-²"])
def test_a_pointer_to_something_else(run, name):
    Path("elsewhere").mkdir()
    (run / "checkpoints/best").write_text(name + "\n")
    refuses(lambda: load(run), "best names", "not a checkpoint here")


def test_no_checkpoint_yet():
    start("young")
    refuses(lambda: load("young"), "'young' has no checkpoint yet", "--resume young")


def test_a_resumed_optimizer_that_does_not_match():
    finish(start("run", stop_at=3))
    path = RunFolder("run").checkpoint("last") / "optimizer.safetensors"
    tensors = load_file(path)
    tensors.pop("lm_head.weight:exp_avg")
    save_file(tensors, path)
    refuses(lambda: resume_run("run"), "optimizer.safetensors does not match", "lm_head.weight:exp_avg", "missing")
