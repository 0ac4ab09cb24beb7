"""The run that a new one begins with: its weights, sizes and tokenizer are taken, on another text.

The weights are copied into the new run's folder (`start.safetensors`), so that it resumes when the other is gone.
"""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from nanogpt.config import Config, DataConfig, ModelConfig, TrainConfig
from nanogpt.errors import UserError
from nanogpt.runs.run import Run
from nanogpt.runs.weights import crop_context, model_tensors
from nanogpt.text.corpus import Corpus
from nanogpt.text.tokenizer import CharTokenizer, Tokenizer

RATE = 1 / 3
"""Of the learning rate that a run was trained with, where a new one begins with its weights. On a text of another kind
the whole rate was a little better (`benchmarks.fine_tuning`), but less is left of what the model had learned."""
ADAMW_RATE = 0.384
"""The rate of a whole model where the run's own says nothing (an imported one; adapters), over the model's channels:
5e-4 for GPT-2's 768. A third of it is 10^-3 with 128 channels, half of the best of a sweep."""
LORA_RATE = 1.28
"""Of adapters, trained by AdamW, over the model's channels: 10^-2 with 128 of them, the best of a sweep
(`benchmarks.fine_tuning`), and as width grows less (Yang et al. 2022, "Tensor programs V")."""
FREE = ("block_size", "dropout", "attention_dropout", "embedding_dropout")
"""What may differ from the model's own settings: no weight depends on it."""
OF_A_TRAINING = (
    *("seed", "device", "parallel", "threads", "track"),
    *("compile", "eval_tokens", "final_eval_tokens", "sample_tokens"),
)
"""What another training, of another length on another machine, has no reason to share. The second line is what the
planner fits to the minutes."""
OF_A_TEXT = ("encoding", "pattern", "column")
"""Where another text has nothing to do with the first."""
ADAMW: dict[str, Any] = {"optimizer": "adamw", "weight_decay": 0.1, "beta2": 0.95}
"""Its other settings then: most models were trained by AdamW."""
TOKENS = ("tokenizer", "tokenizer_from", "end_of_document")


def begin_with(run: Run, settings: dict[str, Any]) -> Config:
    """The settings of a training that goes on from a run's weights; `settings` are those that were named, and win.

    Raises UserError for what the weights decide.
    """
    fixed = [*(one.name for one in fields(ModelConfig) if one.name not in FREE), *TOKENS]
    for name in settings:
        if name in fixed:
            raise UserError(
                f"{name} is what {str(run.path)!r} was made with, and its weights with it: leave it out, or train anew "
                f"without --from"
            )
    config = run.config.override(**{name: getattr(TrainConfig(), name) for name in OF_A_TRAINING})
    config = config.override(**{name: getattr(DataConfig(), name) for name in OF_A_TEXT})
    config = config.override(**_rates(run, settings.get("lora") is not None) | settings)
    if config.model.block_size > run.config.model.block_size:
        raise UserError(
            f"block_size {config.model.block_size} is longer than that of {str(run.path)!r}, whose model never saw "
            f"such positions: choose at most {run.config.model.block_size}"
        )
    return config


def _rates(run: Run, adapters: bool) -> dict[str, Any]:
    """The optimizer, and how fast it learns, where nothing of that is named."""
    channels, train = run.config.model.n_embd, run.config.train
    if adapters:
        return ADAMW | {"weight_decay": 0.0, "learning_rate": LORA_RATE / channels}
    if train.lora is not None:
        return ADAMW | {"learning_rate": RATE * ADAMW_RATE / channels, "lora": None}
    # Of the run that began from nothing: a third of a third of a third would soon be none.
    return {"learning_rate": train.learning_rate * (RATE if run.plan.start_from is None else 1.0)}


def check_alphabet(tokenizer: Tokenizer, corpora: Sequence[Corpus], run: Path, quiet: bool) -> None:
    """Raise UserError where a text has characters that the run's vocabulary has not."""
    if not isinstance(tokenizer, CharTokenizer):
        return
    missing = sorted({one for corpus in corpora for one in corpus.scan(quiet).alphabet} - set(tokenizer.characters))
    if missing:
        names = " ".join(map(repr, missing[:10])) + (f" and {len(missing) - 10} more" if missing[10:] else "")
        raise UserError(
            f"the model of {str(run)!r} never saw {names}: take these out of the text, begin with a model of bytes or "
            f"bpe, which can write any text, or train anew without --from"
        )


def first_weights(run: Run, block_size: int) -> dict[str, Tensor]:
    """What a training with this context begins with."""
    return crop_context(run.config.model, model_tensors(run.model), block_size)[1]
