"""A run as a folder that Transformers opens with its own classes.

config.json, generation_config.json    architecture and sampling settings
model.safetensors                      weights, float32
tokenizer.json, tokenizer_config.json
README.md                              model card: training text, size, validation loss with its protocol
"""

import json
import os
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from nanogpt.config import SampleConfig
from nanogpt.errors import UserError, counted
from nanogpt.files import atomic_path
from nanogpt.interop.architectures import Architecture, architecture_of, export_tensors
from nanogpt.interop.formats import check_library_blocks, check_target
from nanogpt.interop.hugging_face.tokenizer import to_hugging_face, tokenizer_settings
from nanogpt.runs.run import Run
from nanogpt.runs.weights import model_tensors
from nanogpt.text.corpus import NO_VALIDATION
from nanogpt.text.foreign import ForeignTokenizer
from nanogpt.text.imported import NUMBERS
from nanogpt.text.tokenizer import Tokenizer

LICENCE = "unknown"
"""Default licence in a model card: only the model's owner can say what others may do with it."""
TRAINED = (
    "A small language model, trained with Nano-GPT. It imitates the text that it was trained on and knows little\n"
    "else; what it says need not be true."
)
IMPORTED = "A language model that was trained elsewhere, imported and exported by Nano-GPT with its weights unchanged."


def export_hugging_face(run: Run, folder: str | os.PathLike[str], licence: str = LICENCE) -> Path:
    """Write a run's model so that `AutoModelForCausalLM.from_pretrained(folder)` opens it; return the folder.

    The folder is written completely or not at all.

    Raises:
        UserError: The folder exists, or no architecture of Transformers can express the model.

    >>> from nanogpt.interop.hugging_face.export import export_hugging_face
    >>> sorted(path.name for path in export_hugging_face(nanogpt.load(folder), "out").iterdir())[:4]
    ['README.md', 'config.json', 'generation_config.json', 'model.safetensors']
    """
    path = Path(folder)
    check_target(path)
    check_library_blocks(run)
    architecture = architecture_of(run.config.model)
    check_tokenizer(architecture, run.tokenizer)
    end = run.tokenizer.end_of_document
    tokens = {"bos_token_id": run.tokenizer.start()[0], "eos_token_id": end}
    numbers = {key: value for key, value in run.tokenizer.imported.items() if key in NUMBERS}
    kind = {"architectures": [architecture.model_class], "model_type": architecture.model_type, "dtype": "float32"}
    sampling = {"do_sample": True, "temperature": SampleConfig().temperature, "top_k": 0, "top_p": 1.0}
    files = {
        "config.json": _json(kind | architecture.to_settings(run.config.model) | tokens),
        "generation_config.json": _json(sampling | tokens | numbers),
        "tokenizer.json": _json(to_hugging_face(run.tokenizer)),
        "tokenizer_config.json": _json(tokenizer_settings(run.tokenizer, run.config.model.block_size)),
        "README.md": model_card(run, licence),
    }
    weights = export_tensors(model_tensors(run.model), architecture.tensor_map(run.config.model))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.mkdir()
            for name, text in files.items():
                (temporary / name).write_text(text, encoding="utf-8")
            save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
    except OSError as error:
        raise UserError(f"cannot write {str(path)!r}: {error.strerror}; choose another folder") from None
    return path


def check_tokenizer(architecture: Architecture, tokenizer: Tokenizer) -> None:
    """Raise UserError for a tokenizer that Transformers would replace: it opens each Qwen2 with the rules of Qwen's."""
    own = isinstance(tokenizer, ForeignTokenizer) and tokenizer.rule == "qwen2" and tokenizer.tables.get("normalizer")
    if architecture.model_type == "qwen2" and not own:
        raise UserError(
            f"Transformers splits text for every {architecture.name} as Qwen does, and this run's {tokenizer.kind} "
            f"tokenizer does not: export to a .gguf or .html file, or train without --qkv-bias"
        )


def _json(tables: dict[str, Any]) -> str:
    return json.dumps(tables, ensure_ascii=False, indent=2) + "\n"


def model_card(run: Run, licence: str = LICENCE) -> str:
    """Return the README.md of an exported model, with the front matter that the Hub reads."""
    model, measured = run.config.model, measured_loss(run)
    rows = {
        "architecture": f"{counted(model.n_layer, 'layer')}, {counted(model.n_head, 'head')} "
        f"({model.kv_heads} of keys and values), {model.n_embd} channels, context of {model.block_size:,} tokens",
        "parameters": f"{run.model.parameter_count:,}",
        "tokenizer": f"{run.tokenizer.kind}, {run.tokenizer.vocab_size:,} tokens",
    }
    train, plan = run.config.train, run.plan
    if plan.imported:
        rows["imported from"] = plan.text
    else:
        if plan.start_from is not None:
            rows["began with the weights of"] = Path(plan.start_from).name
        seen = run.step * run.config.tokens_per_step
        adapters = "" if train.lora is None else f", by adapters of rank {train.lora}"
        rows["text"] = plan.text
        rows["trained on"] = f"{seen:,} tokens in {run.step:,} steps, repetitions counted"
        rows["optimizer"] = (
            f"{train.optimizer}, learning rate {train.learning_rate:g}{adapters}, dropout {model.dropout:g}"
        )
    if measured is not None:
        rows["validation loss" if run.plan.val_source != NO_VALIDATION else "loss of the training text"] = measured
    table = "\n".join(f"| {name} | {_plain(value)} |" for name, value in rows.items())
    return f"""---
license: {licence}
library_name: transformers
pipeline_tag: text-generation
tags: [nanogpt]
---

# A GPT of {_plain(run.plan.text)}

{IMPORTED if run.plan.imported else TRAINED}

| | |
|---|---|
{table}

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model, tokenizer = (kind.from_pretrained(".") for kind in (AutoModelForCausalLM, AutoTokenizer))
```

Where a text is longer than {model.block_size:,} tokens, Nano-GPT reads its newest half again and goes on.
Transformers does not: keep prompt and answer within the context.
"""


def measured_loss(run: Run) -> str | None:
    """Return the validation loss of the loaded checkpoint with its protocol, or None if it was not measured.

    >>> measured_loss(nanogpt.load(folder))  # doctest: +ELLIPSIS
    '... nats per token (whole split, 199 tokens in consecutive windows of 16), ... bits per byte'
    """
    found = None
    for line in run.folder.metrics():
        at = line.get("best_step") if line["event"] == "done" else line["step"]
        if line["event"] in ("eval", "done") and at == run.step:
            found = f"{line['loss']:.4f} nats per token ({line['protocol']}), {line['bits_per_byte']:.3f} bits per byte"
    return found


def _plain(text: str) -> str:
    r"""Escape what Markdown would read as structure.

    >>> _plain("a|b\n# c")
    'a\\|b # c'
    """
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")
