"""The studio as a program: NiceGUI on FastAPI, on a server of our own that says when it listens.

All that the page loads comes from this package and from NiceGUI's: no request leaves the machine. What is opened is
read, never executed.
"""

import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanogpt.serving.settings import Access
from nanogpt.studio.shelf import Shelf
from nanogpt.studio.state import Texts

if TYPE_CHECKING:
    from fastapi import FastAPI

    from nanogpt.studio.course.rungs import Attempt

STYLE = Path(__file__).parent / "studio.css"
ANSWER_SECONDS = 30
"""In which a page must answer whether it is there still. With NiceGUI's four seconds a busy machine lets go of some
that are, and what is clicked meanwhile is lost.
"""
LAST_WORDS_SECONDS = 2
"""How long open connections are waited for at the end."""


def make_app(shelf: Shelf) -> "FastAPI":
    """The page as an application of FastAPI, with nothing around it. One in a process: NiceGUI's own is one."""
    from fastapi import FastAPI
    from nicegui import app as pages
    from nicegui import core, ui

    from nanogpt.studio.page import Page

    app = FastAPI(title="Nano-GPT studio", docs_url=None, redoc_url=None, openapi_url=None)
    texts, style = Texts(), STYLE.read_text(encoding="utf-8")
    trained: dict[int, Attempt] = {}

    @ui.page("/", title="Nano-GPT studio", dark=None, language="en-GB")
    def index() -> None:
        ui.add_css(style)
        Page(shelf, texts, trained)

    @pages.on_startup
    def be_patient() -> None:
        core.sio.eio.ping_timeout = ANSWER_SECONDS

    ui.run_with(app, tailwind=False, show_welcome_message=False, reconnect_timeout=10)
    return app


def serve(shelf: Shelf, access: Access, listening: socket.socket, ready: Callable[[], Any]) -> None:
    """Serve a shelf until SIGTERM or Ctrl-C; `ready` is called once the first request would be answered."""
    import uvicorn

    from nanogpt.serving.guard import HostGuard
    from nanogpt.serving.server import quiet_end
    from nanogpt.studio.api import Beside
    from nanogpt.studio.door import Door

    class Told(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                ready()

    # The interface asks for the token by itself, in the header that its clients send.
    whole = Beside(Door(make_app(shelf), access.token), shelf, access)
    config = uvicorn.Config(
        HostGuard(whole, access),
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=LAST_WORDS_SECONDS,
    )
    with quiet_end(), warnings.catch_warnings():
        # NiceGUI looks for its server among all objects, and torch has one that warns when it is looked at.
        warnings.filterwarnings("ignore", category=FutureWarning, module="nicegui")
        try:
            Told(config).run(sockets=[listening])
        finally:
            whole.close()
