"""A checkout that prints what nanoGPT prints, so that the benchmarks run without nanoGPT."""

from pathlib import Path

TRAIN = """
import os, sys, time, torch
from model import GPT, GPTConfig
given = dict(word[2:].split("=") for word in sys.argv[1:] if word.startswith("--"))
last = int(given["max_iters"])
assert given["eval_interval"] == given["max_iters"] and given["always_save_checkpoint"] == "True"
assert os.path.exists("data/shakespeare_char/train.bin")
config = dict(block_size=7, vocab_size=23, n_embd=5)
torch.manual_seed(5)
model = GPT(GPTConfig(**config))
print("using fused AdamW: False")
time.sleep(0.4)
print("step 0: train loss 4.0, val loss 4.0")
for step in range(last + 1):
    if step == last:
        time.sleep(0.3)
        print(f"step {step}: train loss 4.0, val loss 4.0")
        os.makedirs(given["out_dir"], exist_ok=True)
        torch.save({"model": model.state_dict(), "model_args": config}, os.path.join(given["out_dir"], "ckpt.pt"))
    time.sleep(0.02)
    print(f"iter {step}: loss 3.5, time 20.00ms, mfu 1.00%")
"""

MODEL = """
from dataclasses import dataclass
import torch
from torch import nn

@dataclass
class GPTConfig:
    block_size: int
    vocab_size: int
    n_embd: int

class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.table = nn.Embedding(config.vocab_size, config.n_embd)
        self.places = nn.Embedding(config.block_size, config.n_embd)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(config.n_embd, config.vocab_size)
        print("number of parameters: 0.00M")

    def forward(self, idx, targets=None):
        logits = self.head(self.drop(self.table(idx) + self.places.weight[: idx.size(1)]))
        return logits, nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
"""

PREPARE = """
import os
import numpy as np
import requests
here = os.path.dirname(__file__)
text = open(os.path.join(here, "input.txt")).read()
ids = np.array([sorted(set(text)).index(c) for c in text], dtype=np.uint16)
cut = int(len(ids) * 0.9)
ids[:cut].tofile(os.path.join(here, "train.bin"))
ids[cut:].tofile(os.path.join(here, "val.bin"))
"""


def nanogpt_checkout(folder: Path) -> Path:
    """Make a fake checkout with five channels; a step takes two hundredths of a second."""
    (folder / "config").mkdir(parents=True)
    (folder / "data" / "shakespeare_char").mkdir(parents=True)
    (folder / "train.py").write_text(TRAIN)
    (folder / "model.py").write_text(MODEL)
    (folder / "config" / "train_shakespeare_char.py").write_text("")
    (folder / "data" / "shakespeare_char" / "prepare.py").write_text(PREPARE)
    return folder
