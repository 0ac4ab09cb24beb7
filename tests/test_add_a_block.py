"""docs/add-a-block.md: its code runs as printed, with fewer steps."""

import re
from pathlib import Path

import pytest
import torch
from tiny import shake, tiny_config, token_ids, write_text

from nanogpt.errors import UserError
from nanogpt.model.gpt import GPT, Block
from nanogpt.optim.optimizers import block_matrices
from nanogpt.runs.run import load
from nanogpt.sampling.kv_cache import KVCache

PAGE = (Path(__file__).parent.parent / "docs" / "add-a-block.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SMALL = "steps=3, progress=False, n_layer=2, n_head=2, n_embd=16, block_size=12, batch_size=3, sample_tokens=0"


@pytest.fixture
def names(tmp_path):
    """The names that the page defines before it trains."""
    book = write_text("book.txt", 2000)
    book.write_text("Once. " + book.read_text(), encoding="utf-8")
    found = {}
    for code in CODE[:2]:
        exec(compile(code, "add-a-block.md", "exec"), found)
    return found


def test_its_runs_train_and_compare(names, capsys):
    assert len(CODE) == 4
    for code in CODE[2:]:
        assert "steps=500" in code
        exec(
            compile(code.replace("steps=500", SMALL).replace("tokens=100", "tokens=9"), "add-a-block.md", "exec"), names
        )
    out = capsys.readouterr().out
    assert out.startswith("Once")
    assert re.search(r"[+-]\d\.\d{4} ± \d+\.\d{4} nats/token, p = \d\.\d\d\n$", out)
    with pytest.raises(UserError, match="ParallelBlock"):
        load("runs/parallel")


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
