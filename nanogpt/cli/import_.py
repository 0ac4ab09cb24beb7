"""Turn a GPT-2, Llama, Mistral, Qwen2 or Qwen3 model in the format of Hugging Face Transformers into a run.

The run can be sampled, evaluated and exported like any other, and `nanogpt train --from` continues training from it.
Weights are read from safetensors only, because pickled files can run code.

Examples:
  nanogpt import openai-community/gpt2
  nanogpt import HuggingFaceTB/SmolLM2-135M --block-size 1024
  nanogpt import models/mine --out runs/mine
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from nanogpt.cli.arguments import option, parser_of, positional


@dataclass(frozen=True, kw_only=True)
class Import:
    """Options of `nanogpt import`."""

    source: str = positional("FOLDER|ID")
    """folder with config.json and *.safetensors, or the name of a model on the Hugging Face Hub"""
    out: str | None = option("FOLDER")
    """run folder (default: runs/<name>)"""
    block_size: int | None = None
    """shorter context length than the model's, to save memory of keys and values"""


parser = partial(parser_of, Import, "import", __doc__)


def main(argv: Sequence[str]) -> None:
    """Import the model and describe its run."""
    options = Import(**parser().read(argv))
    from nanogpt.cli.runs import describe
    from nanogpt.interop.hugging_face.importing import import_model

    lines = describe(import_model(options.source, options.out, options.block_size))
    for name in ("run", "model", "parameters", "on disk"):
        print(f"{name:<10}  {lines[name]}")
