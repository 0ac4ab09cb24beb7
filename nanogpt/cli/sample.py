"""`nanogpt sample`: a run writes."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from nanogpt.cli.arguments import OptionalText, given, optional, optional_flags, parse, with_flags
from nanogpt.cli.opening import open_run
from nanogpt.config import SampleConfig
from nanogpt.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Generate text with a run.

    The text appears as it is written. It may be longer than the model's context: when that is full, its newest
    half is read again and the text goes on.

    example:
      nanogpt sample --prompt "ROMEO:" --tokens 300 --temperature 0.7 --samples 2
    """

    run: Annotated[tyro.conf.Positional[OptionalText], optional("[RUN]")] = None
    """run folder; the newest below runs/ if left out, the starter model where there is none"""
    prompt: str = ""
    """the text's beginning"""
    prompt_file: Annotated[OptionalText, optional("FILE")] = None
    """read the prompt from a file"""
    unknown: Literal["error", "skip"] = "error"
    """what to do with characters of the prompt that the model never saw"""
    out: Annotated[OptionalText, optional("FILE")] = None
    """write to a new file instead of the terminal"""
    checkpoint: Annotated[str, tyro.conf.arg(metavar="best|last|STEP")] = "best"
    """which of the run's checkpoints, or a step of its history"""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """where to run"""


def main(argv: Sequence[str]) -> None:
    """Parse and generate."""
    options, config = parse_sample(argv)
    prompt = _prompt(options)
    if options.out is not None and Path(options.out).exists():
        raise UserError(f"{options.out!r} exists already and is not overwritten: choose another --out, or delete it")
    from nanogpt.files import write_atomically

    run = open_run(options.run, checkpoint=options.checkpoint, device=options.device)
    if options.run is None:
        print(f"({run.name}, step {run.step:,})", file=sys.stderr)
    if options.out is None and config.samples == 1:
        pieces = run.stream(prompt, options.unknown, config=config)
        first = next(pieces, "")  # before the prompt is printed: it may be refused
        print(prompt, first, sep="", end="", flush=True)
        for piece in pieces:
            print(piece, end="", flush=True)
        print()
        return
    texts = run.generate_batch(prompt, options.unknown, config=config)
    if options.out is None:
        for number, text in enumerate(texts, 1):
            print(f"--- {number} of {len(texts)}\n{text}")
    else:
        write_atomically(Path(options.out), ("\n".join(texts) + "\n").encode("utf-8", "surrogatepass"))
        print(f"wrote {len(texts)} text(s) to {options.out}")


def parse_sample(argv: Sequence[str]) -> tuple[Sample, SampleConfig]:
    """The options, and how the text is drawn."""
    options: Any = parse(all_options(), "sample", argv)
    return options, SampleConfig(**given(options, ["sampling"]))


def all_options() -> type[Sample]:
    """What can be given."""
    return with_flags(Sample, optional_flags("Settings", {"sampling": SampleConfig()}))


def _prompt(options: Sample) -> str:
    if options.prompt_file is None:
        return options.prompt
    if options.prompt:
        raise UserError("both --prompt and --prompt-file were given: leave one of them out")
    from nanogpt.text.decoding import decode_text

    try:
        data = Path(options.prompt_file).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {options.prompt_file!r}: {error.strerror}") from None
    return decode_text(data, options.prompt_file)
