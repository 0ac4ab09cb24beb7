"""Write a run's model in the format of other programs.

hf is a folder for Transformers, vLLM and MLX; gguf a file for llama.cpp and Ollama; html a page that runs the model in
any browser, without a server or a network. What a format cannot express is refused by name. `nanogpt verify` checks
that an export gives the same answers as the run.

Examples:
  nanogpt export runs/book-modern-1 book --to hf
  nanogpt export runs/book-modern-1 book.gguf --precision q8_0
  nanogpt export starter shakespeare.html
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nanogpt.cli.arguments import RunOptions, is_run, option, parser_of, positional, print_notes
from nanogpt.errors import UserError

if TYPE_CHECKING:
    from nanogpt.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Export(RunOptions):
    """Options of `nanogpt export`."""

    place: str = positional("PLACE")
    """new folder or file"""
    to: Literal["hf", "gguf", "html"] | None = None
    """format (default: by the ending of PLACE, .gguf or .html, else hf)"""
    precision: Literal["f32", "f16", "q8_0"] | None = None
    """number format of the weights in a gguf file (default: f32); hf has 32 bits, html 8"""
    licence: str | None = None
    """licence of the model, for the model card of hf, for example mit"""
    push: str | None = option("OWNER/NAME")
    """also upload the hf folder to the Hugging Face Hub, logged in by `hf auth login`; a new repository is private"""


parser = partial(parser_of, Export, "export", __doc__)


def main(argv: Sequence[str]) -> None:
    """Export the run."""
    options = Export(**parser().read(argv))
    if options.run is None and is_run(options.place):
        raise UserError(f"{options.place!r} is a run, and PLACE is missing; type the new file or folder after it")
    if options.to is None:
        formats: dict[str, Literal["gguf", "html"]] = {".gguf": "gguf", ".html": "html"}
        options = replace(options, to=formats.get(Path(options.place).suffix, "hf"))
    _check(options)
    run = options.open("cpu")
    path = _write(run, options)
    if options.to == "hf" and "chat_template" in run.tokenizer.imported:
        print_notes([CHAT_NOTE])
    if options.to == "gguf" and getattr(run.tokenizer, "tables", {}).get("normalizer"):
        print_notes([NFC_NOTE])
    size = sum(file.stat().st_size for file in path.rglob("*")) if path.is_dir() else path.stat().st_size
    print(f"wrote {path} ({size / 1e6:,.1f} MB), step {run.step:,} of {run.name}")
    if options.push is not None:
        from nanogpt.interop.hugging_face.hub import upload

        print(f"uploaded to {upload(path, options.push)}")


CHAT_NOTE = (
    "because of the chat template, Transformers reads the name of a special token in a text as that token: pass "
    "split_special_tokens=True for a text without a template"
)
NFC_NOTE = (
    "llama.cpp does not compose characters (NFC) as this tokenizer does: a letter with a separate accent, or Hangul in "
    "parts, gets other token ids there; give it composed text"
)


def _check(options: Export) -> None:
    for name, format in (("precision", "gguf"), ("licence", "hf"), ("push", "hf")):
        value = getattr(options, name)
        if value is not None and options.to != format:
            raise UserError(f"--{name} {value} is for --to {format}; leave it out, or change the format")
    if options.push is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", options.push):
        raise UserError(f"--push {options.push!r} is not a name on the Hub; give OWNER/NAME")
    if options.licence is not None and not re.fullmatch(r"[\w.+-]+", options.licence):
        raise UserError(f"--licence {options.licence!r} is not a licence's name; give one as the Hub has it, e.g. mit")


def _write(run: "Run", options: Export) -> Path:
    if options.to == "hf":
        from nanogpt.interop.hugging_face.export import LICENCE, export_hugging_face

        return export_hugging_face(run, options.place, options.licence or LICENCE)
    if options.to == "gguf":
        from nanogpt.interop.gguf.export import export_gguf

        return export_gguf(run, options.place, options.precision or "f32")
    from nanogpt.interop.html.export import export_html

    return export_html(run, options.place)
