"""Generate text with a run.

The text appears as it is generated, and may be longer than the context length: when the context is full, generation
continues from its newest half.

Examples:
  nanogpt sample --prompt "ROMEO:" --tokens 300 --temperature 0.7 --samples 2
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from nanogpt.cli.arguments import Parser, RunOptions, option, parser_of
from nanogpt.config import SampleConfig
from nanogpt.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Sample(RunOptions):
    """Options of `nanogpt sample`, besides those of SampleConfig."""

    prompt: str = ""
    """beginning of the text"""
    prompt_file: str | None = option("FILE")
    """read the prompt from a file, without its last line end"""
    unknown: Literal["error", "skip"] = "error"
    """what to do with characters of the prompt that are not in the vocabulary"""
    out: str | None = option("FILE")
    """write to a new file instead of the terminal"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """device to run on"""


def parser(argv: Sequence[str] = ()) -> Parser:
    """Return the command's parser."""
    found = parser_of(Sample, "sample", __doc__)
    found.add_fields(SampleConfig, "sampling", SampleConfig())
    return found


def main(argv: Sequence[str]) -> None:
    """Generate and print."""
    given = parser().read(argv)
    config = SampleConfig(**{one.name: given.pop(one.name) for one in fields(SampleConfig) if one.name in given})
    options = Sample(**given)
    prompt = _prompt(options)
    if options.out is not None and Path(options.out).exists():
        raise UserError(f"{options.out!r} exists already and is not overwritten; choose another --out, or delete it")
    from nanogpt.files import write_atomically

    run = options.open(options.device)
    if options.run is None:
        print(f"({run.name}, step {run.step:,})", file=sys.stderr)
    if options.out is None and config.samples == 1:
        parts = run.stream(prompt, options.unknown, config=config)
        first = next(parts, "")  # before the prompt is printed: it may be refused
        print(prompt, first, sep="", end="", flush=True)
        for part in parts:
            print(part, end="", flush=True)
        print()
        return
    texts = run.generate_batch(prompt, options.unknown, config=config)
    if options.out is None:
        for number, text in enumerate(texts, 1):
            print(f"--- {number} of {len(texts)}\n{text}")
    else:
        write_atomically(Path(options.out), ("\n".join(texts) + "\n").encode("utf-8", "surrogatepass"))
        print(f"wrote {len(texts)} text(s) to {options.out}")


def _prompt(options: Sample) -> str:
    if options.prompt_file is None:
        return options.prompt
    if options.prompt:
        raise UserError("--prompt and --prompt-file were both given; leave one of them out")
    from nanogpt.text.chunks import decode_text

    try:
        data = Path(options.prompt_file).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {options.prompt_file!r}: {error.strerror}; name another file") from None
    return decode_text(data, options.prompt_file).removesuffix("\n")  # an editor ends the last line
