"""docs/add-a-block.md: its code runs as printed, with fewer steps."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from tiny import kill, refuses, shake, start_run, tiny_config, token_ids, write_text

from nanogpt.model.gpt import GPT, Block
from nanogpt.model.kv_cache import KVCache
from nanogpt.optim.optimizers import block_matrices
from nanogpt.reporting.events import CheckpointEvent
from nanogpt.runs.run import load

PAGE = (Path(__file__).parent.parent / "docs" / "add-a-block.md").read_text(encoding="utf-8")
PARALLEL, SCALED, TRAIN, COMPARE, OPTIMIZER, RESUME = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SMALL = {"steps": 3, "n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 12, "batch_size": 3, "sample_tokens": 0}


def execute(code, names):
    small = ", ".join(f"{name}={value}" for name, value in {**SMALL, "progress": False}.items())
    exec(compile(code.replace("steps=500", small).replace("tokens=100", "tokens=9"), "add-a-block.md", "exec"), names)


@pytest.fixture
def names():
    """The names that the page defines before it trains."""
    book = write_text("book.txt", 2000)
    book.write_text("Once. " + book.read_text(), encoding="utf-8")
    found = {}
    execute(PARALLEL + SCALED, found)
    return found


@pytest.mark.slow
def test_its_blocks_train_and_are_compared(names, capsys):
    execute(TRAIN + COMPARE, names)
    out = capsys.readouterr().out
    assert out.startswith("Once")
    assert re.search(r"[+-]\d\.\d{4} ± \d+\.\d{4} nats/token, p = \d\.\d\d\n$", out)
    refuses(lambda: load("runs/parallel"), "ParallelBlock")


def test_its_optimizer_trains_and_resumes(names):
    execute(OPTIMIZER, names)
    last = Path("runs/sgd/checkpoints/step-3/model.safetensors")
    whole = last.read_bytes()
    shutil.rmtree("runs/sgd")
    settings = {**SMALL, "learning_rate": 0.3, "out": "runs/sgd"}
    trainer = start_run("book.txt", optimizers=names["sgd"], **settings)
    kill(trainer, lambda event: isinstance(event, CheckpointEvent) and event.step == 2)
    execute(RESUME, names)
    assert last.read_bytes() == whole


@pytest.mark.parametrize("name", ["ParallelBlock", "ScaledBlock"])
def test_its_blocks_are_sound(names, name):
    """They differ from the library's block, train every weight, and give the same logits with a KV cache."""
    config = tiny_config().model
    model = GPT(config, block=names[name]).eval()
    shake(model)
    other = GPT(config, block=Block).eval()
    other.load_state_dict(model.state_dict(), strict=False)
    ids = token_ids(2, 7)
    logits = model(ids)
    assert not torch.allclose(logits, other(ids))
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert len(block_matrices(model)) == len(block_matrices(other))
    with torch.no_grad():
        cache = KVCache(config, 2, logits)
        parts = [model(ids[:, :3], cache), model(ids[:, 3:], cache)]
    assert torch.allclose(torch.cat(parts, 1), logits, atol=1e-4)
