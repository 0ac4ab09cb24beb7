"""`nanogpt plot`: a run's curves."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from nanogpt.cli.arguments import OptionalText, optional, parse
from nanogpt.cli.opening import chosen


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Show the training and validation loss of runs, here or in a picture.

    examples:
      nanogpt plot
      nanogpt plot runs/book-modern-1 runs/book-gpt2-1 --x tokens --out curves.png
    """

    runs: Annotated[tyro.conf.Positional[tuple[str, ...]], optional("[RUN ...]")] = ()
    """run folders; the newest below runs/ if left out, the starter model where there is none"""
    x: Literal["steps", "seconds", "tokens"] = "steps"
    """what the curves run over"""
    out: Annotated[OptionalText, optional("FILE")] = None
    """a new .png or .svg file, drawn by matplotlib; if left out, the curves are drawn here, with characters"""


def main(argv: Sequence[str]) -> None:
    """Parse, read, draw."""
    options = parse(Plot, "plot", argv)
    from nanogpt.reporting.plots import check_picture, draw_text, read_plot, write_picture
    from nanogpt.training.seeds import folders

    if options.out is not None:
        check_picture(options.out)
    plot = read_plot(folders(options.runs or (chosen(None),)), options.x)
    if options.out is None:
        print(draw_text(plot, width=min(shutil.get_terminal_size().columns, 120)))
    else:
        write_picture(plot, options.out)
        print(f"wrote {options.out}")
