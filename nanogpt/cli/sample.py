"""Generate text with a run.

The text appears as it is generated, and may be longer than the context length: when the context is full, generation
continues from its newest half. Several texts are generated in one batch and printed at its end: one per line, or below
a line with their number if any has several lines.

Examples:
  nanogpt sample --prompt "ROMEO:" --tokens 300 --temperature 0.7 --samples 2
  nanogpt sample names-modern-1 --prompt An --prompt El --tokens 40 --samples 20
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from nanogpt.cli.arguments import Parser, RunOptions, option, parser_of
from nanogpt.config import SampleConfig, flag
from nanogpt.errors import UserError, counted


@dataclass(frozen=True, kw_only=True)
class Sample(RunOptions):
    """Options of `nanogpt sample`, besides those of SampleConfig."""

    prompt: tuple[str, ...] = field(default=(), metadata={"repeat": True})
    """beginning of the text; give it again for further texts"""
    prompt_file: str | None = option("FILE")
    """read the prompt from a file, without its last line end"""
    prompts: str | None = option("FILE")
    """read prompts from a file, one per line; empty lines are left out"""
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
    prompts = _prompts(options)
    if options.out is not None and Path(options.out).exists():
        raise UserError(f"{options.out!r} exists already and is not overwritten; choose another --out, or delete it")
    from nanogpt.files import write_atomically
    from nanogpt.runs.find import RunNotFound

    try:
        run = options.open(options.device)
    except RunNotFound as error:
        if prompts != [""]:
            raise
        text = options.run if re.fullmatch(r'[^"$`\\!\n]{1,60}', str(options.run)) else "TEXT"
        raise UserError(f'{error}; to continue a text, type: nanogpt sample --prompt "{text}"') from None
    if options.run is None:
        print(f"({run.name}, step {run.step:,})", file=sys.stderr)
    if options.out is None and config.samples == len(prompts) == 1:
        parts = run.stream(prompts[0], options.unknown, config=config)
        first = next(parts, "")  # before the prompt is printed: it may be refused
        print(prompts[0], first, sep="", end="", flush=True)
        for part in parts:
            print(part, end="", flush=True)
        print()
        return
    texts = run.generate_batch(prompts, options.unknown, config=config)
    if options.out is None:
        several_lines = any("\n" in text for text in texts)
        for number, text in enumerate(texts, 1):
            print(f"--- {number} of {len(texts)}\n{text}" if several_lines else text)
    else:
        write_atomically(Path(options.out), ("\n".join(texts) + "\n").encode("utf-8", "surrogatepass"))
        print(f"wrote {counted(len(texts), 'text')} to {options.out}")


def _prompts(options: Sample) -> list[str]:
    """Return the prompts, at least one. Raises UserError where they are given in two ways, or a file has none."""
    names = [name for name in ("prompt", "prompt_file", "prompts") if getattr(options, name)]
    if len(names) > 1:
        raise UserError(f"{flag(names[0])} and {flag(names[1])} were both given; leave one of them out")
    file = options.prompts or options.prompt_file
    if file is None:
        return list(options.prompt) or [""]
    from nanogpt.text.chunks import decode_text

    try:
        text = decode_text(Path(file).read_bytes(), file)
    except OSError as error:
        raise UserError(f"cannot read {file!r}: {error.strerror}; name another file") from None
    except UserError:
        raise UserError(f"{file!r} is not in UTF-8; save it as UTF-8") from None
    if options.prompts is None:
        return [text.removesuffix("\n")]  # an editor ends the last line
    found = [line for line in text.split("\n") if line]
    if not found:
        raise UserError(f"{file!r} has no prompts; write one per line")
    return found
