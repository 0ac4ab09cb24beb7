"""How far the reading of a long text has come: on standard error, and only when it takes more than a moment."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

from nanogpt.text.pieces import Piece

PATIENCE_SECONDS = 2.0


def watch_pieces(pieces: Iterable[Piece], what: str, total: int | None = None, quiet: bool = False) -> Iterator[Piece]:
    """Pass pieces on; after two seconds a bar in a terminal, else one line, says what takes so long.

    `total` is the number of characters to come, where that is known.
    """
    began = time.monotonic()
    done = 0
    show: Callable[[int], object] | None = None
    with ExitStack() as open_bar:
        for piece in pieces:
            yield piece
            done += len(piece.text)
            if show is None and not quiet and time.monotonic() - began > PATIENCE_SECONDS:
                show = _bar(what, total, open_bar) if sys.stderr.isatty() else _line(what)
            if show is not None:
                show(done)


def _line(what: str) -> Callable[[int], object]:
    print(f"{what} …", file=sys.stderr, flush=True)
    return lambda done: None


def _bar(what: str, total: int | None, open_bar: ExitStack) -> Callable[[int], object]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[millions]:,.0f} million characters"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True, highlight=False)
    bar = open_bar.enter_context(Progress(*columns, console=console, refresh_per_second=4, transient=True))
    task = bar.add_task(what, total=total, millions=0)
    return lambda done: bar.update(task, completed=done, millions=done / 1e6)
