"""The page that goes with a model: what it is, what it was trained on, how well it does and by which protocol."""

from pathlib import Path

from nanogpt.runs.run import Run

LICENCE = "unknown"
"""Whoever publishes a model says what others may do with it."""


TRAINED = (
    "A small language model, trained with Nano-GPT. It knows the text that it was trained on and little else: it",
    "writes in its manner, and what it says need not be true.",
)
IMPORTED = (
    "A language model that was trained elsewhere, read and written again by Nano-GPT, its weights as they were.",
)


def model_card(run: Run, licence: str = LICENCE) -> str:
    """README.md of an exported model, with the front matter that the Hub reads."""
    model, measured = run.config.model, measured_loss(run)
    rows = {
        "architecture": f"{model.n_layer} layers, {model.n_head} heads ({model.kv_heads} of keys and values), "
        f"{model.n_embd} channels, context of {model.block_size:,} tokens",
        "parameters": f"{run.model.parameter_count:,}",
        "tokenizer": f"{run.tokenizer.kind}, {run.tokenizer.vocab_size:,} tokens",
        **_training(run),
    }
    if measured is not None:
        rows["validation loss"] = measured
    lines = [
        "---",
        f"license: {licence}",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags: [nanogpt]",
        "---",
        "",
        f"# A GPT of {_plain(run.plan.text)}",
        "",
        *(IMPORTED if run.plan.imported else TRAINED),
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {_plain(value)} |" for name, value in rows.items()),
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'model, tokenizer = (kind.from_pretrained(".") for kind in (AutoModelForCausalLM, AutoTokenizer))',
        "```",
        "",
        f"Where a text is longer than {model.block_size:,} tokens, Nano-GPT reads its newest half again and goes on.",
        "Transformers does not: keep prompt and answer within the context.",
        "",
    ]
    return "\n".join(lines)


def _training(run: Run) -> dict[str, str]:
    """How the weights came to be, as far as it is known here."""
    train, plan = run.config.train, run.plan
    if plan.imported:
        return {"imported from": plan.text}
    seen = run.step * train.batch_sequences * run.config.model.block_size
    begun = {} if plan.start_from is None else {"began with the weights of": Path(plan.start_from).name}
    adapters = "" if train.lora is None else f", by adapters of rank {train.lora}"
    return {
        **begun,
        "text": plan.text,
        "learned from": f"{seen:,} tokens in {run.step:,} steps, repetitions counted",
        "optimizer": f"{train.optimizer}, learning rate {train.learning_rate:g}{adapters}, dropout "
        f"{run.config.model.dropout:g}",
    }


def measured_loss(run: Run) -> str | None:
    """The validation loss of the checkpoint that was loaded, with its protocol; None where it was not measured.

    >>> measured_loss(nanogpt.load(folder))  # doctest: +ELLIPSIS
    '... nats a token (whole split, 199 tokens in consecutive windows of 16), ... bits a byte'
    """
    found = None
    for line in run.folder.metrics():
        at = line.get("best_step") if line["event"] == "done" else line["step"]
        if line["event"] in ("eval", "done") and at == run.step:
            found = f"{line['loss']:.4f} nats a token ({line['protocol']}), {line['bits_per_byte']:.3f} bits a byte"
    return found


def _plain(text: str) -> str:
    """Without what Markdown would read as structure.

    >>> _plain("a|b\\n# c")
    'a\\\\|b # c'
    """
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")
