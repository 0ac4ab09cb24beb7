"""nanoGPT's model on given batches: a script for a process that imports nanoGPT's own `model`.

    PYTHONPATH=CHECKOUT python first_steps_script.py GIVEN WEIGHTS

Writes its first weights to WEIGHTS, trains on the batches of GIVEN, and prints the loss of each as JSON. The update is
that of its train.py: gradients clipped, then AdamW as its `configure_optimizers` makes it, at one learning rate.
"""

import json
import sys

import torch


def main() -> None:
    """Train and print."""
    from model import GPT, GPTConfig  # type: ignore[import-not-found]

    given = torch.load(sys.argv[1], weights_only=True)
    settings = given["settings"]
    sizes = {name: settings[name] for name in ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")}
    torch.manual_seed(1337)
    model = GPT(GPTConfig(**sizes, dropout=0.0, bias=False))
    torch.save(model.state_dict(), sys.argv[2])
    betas = (settings["beta1"], settings["beta2"])
    optimizer = model.configure_optimizers(settings["weight_decay"], settings["learning_rate"], betas, "cpu")
    losses = []
    for inputs, targets in given["batches"]:
        _, loss = model(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings["grad_clip"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    print(json.dumps(losses))


if __name__ == "__main__":
    main()
