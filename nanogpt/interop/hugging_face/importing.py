"""A model of others as a run of ours: to write with, to measure, and to train on from (`nanogpt train --from`)."""

import os
import re
import shutil
from pathlib import Path

from nanogpt.config import Config, load_preset
from nanogpt.errors import UserError
from nanogpt.interop.hugging_face.hub import fetch
from nanogpt.interop.hugging_face.reading import Pretrained, read_pretrained
from nanogpt.interop.hugging_face.tokenizer import read_tokenizer
from nanogpt.runs.checkpoint import State
from nanogpt.runs.folder import RunFolder
from nanogpt.runs.plan import Plan
from nanogpt.runs.run import RUNS
from nanogpt.text.tokenizer import Tokenizer
from nanogpt.training.fine_tuning import ADAMW, ADAMW_RATE

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def import_model(
    source: str | os.PathLike[str], out: str | os.PathLike[str] | None = None, block_size: int | None = None
) -> RunFolder:
    """A run folder of a model in a folder of Transformers, or on the Hub by its name; `out` is `runs/<name>` when not
    given, its context cut to `block_size` where that is.

    Raises UserError, naming file and reason, for what cannot be taken as it is; then no folder is made.
    """
    folder = _find(source)
    name = Path(source).resolve().name if Path(source).is_dir() else os.fspath(source).split("/")[-1]
    place = RUNS / name if out is None else Path(out)
    if place.exists():
        RunFolder.create(place)  # raises, for the reason it has
    model = read_pretrained(folder, block_size)
    tokenizer = read_tokenizer(folder, model.model.vocab_size, model.end_of_document)
    run = RunFolder.create(place)
    try:
        _write(run, name, model, tokenizer)
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


def _find(source: str | os.PathLike[str]) -> Path:
    if os.fspath(source) and Path(source).is_dir():
        return Path(source)
    if not HUB_NAME.fullmatch(os.fspath(source)) or Path(source).exists():
        raise UserError(
            f"{os.fspath(source)!r} is neither a folder with config.json and model.safetensors, nor the name of a "
            f"model on the Hub, such as openai-community/gpt2"
        )
    return fetch(os.fspath(source))


def _write(run: RunFolder, name: str, found: Pretrained, tokenizer: Tokenizer) -> None:
    kind = tokenizer.kind if tokenizer.kind in ("char", "byte") else "bpe"
    preset = load_preset(found.family.PRESET)
    config = Config(preset=preset.preset, model=found.model, data=preset.data, train=preset.train)
    config = config.override(
        tokenizer=kind,
        end_of_document=tokenizer.end_of_document is not None,
        learning_rate=ADAMW_RATE / found.model.n_embd,
        **ADAMW,
    )
    run.write_config(config)
    run.write_tokenizer(tokenizer)
    run.write_plan(Plan(text=name, steps=0))
    run.checkpoints.save(State(step=0, best_step=0), found.tensors, {})
