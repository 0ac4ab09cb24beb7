"""The process that serves: a socket, uvicorn on it, and an end that cuts nobody off in the middle of a line."""

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
"""For the streams that are there at the end; then they are told that the server stops."""
HEADER_SECONDS = 10.0
"""In which the headers of a request must have come."""
HEADER_BYTES = 64 << 10
STUCK_SECONDS = 30.0
"""In which a client must take in some of what is sent to it."""
MOST_CONNECTIONS = 1024
BACKLOG = 512


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any that is free. Raises UserError where it cannot be had."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, proto)
    except OSError as error:
        raise UserError(f"the address {host!r} is not known here ({error.strerror}): choose another --host") from None
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(address)
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"port {port} is in use: choose another --port, or --port 0 for any that is free") from None
        raise UserError(f"cannot listen on {host} port {port} ({error.strerror}): choose another") from None
    return made


def address_of(listening: socket.socket) -> str:
    """The beginning of the URLs that a socket answers to."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """uvicorn's, which lets go of a client whose headers do not end, or who takes nothing in of its answer.

    Both hold memory here, for as long as they like; a client that is silent between two requests is uvicorn's own care.
    """

    _limit: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None
    _header_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._answers:
            self._stop()
            return
        self._header_bytes += len(data)
        if self._header_bytes > HEADER_BYTES:
            self.transport.abort()
        elif self._limit is None:
            self._start()

    def pause_writing(self) -> None:
        super().pause_writing()
        # Not `close`, which waits until all is sent.
        self._stuck = self.loop.call_later(STUCK_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._unstick()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        self._unstick()
        super().connection_lost(exc)

    @property
    def _answers(self) -> bool:
        """Whether a request's headers have come, and its answer has not ended."""
        return self.cycle is not None and not self.cycle.response_complete

    def _start(self) -> None:
        self._limit = self.loop.call_later(HEADER_SECONDS, self._let_go)

    def _stop(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
        self._header_bytes = 0

    def _unstick(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _let_go(self) -> None:
        self._limit = None
        if not self._answers:
            self.transport.close()


class Server(uvicorn.Server):
    """uvicorn, which lets engines finish when it is asked to stop."""

    def __init__(self, app: ASGIApp, engines: Collection[Engine], grace_seconds: float = GRACE_SECONDS) -> None:
        super().__init__(
            uvicorn.Config(
                app, http=Protocol, ws="none", lifespan="off",
                log_level="warning", access_log=False, server_header=False,
                limit_concurrency=MOST_CONNECTIONS, backlog=BACKLOG, timeout_keep_alive=5,
                timeout_graceful_shutdown=int(grace_seconds) + 5,
            )
        )  # fmt: skip
        self._engines, self._grace_seconds = engines, grace_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        closing = asyncio.gather(*(asyncio.to_thread(engine.close, self._grace_seconds) for engine in self._engines))
        await super().shutdown(sockets)
        await closing


def serve(app: ASGIApp, engines: Collection[Engine], listening: socket.socket, ready: Callable[[], Any]) -> None:
    """Serve until SIGTERM or Ctrl-C, either of which ends it cleanly; `ready` is called before the first answer."""
    server = Server(app, engines)
    ready()
    with quiet_end():
        server.run(sockets=[listening])


@contextmanager
def quiet_end() -> Iterator[None]:
    """uvicorn raises again what signal it was ended by: the end was clean, and is no error."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
