"""`nanogpt studio`: a page to write with a model, look inside it, and watch one learn."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import tyro

from nanogpt.cli.arguments import OptionalText, Switch, optional, parse
from nanogpt.errors import UserError

LAST_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class Studio:
    """Open a page in the browser: write with a model, look inside it, watch one learn, follow the course.

    It runs on this machine and is seen from this machine alone, unless another --host is given. Only runs below the
    folder can be opened. Ctrl-C ends it.

    examples:
      nanogpt studio
      nanogpt studio runs/book-modern-1 --port 8000
    """

    folder: Annotated[tyro.conf.Positional[OptionalText], optional("[RUN|FOLDER]")] = None
    """a run, or the folder that runs are in; runs/ if left out"""
    host: str = "127.0.0.1"
    """the address to listen on; another one than this machine's own asks for a token"""
    port: int = 7860
    """the port to listen on; 0 for any that is free"""
    token: Annotated[OptionalText, optional("TEXT")] = None
    """what visitors must know; the variable NANOGPT_TOKEN if left out"""
    no_browser: Switch = False
    """open no browser"""


def main(argv: Sequence[str]) -> None:
    """Parse, serve, say where; until SIGTERM or Ctrl-C."""
    options = parse(Studio, "studio", argv)
    try:
        import nicegui  # noqa: F401

        from nanogpt.serving.server import address_of, listen
        from nanogpt.studio.app import serve
    except ImportError as error:
        raise UserError(f"the studio needs {error.name}: pip install 'nanogpt[studio]'") from None
    from nanogpt.runs.run import RUNS
    from nanogpt.serving.settings import Access
    from nanogpt.studio.shelf import Shelf

    token = options.token if options.token is not None else os.environ.get("NANOGPT_TOKEN") or None
    access = Access(host=options.host, token=token)
    if not 0 <= options.port <= LAST_PORT:
        raise UserError(f"port is {options.port}; choose one from 0 (any that is free) to {LAST_PORT}")
    folder = RUNS if options.folder is None else Path(options.folder)
    if options.folder is not None and not folder.is_dir():
        raise UserError(f"there is no folder {options.folder!r}: name a run, or the folder that runs are in")
    with listen(options.host, options.port) as listening:
        address = f"{address_of(listening)}/" + (f"?token={quote(token, safe='')}" if token else "")

        def ready() -> None:
            print(f"the studio is at {address} (Ctrl-C ends it)", flush=True)
            if not options.no_browser and has_display():
                import webbrowser

                webbrowser.open(address)

        serve(Shelf(folder), access, listening, ready)


def has_display() -> bool:
    """Whether a browser could show itself."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
