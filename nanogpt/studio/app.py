"""The studio's server: NiceGUI on FastAPI and uvicorn. No request leaves the machine; runs are read, never executed."""

import socket
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanogpt.serving.settings import Access
from nanogpt.studio.registry import RunRegistry
from nanogpt.studio.state import LongTexts

if TYPE_CHECKING:
    from fastapi import FastAPI

    from nanogpt.studio.course_view import SectionRun

STYLE = Path(__file__).parent / "assets" / "studio.css"
PING_SECONDS = 30
"""How long a page may take to answer a ping. With NiceGUI's four seconds a busy machine loses pages that are still
open, and clicks with them."""
SHUTDOWN_SECONDS = 2
"""How long to wait for open connections at the end."""


def make_app(registry: RunRegistry) -> "FastAPI":
    """Return the page as a FastAPI application, without middleware. One per process: NiceGUI's app is a global."""
    from fastapi import FastAPI
    from nicegui import app as pages
    from nicegui import core, ui

    from nanogpt.studio.page import Page

    app = FastAPI(title="Nano-GPT studio", docs_url=None, redoc_url=None, openapi_url=None)
    texts, style = LongTexts(), STYLE.read_text(encoding="utf-8")
    trained: dict[int, SectionRun] = {}

    @ui.page("/", title="Nano-GPT studio", dark=None, language="en-GB")
    def index() -> None:
        ui.add_css(style)
        Page(registry, texts, trained)

    @pages.on_startup
    def set_ping_timeout() -> None:
        core.sio.eio.ping_timeout = PING_SECONDS

    ui.run_with(app, tailwind=False, show_welcome_message=False, reconnect_timeout=10)
    return app


def serve(registry: RunRegistry, access: Access, listening: socket.socket, ready: Callable[[], Any]) -> None:
    """Serve the page and the API until SIGTERM or Ctrl-C; call `ready` once requests are answered."""
    import uvicorn

    from nanogpt.serving.middleware import HostMiddleware
    from nanogpt.serving.server import ignore_signals
    from nanogpt.studio.middleware import ApiRouter, CookieMiddleware

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            if self.started:
                ready()

    # The API checks the token itself, in the header that its clients send.
    routed = ApiRouter(CookieMiddleware(make_app(registry), access.token), registry, access)
    config = uvicorn.Config(
        HostMiddleware(routed, access),
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    with ignore_signals(), warnings.catch_warnings():
        # NiceGUI searches all objects for its server, and a torch object warns when it is inspected.
        warnings.filterwarnings("ignore", category=FutureWarning, module="nicegui")
        try:
            Server(config).run(sockets=[listening])
        finally:
            routed.close()
