"""A run that starts from another run's weights, keeps that run's sizes and tokenizer, and trains on another text.

The weights are copied into the new run's folder (`start.safetensors`), so that it resumes when the other is gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from nanogpt.config import Config, DataConfig, ModelConfig, TrainConfig, flag
from nanogpt.errors import UserError, counted, reported_write
from nanogpt.files import atomic_path
from nanogpt.runs.checkpoint import sha256
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.run import Run, load
from nanogpt.runs.weights import model_tensors
from nanogpt.text.corpus import Corpus
from nanogpt.text.tokenizer import CharTokenizer, Tokenizer, name_characters
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
FREE = ("block_size", "dropout", "attention_dropout", "embedding_dropout", "format")
"""Model settings that may differ from the first run's: no weight depends on them."""
RESET = (
    *("seed", "device", "parallel", "threads", "track"),
    *("compile", "eval_tokens", "final_eval_tokens", "sample_tokens"),
    *("encoding", "pattern", "column", "documents", "clean", "unknown", "format"),
)
"""Settings that return to their defaults: another text, length and machine have no reason to share them. The second
line is what the planner fits to the minutes."""
ADAMW: dict[str, Any] = {"optimizer": "adamw", "weight_decay": 0.1, "beta2": 0.95}
TOKEN_WEIGHTS = {"token_embedding.weight", "lm_head.weight", "lm_head.bias"}
"""Weights with a row for each token"""
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
    defaults = vars(DataConfig()) | vars(TrainConfig()) | vars(ModelConfig())
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


def fit_vocabulary(run: Run, config: Config, corpora: Sequence[Corpus], quiet: bool) -> tuple[Tokenizer, list[str]]:
    """Return the tokenizer for a text, and a note if it has characters that the run's vocabulary lacks.

    With `unknown = "extend"` they get the next ids; with "skip" the text is read without them. Raises UserError
    with "error", and where they would be added to weights that --lora keeps fixed.
    """
    tokenizer, how = run.tokenizer, config.data.unknown
    if not isinstance(tokenizer, CharTokenizer):
        return tokenizer, []
    missing = sorted({one for corpus in corpora for one in corpus.scan(quiet).alphabet} - set(tokenizer.characters))
    names, lora = name_characters(missing), config.train.lora
    if not missing:
        return tokenizer, []
    if how == "skip":
        only = CharTokenizer("".join(missing))
        count = sum(len(only.encode(chunk.text, "skip")) for corpus in corpora for chunk in corpus.chunks())
        return tokenizer, [f"left out {counted(count, 'character')} that the vocabulary lacks: {names}"]
    if how == "error":
        raise UserError(
            f"the model of {str(run.path)!r} never saw {names}: add them to its vocabulary with --unknown extend, "
            f"leave them out of the text with --unknown skip, or start from a model with --tokenizer byte or bpe, "
            f"which can write any text"
        )
    if lora is not None:
        raise UserError(
            f"--unknown extend does not go with --lora {lora}: adapters would never train the weights of {names}; "
            f"leave --lora out, or choose --unknown skip"
        )
    tokenizer = tokenizer.extend("".join(missing))
    added = f"added {counted(len(missing), 'character')} to the vocabulary: {names}"
    return tokenizer, [f"{added}; {tokenizer.vocab_size:,} tokens in all"]


def add_tokens(tensors: dict[str, Tensor], vocab_size: int) -> dict[str, Tensor]:
    """Return a model's weights for a larger vocabulary: a new row is the mean of the old ones.

    A new token's logit is then the mean of the old ones', so its probability is at most 1 / vocab_size, and the old
    tokens keep theirs relative to each other (Hewitt 2021, "Initializing new word embeddings for pretrained language
    models"). No noise is needed: new tokens occur in different contexts, so their gradients differ from the first step.

    >>> add_tokens({"lm_head.bias": torch.tensor([1.0, 3.0])}, 4)["lm_head.bias"].tolist()
    [1.0, 3.0, 2.0, 2.0]
    """
    for name in tensors.keys() & TOKEN_WEIGHTS:
        rows = tensors[name]
        mean = rows.mean(0, keepdim=True).expand(vocab_size - len(rows), *rows.shape[1:])
        tensors = tensors | {name: torch.cat([rows, mean])}
    return tensors


def write_start(folder: RunFolder, run: Run, model: ModelConfig) -> str:
    """Write the weights that a training with this context and vocabulary starts from; return the file's hash."""
    _, tensors = crop_context(run.config.model, model_tensors(run.model), model.block_size)
    tensors = add_tokens(tensors, model.vocab_size)
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
