"""`nanogpt import`: a model of others as a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from nanogpt.cli.arguments import OptionalInt, OptionalText, optional, parse


@dataclass(frozen=True, kw_only=True)
class Import:
    """Make a run of a GPT-2 or Qwen3 model in the format of Hugging Face Transformers.

    Such a run writes, is measured and exported like any other, and `nanogpt train --from` trains on from it. Weights
    are read from safetensors alone: pickled files could run code.

    examples:
      nanogpt import openai-community/gpt2
      nanogpt import Qwen/Qwen3-0.6B-Base --block-size 1024
      nanogpt import models/mine --out runs/mine
    """

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FOLDER|ID")]
    """a folder with config.json and *.safetensors, or the name of a model on the Hugging Face Hub"""
    out: Annotated[OptionalText, optional("FOLDER")] = None
    """the run's folder; runs/<name> if left out"""
    block_size: Annotated[OptionalInt, optional("INT")] = None
    """a shorter context than the model's own; its keys and values take less memory"""


def main(argv: Sequence[str]) -> None:
    """Parse, read, write."""
    options = parse(Import, "import", argv)
    from nanogpt.cli.runs import describe
    from nanogpt.interop.hugging_face.importing import import_model

    run = import_model(options.source, options.out, options.block_size)
    lines = describe(run)
    for name in ("run", "model", "parameters", "on disk"):
        print(f"{name:<10}  {lines[name]}")
