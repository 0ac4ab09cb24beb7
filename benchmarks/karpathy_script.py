"""Jobs with nanoGPT's model: a script for a process that imports nanoGPT's own `model`. Each prints a line of JSON.

    PYTHONPATH=CHECKOUT python karpathy_script.py evaluate CKPT VAL_BIN
    PYTHONPATH=CHECKOUT python karpathy_script.py generate SIZES TOKENS
    PYTHONPATH=CHECKOUT python karpathy_script.py first-steps FOLDER

`evaluate` prints nats and tokens of each window of a checkpoint, whole-split: consecutive windows of `block_size`,
without dropout, in float32; every token but the first is predicted exactly once, also those of a last, shorter window.
`generate` prints the seconds that tokens took with random weights, after a few to warm up, at sample.py's temperature.
`first-steps` reads settings.json and batches.safetensors, writes its first weights to weights.safetensors, and prints
the loss on each batch. It updates like train.py: gradients clipped, then AdamW by `configure_optimizers`, at one
learning rate.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

TOKENS_AT_ONCE = 8192


def evaluate(checkpoint_file: str, ids_file: str) -> dict[str, Any]:
    """Return nats and tokens of each window."""
    from model import GPT, GPTConfig  # type: ignore[import-not-found]

    # nanoGPT saves by torch.save; with `weights_only` torch reads tensors and numbers, and runs nothing.
    checkpoint = torch.load(checkpoint_file, map_location="cpu", weights_only=True)
    model = GPT(GPTConfig(**checkpoint["model_args"]))
    model.load_state_dict({name.removeprefix("_orig_mod."): value for name, value in checkpoint["model"].items()})
    ids = np.fromfile(ids_file, dtype=np.uint16).astype(np.int64)
    # With targets it returns the logits of every position, without them only of the last one.
    return window_losses(lambda x, y: model(x, y)[0], model, ids, int(checkpoint["model_args"]["block_size"]))


@torch.no_grad()
def window_losses(logits_of: Any, model: torch.nn.Module, ids: "np.ndarray[Any, Any]", size: int) -> dict[str, Any]:
    """Return nats and tokens of each window of ids (T,); `logits_of` maps inputs and targets (B, T) to (B, T, V)."""
    model.eval()
    whole, rest = divmod(len(ids) - 1, size)
    rows = torch.from_numpy(ids[: whole * size + 1])
    inputs, targets = rows[:-1].view(whole, size), rows[1:].view(whole, size)  # each (W, T)
    batches = list(zip(*(part.split(max(1, TOKENS_AT_ONCE // size)) for part in (inputs, targets))))
    if rest:
        end = torch.from_numpy(ids[None, len(ids) - 1 - rest :])  # (1, rest + 1)
        batches.append((end[:, :-1], end[:, 1:]))
    nats: list[float] = []
    for x, y in batches:
        logits = logits_of(x, y).view(*y.shape, -1).float()  # (B, T, V)
        losses = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)
        nats += losses.double().sum(1).tolist()
    return {"nats": nats, "tokens": [size] * whole + [rest] * bool(rest), "block_size": size}


def generate(sizes: str, tokens: str) -> dict[str, float]:
    """Return the seconds that tokens took."""
    from model import GPT, GPTConfig

    torch.manual_seed(1337)
    model = GPT(GPTConfig(**json.loads(sizes), dropout=0.0, bias=False)).eval()
    prompt = torch.zeros(1, 1, dtype=torch.long)
    model.generate(prompt, 8, temperature=0.8)
    began = time.perf_counter()
    model.generate(prompt, int(tokens), temperature=0.8)
    return {"seconds": time.perf_counter() - began}


def first_steps(folder: str) -> list[float]:
    """Return the loss of each step."""
    from model import GPT, GPTConfig
    from safetensors.torch import load_file, save_file

    settings = json.loads((Path(folder) / "settings.json").read_text(encoding="utf-8"))
    batches = load_file(Path(folder) / "batches.safetensors")  # inputs and targets, each (steps, B, T)
    sizes = {name: settings[name] for name in ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")}
    torch.manual_seed(1337)
    model = GPT(GPTConfig(**sizes, dropout=0.0, bias=False))
    # Copies: head and token embedding are one tensor, and a file holds none twice.
    first = {name: weight.clone() for name, weight in model.state_dict().items()}
    save_file(first, Path(folder) / "weights.safetensors")
    betas = (settings["beta1"], settings["beta2"])
    optimizer = model.configure_optimizers(settings["weight_decay"], settings["learning_rate"], betas, "cpu")
    losses = []
    for inputs, targets in zip(batches["inputs"], batches["targets"]):
        _, loss = model(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings["grad_clip"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    jobs: dict[str, Any] = {"evaluate": evaluate, "generate": generate, "first-steps": first_steps}
    print(json.dumps(jobs[sys.argv[1]](*sys.argv[2:])))
