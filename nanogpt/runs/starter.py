"""The starter model: a small run that comes with the package, so that there is something to write with at once.

It was trained by this program on Tiny Shakespeare, and its matrices are kept in 8 bits (`nanogpt.runs.eight_bits`). How it
was made, what its loss is, and what the rounding cost stands in `made.json` beside it, written by
`python -m benchmarks.starter`. It is a run like any other, but for its name: `starter`, wherever a run is asked for.
"""

import json
import os
from pathlib import Path
from typing import Any

STARTER = "starter"
"""What it is called on the command line and by `nanogpt.load`."""
PLACE = Path(__file__).parents[1] / STARTER
"""Its folder."""
MADE = "made.json"
"""Tells how it was made."""


def run_folder(path: str | os.PathLike[str]) -> Path:
    """The folder of a run that a person named: the starter's for its name, unless a folder here is called so.

    >>> run_folder("runs/book").as_posix(), run_folder("starter") == PLACE
    ('runs/book', True)
    """
    return PLACE if os.fspath(path) == STARTER and not Path(STARTER).exists() else Path(path)


def is_starter(path: Path) -> bool:
    """Whether a run's folder is that of the starter."""
    return path.absolute() == PLACE.absolute()


def told_instead(parent: Path) -> str:
    """What to say where the starter is taken because there is no run below a folder."""
    return (
        f"no run below {str(parent)!r}: this is the starter model that comes with Nano-GPT, trained on Tiny "
        f"Shakespeare; train your own: nanogpt train book.txt"
    )


def how_it_was_made() -> dict[str, Any]:
    """Command, commit and machine of its training, and its losses before and after the rounding."""
    made: dict[str, Any] = json.loads((PLACE / MADE).read_text(encoding="utf-8"))
    return made
