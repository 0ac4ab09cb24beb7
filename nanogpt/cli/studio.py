"""Write with a model, look inside it, watch one learn, and follow the course, on a page in the browser.

The page is served by this machine, and only to this machine unless --host says otherwise. It can open the runs in the
given folder and no others.

Examples:
  nanogpt studio
  nanogpt studio runs/book-modern-1 --port 8000
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from nanogpt.cli.arguments import ServerOptions, parser_of, positional
from nanogpt.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Studio(ServerOptions):
    """Options of `nanogpt studio`."""

    folder: str | None = positional("RUN|FOLDER", None)
    """a run, its name in runs/, or a folder of runs (default: runs/)"""
    port: int = 7860
    no_browser: bool = False
    """do not open a browser"""


parser = partial(parser_of, Studio, "studio", __doc__)


def main(argv: Sequence[str]) -> None:
    """Serve the page until SIGTERM or Ctrl-C."""
    options = Studio(**parser().read(argv))
    try:
        import nicegui  # noqa: F401

        from nanogpt.serving.server import address_of, listen
        from nanogpt.studio.app import serve
    except ImportError as error:
        raise UserError(f"the studio needs {error.name}; pip install 'nanogpt[studio]'") from None
    from nanogpt.runs.find import find_folder
    from nanogpt.runs.folder import RUNS
    from nanogpt.studio.registry import RunRegistry

    access = options.access()
    folder = RUNS if options.folder is None else find_folder(options.folder, required=True)
    with listen(options.host, options.port) as listening:
        address = f"{address_of(listening)}/" + (f"?token={quote(access.token, safe='')}" if access.token else "")

        def ready() -> None:
            print(f"the studio is at {address} (stop with Ctrl-C)", flush=True)
            display = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
            if not options.no_browser and (display or sys.platform in ("win32", "darwin")):
                import webbrowser

                webbrowser.open(address)

        serve(RunRegistry(folder), access, listening, ready)
