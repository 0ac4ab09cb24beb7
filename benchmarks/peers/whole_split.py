"""nanoGPT's checkpoint by our whole-split protocol: a script for a process that imports nanoGPT's own `model`.

    PYTHONPATH=CHECKOUT python whole_split.py CKPT VAL_BIN

Consecutive windows of `block_size` over all of the ids, dropout off, float32; every token but the first is predicted
exactly once, those of a last, shorter window too. Prints a line of JSON: nats and tokens of each window.
"""

import json
import sys
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

TOKENS_AT_ONCE = 8192


def main() -> None:
    """Measure and print."""
    from model import GPT, GPTConfig  # type: ignore[import-not-found]

    # Its format is torch's own; of what that could hold, numbers and plain containers alone are read.
    checkpoint = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
    model = GPT(GPTConfig(**checkpoint["model_args"]))
    model.load_state_dict({name.removeprefix("_orig_mod."): value for name, value in checkpoint["model"].items()})
    ids = np.fromfile(sys.argv[2], dtype=np.uint16).astype(np.int64)
    block_size = int(checkpoint["model_args"]["block_size"])
    # With targets it gives the logits of every place, without them only the last one's.
    print(json.dumps(measure(lambda x, y: model(x, y)[0], model, ids, block_size)))


@torch.no_grad()
def measure(logits_of: Any, model: torch.nn.Module, ids: "np.ndarray[Any, Any]", block_size: int) -> dict[str, Any]:
    """Nats and tokens of each window of ids (T,); `logits_of` maps inputs and targets (B, T) to logits (B, T, V)."""
    model.eval()
    whole, rest = divmod(len(ids) - 1, block_size)
    rows = torch.from_numpy(ids[: whole * block_size + 1])
    inputs, targets = rows[:-1].view(whole, block_size), rows[1:].view(whole, block_size)  # each (W, T)
    batches = list(zip(*(part.split(max(1, TOKENS_AT_ONCE // block_size)) for part in (inputs, targets))))
    if rest:
        end = torch.from_numpy(ids[None, len(ids) - 1 - rest :])  # (1, rest + 1)
        batches.append((end[:, :-1], end[:, 1:]))
    nats: list[float] = []
    for x, y in batches:
        logits = logits_of(x, y).view(*y.shape, -1).float()  # (B, T, V); the lecture's model flattens them
        losses = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)
        nats += losses.double().sum(1).tolist()
    return {"nats": nats, "tokens": [block_size] * whole + [rest] * bool(rest), "block_size": block_size}


if __name__ == "__main__":
    main()
