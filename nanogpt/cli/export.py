"""`nanogpt export`: a run in the format of other programs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from nanogpt.cli.arguments import OptionalText, optional, parse
from nanogpt.cli.opening import open_run
from nanogpt.errors import UserError

if TYPE_CHECKING:
    from nanogpt.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a run's model so that other programs open it.

    hf is a folder for Transformers, vLLM and MLX; gguf a file for llama.cpp and Ollama; html one page that runs the
    model in any browser, without a server or a network. What a format cannot express is refused by name. Whether the
    export gives the same answers, `nanogpt verify` tells.

    examples:
      nanogpt export runs/book-modern-1 book --to hf
      nanogpt export runs/book-modern-1 book.gguf --to gguf --precision q8_0
      nanogpt export runs/book-modern-1 book.html --to html
      nanogpt export starter shakespeare.html --to html
    """

    places: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[RUN] PLACE")]
    """run folder, and the new folder or file; without a run the newest below runs/, the starter model where there is
    none"""
    to: Literal["hf", "gguf", "html"]
    """format"""
    checkpoint: Annotated[str, tyro.conf.arg(metavar="best|last|STEP")] = "best"
    """which of the run's checkpoints, or a step of its history"""
    precision: Annotated[Literal["f32", "f16", "q8_0"] | None, optional("{f32,f16,q8_0}")] = None
    """number format of the weights in a gguf file; f32 if left out. hf has 32 bits, html 8"""
    licence: Annotated[OptionalText, optional("TEXT")] = None
    """what others may do with the model, for the model card of hf, for example mit"""
    push: Annotated[OptionalText, optional("OWNER/NAME")] = None
    """also upload the folder of hf to the Hugging Face Hub, with the login of its own program `hf auth login`; a new
    repository is private"""


def main(argv: Sequence[str]) -> None:
    """Parse, load, write."""
    options = parse(Export, "export", argv)
    named, out = _places(options)
    _check(options)
    run = open_run(named, checkpoint=options.checkpoint, device="cpu")
    path = _write(run, out, options)
    size = sum(file.stat().st_size for file in path.rglob("*")) if path.is_dir() else path.stat().st_size
    print(f"wrote {path} ({size / 1e6:,.1f} MB), step {run.step:,} of {run.name}")
    if options.push is not None:
        from nanogpt.interop.hugging_face.hub import push

        print(f"uploaded to {push(path, options.push)}")


def _places(options: Export) -> tuple[str | None, str]:
    """The run, where one was named, and where to write."""
    if len(options.places) not in (1, 2):
        raise UserError(
            f"{len(options.places)} places were given: name a run and the new file or folder, as in "
            f"`nanogpt export runs/book-modern-1 book.html --to html`"
        )
    return (options.places[0] if len(options.places) > 1 else None), options.places[-1]


def _check(options: Export) -> None:
    for name, value, format in (
        ("precision", options.precision, "gguf"),
        ("licence", options.licence, "hf"),
        ("push", options.push, "hf"),
    ):
        if value is not None and options.to != format:
            raise UserError(f"--{name} {value} is for --to {format}: leave it out, or change the format")
    if options.push is not None and not re.fullmatch(r"[\w.-]+/[\w.-]+", options.push):
        raise UserError(f"--push {options.push!r} is no name on the Hub: give OWNER/NAME")
    if options.licence is not None and not re.fullmatch(r"[\w.+-]+", options.licence):
        raise UserError(
            f"--licence {options.licence!r} is no name of a licence: give one as the Hub has it, such as mit"
        )


def _write(run: "Run", out: str, options: Export) -> Path:
    if options.to == "hf":
        from nanogpt.interop.hugging_face.export import export_hugging_face
        from nanogpt.interop.hugging_face.model_card import LICENCE

        return export_hugging_face(run, out, options.licence or LICENCE)
    if options.to == "gguf":
        from nanogpt.interop.gguf.export import export_gguf

        return export_gguf(run, out, options.precision or "f32")
    from nanogpt.interop.html.export import export_html

    return export_html(run, out)
