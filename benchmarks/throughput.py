"""Training speed in tokens/s and peak memory by model size and block, ours and nanoGPT's in pairs.

    python -m benchmarks.throughput --nanogpt PATH --pairs 5
    python -m benchmarks.throughput --nanogpt PATH --sizes cpu --steps 12 --pairs 1 --trial

Both sides train nanoGPT's network: our preset `gpt2` without biases and with the exact GELU, AdamW, the same batch and
dropout. Ours computes in the number format that it picks itself, `auto`, or in float32, as nanoGPT does on a CPU. That
a step of ours does the same as one of theirs is shown by the losses of the first steps from nanoGPT's first weights, on
equal batches, without dropout, at one learning rate.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.karpathy_nanogpt import (
    Checkout,
    Recipe,
    comparison_parser,
    measure_pairs,
    our_side,
    summary,
    their_side,
)
from benchmarks.pairs import ratios, values
from benchmarks.processes import flags
from benchmarks.record import Parts, parse
from benchmarks.trials import new_trainer

if TYPE_CHECKING:
    from torch import Tensor

    from nanogpt.training.trainer import Trainer

_GPU: dict[str, Any] = {"n_layer": 6, "n_head": 6, "n_embd": 384, "block_size": 256, "batch_size": 64, "dropout": 0.2}
SIZES: dict[str, dict[str, Any]] = {
    "cpu": {"n_layer": 4, "n_head": 4, "n_embd": 128, "block_size": 64, "batch_size": 12, "dropout": 0.0},
    "medium": {"n_layer": 4, "n_head": 6, "n_embd": 192, "block_size": 128, "batch_size": 32, "dropout": 0.0},
    "gpu with block 64": _GPU | {"block_size": 64},
    "gpu without dropout": _GPU | {"dropout": 0.0},
    "gpu": _GPU,
}
"""nanoGPT's recipes for a CPU and a GPU, and sizes between them."""
FORMATS = ("auto", "float32")
SAME: dict[str, Any] = {
    **{"preset": "gpt2", "activation": "gelu", "bias": False, "qkv_bias": False, "end_of_document": False},
    **{"optimizer": "adamw", "learning_rate": 1e-3, "warmup": 0.0, "decay": 0.0, "weight_decay": 0.1, "grad_clip": 1.0},
    **{"beta1": 0.9, "beta2": 0.99, "embedding_rate": 1.0, "head_rate": 1.0, "vector_rate": 1.0},
}
"""Settings with which our network and updates are those of nanoGPT's recipes."""
OUR_NAMES = {
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


def main() -> None:
    """Measure what is missing, print and record."""
    parser = comparison_parser(__doc__, sizes=SIZES, precisions=FORMATS, steps=8)
    parser.add_argument("--loss-steps", type=int, default=20, help="steps whose losses are compared, at the size `cpu`")
    options, parts = parse(parser, "throughput")
    rows = [measure(parts, name, one, options) for name in options.sizes for one in options.precisions]
    first = {}
    for precision in FORMATS:
        key = {"losses": SIZES["cpu"], "steps": options.loss_steps, "precision": precision}
        first[precision] = parts.measure(key, partial(first_steps, options.nanogpt, options.loss_steps, precision))
    parts.write({"steps": options.steps, "rows": rows, "first_steps": first})


def measure(parts: Parts, name: str, precision: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measure both sides at one size, ours in a number format."""
    size, where = SIZES[name], {"threads": options.threads, "device": options.device}
    words, recipe = our_words(size, precision), their_recipe(size)
    key = {"ours": words, "theirs": recipe.words, "steps": options.steps, **where}
    ours = our_side(words, options.steps, losses=False, **where)
    theirs = their_side(options.nanogpt, recipe, options.steps, losses=False, **where)
    about = {"name": name, "size": size, "precision": precision, "steps": options.steps, **where}
    found = about | summary(measure_pairs(parts, key, options.pairs, ours, theirs))
    add_rates(found, size["batch_size"] * size["block_size"])
    return found


def add_rates(found: dict[str, Any], tokens: int) -> None:
    """Add tokens/s of both sides, and their ratio, to a `summary` of steps with this many tokens."""
    rates = {side: [tokens / row[side]["step_seconds"] for row in found["rows"]] for side in ("ours", "theirs")}
    for side, measured in rates.items():
        found[side]["tokens_per_second"] = values(measured)
    found["ratios"]["tokens_per_second"] = ratios(rates["ours"], rates["theirs"])


def our_words(size: dict[str, Any], precision: str = "auto") -> list[str]:
    """Return nanoGPT's network and optimizer at this size as words of our command.

    >>> our_words({"n_layer": 2, "dropout": 0.5})[:6]
    ['--preset', 'gpt2', '--activation', 'gelu', '--bias', 'False']
    """
    settings = SAME | size | {"log_every": 1, "history": "off"}
    return flags(settings if precision == "auto" else settings | {"precision": precision})


def their_recipe(size: dict[str, Any]) -> Recipe:
    """Return nanoGPT's config for this text, at this size."""
    return Recipe(tuple(f"--{name}={value}" for name, value in size.items()), 5000)


def first_steps(source: Path, steps: int, precision: str) -> dict[str, Any]:
    """Return both sides' losses of the first steps, without dropout, and the largest difference."""
    with tempfile.TemporaryDirectory(prefix="first-steps-") as name:
        folder = Path(name)
        checkout = Checkout(source, folder / "theirs")
        settings = SAME | SIZES["cpu"] | {"precision": precision, "history": "off", "sample_tokens": 0}
        trainer = new_trainer(str(checkout.data / "input.txt"), steps=steps, out=folder / "run", **settings)
        theirs = _their_losses(checkout, trainer, settings, folder)
        _load_weights(trainer, folder / "weights.safetensors")
        ours = [trainer.train_step(step, settings["learning_rate"])[0].item() for step in range(steps)]
    apart = max(abs(one - other) for one, other in zip(ours, theirs))
    return {"ours": ours, "theirs": theirs, "largest_difference": apart}


def _their_losses(checkout: Checkout, trainer: "Trainer", settings: dict[str, Any], folder: Path) -> list[float]:
    """Return nanoGPT's losses on the batches that our training will read; its first weights stay in `folder`."""
    import torch
    from safetensors.torch import save_file

    from nanogpt.data.batches import get_batch

    train, model = trainer.config.train, trainer.config.model
    size, steps = train.batch_sequences, range(trainer.plan.total_steps)
    pairs = [get_batch(trainer.data.train, model.block_size, train.seed, step * size, size) for step in steps]
    batches = {name: torch.stack(parts) for name, parts in zip(("inputs", "targets"), zip(*pairs))}  # (steps, B, T)
    save_file(batches, folder / "batches.safetensors")
    (folder / "settings.json").write_text(json.dumps(settings | {"vocab_size": model.vocab_size}), encoding="utf-8")
    losses: list[float] = checkout.script("first-steps", str(folder))
    return losses


def _load_weights(trainer: "Trainer", path: Path) -> None:
    """Load all of nanoGPT's weights into our model."""
    import torch
    from safetensors.torch import load_file

    own = dict(trainer.model.named_parameters())
    weights = our_names(load_file(path))
    if own.keys() != weights.keys():
        raise SystemExit(f"weights that only one side has: {sorted(own.keys() ^ weights.keys())}")
    with torch.no_grad():
        for name, value in weights.items():
            own[name].copy_(value)


def our_names(weights: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Return nanoGPT's weights by our names; the head is tied to the token embedding and appears once.

    >>> list(our_names({"transformer.h.3.attn.c_attn.weight": 1, "transformer.wte.weight": 2, "lm_head.weight": 2}))
    ['blocks.3.attention.qkv.weight', 'token_embedding.weight']
    """
    found = {}
    for name, value in weights.items():
        if name != "lm_head.weight":
            for theirs, ours in OUR_NAMES.items():
                name = name.replace(theirs, ours)  # noqa: PLW2901
            found[name] = value
    return found


if __name__ == "__main__":
    main()
