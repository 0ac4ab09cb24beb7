"""Draw the training and validation loss of runs, in the terminal or as a picture.

Examples:
  nanogpt plot
  nanogpt plot runs/book-modern-1 runs/book-gpt2-1 --x tokens --out curves.png
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from nanogpt.cli.arguments import chosen, option, parser_of, positional


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Options of `nanogpt plot`."""

    runs: tuple[str, ...] = positional("RUN", ())
    """run folders (default: the newest in runs/, or the starter model)"""
    x: Literal["steps", "seconds", "tokens"] = "steps"
    """x-axis of the curves"""
    out: str | None = option("FILE")
    """new .png or .svg file, drawn by matplotlib (default: draw in the terminal)"""


parser = partial(parser_of, Plot, "plot", __doc__)


def main(argv: Sequence[str]) -> None:
    """Draw the curves of runs."""
    options = Plot(**parser().read(argv))
    from nanogpt.reporting.plots import check_picture, draw_text, read_plot, write_picture
    from nanogpt.training.seeds import expand

    if options.out is not None:
        check_picture(options.out)
    plot = read_plot(expand(options.runs or (chosen(None),)), options.x)
    if options.out is None:
        print(draw_text(plot, width=min(shutil.get_terminal_size().columns, 120)))
    else:
        write_picture(plot, options.out)
        print(f"wrote {options.out}")
