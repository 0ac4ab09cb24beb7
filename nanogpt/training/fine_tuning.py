"""A run that starts from another run's weights, keeps that run's sizes and tokenizer, and trains on another text.

The weights are copied into the new run's folder (`start.safetensors`), so that it resumes when the other is gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from nanogpt.config import Config, DataConfig, ModelConfig, TrainConfig, flag
from nanogpt.errors import UserError, reported_write
from nanogpt.files import atomic_path
from nanogpt.runs.checkpoint import sha256
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.run import Run, load
from nanogpt.runs.weights import model_tensors
from nanogpt.text.corpus import Corpus
from nanogpt.text.tokenizer import CharTokenizer, Tokenizer
from nanogpt.training.options import TrainOptions

LR_SHARE = 1 / 3
"""Share of the first training's learning rate. On a text of another kind the full learning rate was a little better
(`benchmarks.fine_tuning`), but the model forgot more of what it had learned."""
ADAMW_LR = 0.384
"""AdamW's learning rate for a whole model, to be divided by its channels, if the run records none (an imported model;
adapters): 5e-4 for GPT-2's 768 channels."""
LORA_LR = 1.28
"""AdamW's learning rate for adapters, to be divided by the channels: 1e-2 with 128, the best of a sweep
(`benchmarks.fine_tuning`), and smaller with width (Yang et al. 2022, "Tensor programs V")."""
FREE = ("block_size", "dropout", "attention_dropout", "embedding_dropout")
"""Model settings that may differ from the first run's: no weight depends on them."""
RESET = (
    *("seed", "device", "parallel", "threads", "track"),
    *("compile", "eval_tokens", "final_eval_tokens", "sample_tokens"),
    *("encoding", "pattern", "column", "clean"),
)
"""Settings that return to their defaults: another text, length and machine have no reason to share them. The second
line is what the planner fits to the minutes."""
ADAMW: dict[str, Any] = {"optimizer": "adamw", "weight_decay": 0.1, "beta2": 0.95}
TOKENS = ("tokenizer", "tokenizer_from", "end_of_document")


def open_start(options: TrainOptions, settings: Mapping[str, Any], block: type[nn.Module]) -> tuple[Run, Config]:
    """Open the run to start from; return it and the new run's settings."""
    assert options.start_from is not None
    if options.preset is not None:
        raise UserError(
            f"--preset {options.preset} is for a new model, and --from has its own: leave one of the two out"
        )
    start = load(options.start_from, device="cpu", block=block)
    config = start_settings(start, settings)
    if config.train.lora is not None:
        from nanogpt.model.lora import check_lora

        check_lora(name for name, _ in start.model.named_parameters())
    return start, config


def start_settings(run: Run, settings: Mapping[str, Any]) -> Config:
    """Return the settings of a training that starts from a run; `settings` are those that the user named."""
    fixed = [*(one.name for one in fields(ModelConfig) if one.name not in FREE), *TOKENS]
    for name in settings:
        if name in fixed:
            raise UserError(f"{flag(name)} is fixed by the weights of {str(run.path)!r}: leave it or --from out")
    defaults = vars(DataConfig(clean="auto")) | vars(TrainConfig())
    config = run.config.override(**{name: defaults[name] for name in RESET})
    config = config.override(**_learning_rates(run, settings.get("lora") is not None) | dict(settings))
    if config.model.block_size > run.config.model.block_size:
        raise UserError(
            f"--block-size {config.model.block_size} is longer than that of {str(run.path)!r}, whose model never saw "
            f"such positions: choose at most {run.config.model.block_size}"
        )
    return config


def _learning_rates(run: Run, adapters: bool) -> dict[str, Any]:
    """Return optimizer and learning rate, unless the user names them."""
    channels, train = run.config.model.n_embd, run.config.train
    if adapters:
        return ADAMW | {"weight_decay": 0.0, "learning_rate": LORA_LR / channels}
    if train.lora is not None:
        return ADAMW | {"learning_rate": LR_SHARE * ADAMW_LR / channels, "lora": None}
    # Reduce it only once: a third of a third, and so on, would soon be near zero.
    return {"learning_rate": train.learning_rate * (LR_SHARE if run.plan.start_from is None else 1.0)}


def check_alphabet(tokenizer: Tokenizer, corpora: Sequence[Corpus], run: Path, quiet: bool) -> None:
    """Raise UserError where a text has characters that the run's vocabulary lacks."""
    if not isinstance(tokenizer, CharTokenizer):
        return
    missing = sorted({one for corpus in corpora for one in corpus.scan(quiet).alphabet} - set(tokenizer.characters))
    if missing:
        names = " ".join(map(repr, missing[:10])) + (f" and {len(missing) - 10} more" if missing[10:] else "")
        raise UserError(
            f"the model of {str(run)!r} never saw {names}: remove these from the text, start from a model with "
            f"--tokenizer byte or bpe, which can write any text, or train a new model without --from"
        )


def write_start(folder: RunFolder, run: Run, block_size: int) -> str:
    """Write the weights that a training with this context starts from; return the file's hash."""
    _, tensors = crop_context(run.config.model, model_tensors(run.model), block_size)
    with reported_write(folder.start.name, folder.path), atomic_path(folder.start) as temporary:
        save_file(tensors, temporary)
        return sha256(temporary)


def crop_context(
    model: ModelConfig, tensors: dict[str, Tensor], block_size: int
) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Return a model with a shorter context, and its weights: learned positions lose their last rows."""
    name = "position_embedding.weight"
    if name in tensors:
        tensors = tensors | {name: tensors[name][:block_size].clone()}
    return replace(model, block_size=block_size), tensors
