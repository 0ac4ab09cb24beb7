"""Whether ours and nanoGPT's model learn alike: equal weights, equal batches, no dropout; the loss of each step.

nanoGPT's model is made by its own model.py, with its first weights, and updated by its own `configure_optimizers`,
clipped as in its train.py, at one learning rate. Its weights are put into ours by name; the batches are those that our
training reads. Ours is updated by the library's `TrainStep`, in a number format that is named: in float32 what differs is
rounding alone, in the one that it trains in also what that format costs.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.peers.checkout import HERE, Checkout
from benchmarks.processes import run

if TYPE_CHECKING:
    from torch import Tensor

    from nanogpt.model.gpt import GPT
    from nanogpt.training.trainer import Trainer

SAME = {
    **{"preset": "gpt2", "activation": "gelu", "bias": False, "qkv_bias": False, "end_of_document": False},
    **{"optimizer": "adamw", "learning_rate": 1e-3, "warmup": 0.0, "decay": 0.0, "weight_decay": 0.1, "grad_clip": 1.0},
    **{"beta1": 0.9, "beta2": 0.99, "embedding_rate": 1.0, "head_rate": 1.0, "vector_rate": 1.0},
}
"""What makes our network and our updates those of nanoGPT's recipes: no biases, the exact GELU, AdamW."""
NAMES = {
    "transformer.wte.": "token_embedding.",
    "transformer.wpe.": "position_embedding.",
    "transformer.ln_f.": "final_norm.",
    "transformer.h.": "blocks.",
    ".ln_1.": ".attention_norm.",
    ".ln_2.": ".mlp_norm.",
    ".attn.c_attn.": ".attention.qkv.",
    ".attn.c_proj.": ".attention.proj.",
    ".mlp.c_fc.": ".mlp.up.",
    ".mlp.c_proj.": ".mlp.down.",
}


def our_names(weights: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """nanoGPT's weights by our names; the head is tied to the token embedding, and there once.

    >>> list(our_names({"transformer.h.3.attn.c_attn.weight": 1, "transformer.wte.weight": 2, "lm_head.weight": 2}))
    ['blocks.3.attention.qkv.weight', 'token_embedding.weight']
    """
    return {_our_name(name): value for name, value in weights.items() if name != "lm_head.weight"}


def _our_name(name: str) -> str:
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name


def compare_first_steps(checkout: Checkout, sizes: Mapping[str, int], steps: int, precision: str) -> dict[str, Any]:
    """Both sides' loss at each of the first steps, and the largest distance between them."""
    from nanogpt.training.launch import start_run

    settings: dict[str, Any] = {
        **SAME,
        **sizes,
        "dropout": 0.0,
        "precision": precision,
        "history": "off",
        "sample_tokens": 0,
    }
    text = str((checkout.folder / "data" / "shakespeare_char" / "input.txt").resolve())
    with tempfile.TemporaryDirectory(prefix="first-steps-") as folder:
        place = Path(folder)
        trainer = start_run(text, steps=steps, out=place / "run", quiet=True, **settings)
        theirs = _their_losses(checkout, trainer, settings, place)
        _put_in(trainer.model, place / "weights.safetensors")
        ours = [trainer.stepper.step(step, settings["learning_rate"])[0].item() for step in range(steps)]
    apart = max(abs(one - other) for one, other in zip(ours, theirs))
    return {"ours": ours, "theirs": theirs, "largest_difference": apart}


def _their_losses(checkout: Checkout, trainer: "Trainer", settings: dict[str, Any], place: Path) -> list[float]:
    """nanoGPT's model on the batches that our training will read; its first weights are left in `place`."""
    import torch
    from safetensors.torch import save_file

    from nanogpt.data.batches import get_batch

    train, model = trainer.config.train, trainer.config.model
    size = train.batch_sequences
    steps = range(trainer.plan.total_steps)
    pairs = [get_batch(trainer.data.train, model.block_size, train.seed, step * size, size) for step in steps]
    stacked = {
        name: torch.stack(parts) for name, parts in zip(("inputs", "targets"), zip(*pairs))
    }  # each (steps, B, T)
    save_file(stacked, place / "batches.safetensors")
    (place / "settings.json").write_text(json.dumps(settings | {"vocab_size": model.vocab_size}), encoding="utf-8")
    words = [str(HERE / "first_steps_script.py"), str(place)]
    done = run([sys.executable, *words], checkout.folder, checkout.environment)
    losses: list[float] = json.loads(done.lines[-1].text)
    return losses


def _put_in(model: "GPT", path: Path) -> None:
    """Give our model nanoGPT's weights, all of them."""
    import torch
    from safetensors.torch import load_file

    own = dict(model.named_parameters())
    weights = our_names(load_file(path))
    if own.keys() != weights.keys():
        raise SystemExit(f"weights that one side alone has: {sorted(own.keys() ^ weights.keys())}")
    with torch.no_grad():
        for name, value in weights.items():
            own[name].copy_(value)
