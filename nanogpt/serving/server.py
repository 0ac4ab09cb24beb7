"""The server process: a socket, uvicorn, and a shutdown that lets streams finish."""

import asyncio
import errno
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from nanogpt.errors import UserError
from nanogpt.serving.engine import Engine

GRACE_SECONDS = 5.0
"""Time for running streams at shutdown; after it they end with an error."""
HEADER_SECONDS = 10.0
"""Time in which the headers of a request have to arrive."""
HEADER_BYTES = 64 << 10
STUCK_SECONDS = 30.0
"""Time in which a client has to read some of its response."""
MOST_CONNECTIONS = 1024
BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes any free port. Raises UserError where that fails."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, proto)
    except OSError as error:
        raise UserError(f"--host {host!r} is unknown here ({error.strerror}): choose another") from None
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"--port {port} is in use: choose another, or --port 0 for any free port") from None
        raise UserError(f"can't listen on --host {host} --port {port} ({error.strerror}): choose another") from None
    return listening


def address_of(listening: socket.socket) -> str:
    """Return the base URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class HttpProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's protocol, which drops a client whose headers do not end, or that does not read its response."""

    _header_timer: asyncio.TimerHandle | None = None
    _stuck_timer: asyncio.TimerHandle | None = None
    _header_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Start the timer of the headers."""
        super().connection_made(transport)
        self._start_header_timer()

    def data_received(self, data: bytes) -> None:
        """Limit the size of the headers, and restart their timer for the next request."""
        super().data_received(data)
        if self._responding:
            self._stop_header_timer()
            return
        self._header_bytes += len(data)
        if self._header_bytes > HEADER_BYTES:
            self.transport.abort()
        elif self._header_timer is None:
            self._start_header_timer()

    def pause_writing(self) -> None:
        """Start the timer of a client that does not read."""
        super().pause_writing()
        # `close` would wait until everything is sent.
        self._stuck_timer = self.loop.call_later(STUCK_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop that timer."""
        if self._stuck_timer is not None:
            self._stuck_timer.cancel()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._stop_header_timer()
        if self._stuck_timer is not None:
            self._stuck_timer.cancel()
        super().connection_lost(exc)

    @property
    def _responding(self) -> bool:
        """Whether a request's headers have arrived, and its response has not ended."""
        return self.cycle is not None and not self.cycle.response_complete

    def _start_header_timer(self) -> None:
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self._drop)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
        self._header_timer, self._header_bytes = None, 0

    def _drop(self) -> None:
        self._header_timer = None
        if not self._responding:
            self.transport.close()


class Server(uvicorn.Server):
    """A uvicorn server that lets engines finish at shutdown."""

    def __init__(self, app: ASGIApp, engines: Collection[Engine], grace_seconds: float = GRACE_SECONDS) -> None:
        super().__init__(
            uvicorn.Config(
                app, http=HttpProtocol, ws="none", lifespan="off",
                log_level="warning", access_log=False, server_header=False,
                limit_concurrency=MOST_CONNECTIONS, backlog=BACKLOG, timeout_keep_alive=5,
                timeout_graceful_shutdown=int(grace_seconds) + 5,
            )
        )  # fmt: skip
        self._engines, self._grace_seconds = engines, grace_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the engines and the connections."""
        closing = asyncio.gather(*(asyncio.to_thread(engine.close, self._grace_seconds) for engine in self._engines))
        await super().shutdown(sockets)
        await closing


def serve(app: ASGIApp, engines: Collection[Engine], listening: socket.socket, ready: Callable[[], Any]) -> None:
    """Serve until SIGTERM or Ctrl-C; both end cleanly. `ready` is called before the first response."""
    server = Server(app, engines)
    ready()
    with ignore_signals():
        server.run(sockets=[listening])


@contextmanager
def ignore_signals() -> Iterator[None]:
    """Ignore the signal that uvicorn raises again after a clean shutdown."""
    main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGINT) if main else ()
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
