"""nanoGPT's model on given batches: a script for a process that imports nanoGPT's own `model`.

    PYTHONPATH=CHECKOUT python first_steps_script.py FOLDER

Reads settings.json and batches.safetensors of FOLDER, writes its first weights to weights.safetensors there, trains on
the batches, and prints the loss of each as JSON. The update is
that of its train.py: gradients clipped, then AdamW as its `configure_optimizers` makes it, at one learning rate.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def main() -> None:
    """Train and print."""
    from model import GPT, GPTConfig  # type: ignore[import-not-found]

    place = Path(sys.argv[1])
    settings = json.loads((place / "settings.json").read_text(encoding="utf-8"))
    batches = load_file(place / "batches.safetensors")  # inputs and targets, each (steps, B, T)
    sizes = {name: settings[name] for name in ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")}
    torch.manual_seed(1337)
    model = GPT(GPTConfig(**sizes, dropout=0.0, bias=False))
    # Copies: its head and its token embedding are one tensor, and a file holds none twice.
    first = {name: weight.clone() for name, weight in model.state_dict().items()}
    save_file(first, place / "weights.safetensors")
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
    print(json.dumps(losses))


if __name__ == "__main__":
    main()
